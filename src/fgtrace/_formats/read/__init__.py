"""
The decoders: a file back into slices, one format a module.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING

from fgtrace._model.values import Slice
from fgtrace.errors import TraceFormatError

if TYPE_CHECKING:
    from fgtrace._formats.read.trace_file import TraceFile

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
        All slices, track by track, those that began earlier first; of each by start, the outer ones first.
        Tasks that share tracks in the file have their own here.

    Raises:
        OSError: the file cannot be read, or there is no room for temporary files.
        TraceFormatError: it is not a trace; the message says what was wrong, and where.
    """
    with open_trace(path) as trace:
        return list(trace.slices())


def open_trace(path: str | os.PathLike[str], progress: Callable[[int, int], None] | None = None) -> TraceFile:
    """
    All of an existing trace; as `load`, but slices are made when they are asked for, as often as one likes.

        with open_trace("fgtrace.json") as trace:
            for slice_ in trace.slices():
                ...

    Args:
        path: as for `load`.
        progress: is called with the bytes of the file that were read, and their total, now and then.

    Raises:
        OSError: as `load`.
        TraceFormatError: as `load`.
    """
    from fgtrace._formats.read import perfetto, trace_event  # orjson costs 10 ms to import
    from fgtrace._formats.read.lanes_to_tasks import unshared
    from fgtrace._formats.read.source import chunks

    try:
        with open(path, "rb") as file:
            rest = chunks(file, progress)
            first = next(rest, b"")
            read = perfetto.read if perfetto.is_perfetto(first) else trace_event.read
            return unshared(read(chain([first], rest)))
    except ValueError as error:
        offset = error.pos if hasattr(error, "pos") else None
        raise TraceFormatError(os.fspath(path), str(error), offset) from error
