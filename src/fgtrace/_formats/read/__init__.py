"""
Decoders: a file in, slices out, one module a format.

Rules: a file is data of unknown origin. Nothing of it is run, every length is bounded, and what does not fit
raises `BadTrace` with its place in the file. A reader keeps no slice as an object: it puts numbers into a
`SliceStore`, which moves to a temporary file where they are many.

To add a format:

1. Add a module with ``recognizes(data) -> bool``, which looks at the first chunk, and ``read(chunks) ->
   TraceFile``, which reads the file.
2. Have ``read`` call a subclass of `TraceReader`, whose ``_read_all`` fills the store.
3. Add the module's name to `MODULES`, before ``trace_event``.
4. Add the format's name to `READABLE` in ``_options/options.py`` if fgtrace writes it, too.
5. Add a row to ``docs/formats.md``, and the format to ``tests/test_decode.py`` and ``tests/test_fuzz.py``.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable
from itertools import chain
from typing import TYPE_CHECKING, Protocol, cast

from fgtrace._model.values import Slice
from fgtrace.errors import TraceFormatError

if TYPE_CHECKING:
    from fgtrace._formats.read.trace_file import TraceFile

__all__ = ["MODULES", "Decoder", "load", "open_trace"]

#: The modules of the formats; the first that recognizes a file reads it. The last recognizes every file.
MODULES = ("perfetto", "trace_event")


class Decoder(Protocol):
    """
    A module that reads a format.
    """

    def recognizes(self, data: bytes) -> bool:
        """
        Return whether a file that begins with these bytes may be of the format.
        """

    def read(self, chunks: Iterable[bytes]) -> TraceFile:
        """
        Read a whole file.

        Raises:
            BadTrace: it is not a trace of the format.
        """


def load(path: str | os.PathLike[str]) -> list[Slice]:
    """
    Return the slices of an existing trace.

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
    Open an existing trace: as `load`, but its slices can be read one by one, as often as one likes.

        with open_trace("fgtrace.json") as trace:
            for slice_ in trace.slices():
                ...

    Args:
        path: as for `load`.
        progress: called now and then with the bytes of the file that were read, and their total.

    Raises:
        OSError: as `load`.
        TraceFormatError: as `load`.
    """
    from fgtrace._formats.read import file_chunks  # what follows imports orjson, which costs 10 ms
    from fgtrace._formats.read.lanes_to_tasks import lanes_to_tasks

    try:
        with open(path, "rb") as file:
            rest = file_chunks.file_chunks(file, progress)
            first = next(rest, b"")
            return lanes_to_tasks(_decoder_of(first).read(chain([first], rest)))
    except ValueError as error:
        offset = error.pos if hasattr(error, "pos") else None
        raise TraceFormatError(os.fspath(path), str(error), offset) from error


def _decoder_of(data: bytes) -> Decoder:
    decoders = [cast("Decoder", importlib.import_module(f"{__name__}.{name}")) for name in MODULES]
    return next(each for each in decoders if each.recognizes(data))
