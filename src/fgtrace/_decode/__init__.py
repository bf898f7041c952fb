"""
The decoders: a file back into slices, one format a module.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fgtrace._model import Slice
from fgtrace.errors import TraceFormatError

if TYPE_CHECKING:
    from fgtrace._decode._file import TraceFile

__all__ = ["load", "open_trace"]


def load(path: str | os.PathLike[str]) -> list[Slice]:
    """
    The slices of an existing trace.

        for slice_ in fgtrace.load("fgtrace.json"):
            print(slice_.track.name, slice_.frame.name, slice_.end - slice_.start)

    Args:
        path: a file in the Trace Event Format, or a Perfetto protobuf that fgtrace wrote; plain or
            compressed with gzip.

    Returns:
        All slices (of the Trace Event Format: the complete events, ``X``), in the order of the file.
        Tasks that share tracks in the file have their own here.

    Raises:
        OSError: the file cannot be read.
        TraceFormatError: it is not a trace; the message says what was wrong, and where.
    """
    return open_trace(path).found


def open_trace(path: str | os.PathLike[str]) -> TraceFile:
    """
    All of an existing trace: as `load`.
    """
    from fgtrace._decode import perfetto, trace_event  # orjson costs 10 ms to import
    from fgtrace._decode._file import plain
    from fgtrace._decode._unshared import unshared

    with open(path, "rb") as file:
        data = file.read()
    try:
        data = plain(data)
        return unshared(perfetto.read(data) if perfetto.is_perfetto(data) else trace_event.read(data))
    except RecursionError as error:
        raise TraceFormatError(os.fspath(path), "something in it is nested too deeply") from error
    except ValueError as error:
        offset = error.pos if hasattr(error, "pos") else None
        raise TraceFormatError(os.fspath(path), str(error), offset) from error
