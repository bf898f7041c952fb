"""
The decoders: a file back into slices.
"""

from __future__ import annotations

import os

from fgtrace._model import Slice
from fgtrace.errors import TraceFormatError

__all__ = ["load"]


def load(path: str | os.PathLike[str]) -> list[Slice]:
    """
    The slices of an existing trace.

        for slice_ in fgtrace.load("fgtrace.json"):
            print(slice_.track.name, slice_.frame.name, slice_.end - slice_.start)

    Args:
        path: a file in the Trace Event Format, plain or compressed with gzip.

    Returns:
        The complete events (``X``), in the order of the file.

    Raises:
        OSError: the file cannot be read.
        TraceFormatError: it is not a trace; the message says what was wrong, and where.
    """
    from fgtrace._decode.trace_event import decode  # orjson costs 10 ms to import

    with open(path, "rb") as file:
        data = file.read()
    try:
        return decode(data)
    except ValueError as error:
        offset = error.pos if hasattr(error, "pos") else None
        raise TraceFormatError(os.fspath(path), str(error), offset) from error
