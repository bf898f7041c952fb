"""
The base of the readers: a reader puts a file into a slice store, which a `TraceFile` reads back.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, NamedTuple

from fgtrace._formats.read.slice_store import SliceStore
from fgtrace._formats.read.trace_file import TraceFile
from fgtrace._model.values import Frame

__all__ = ["MOST_KNOWN", "ReadResult", "TraceReader"]

#: Parts of events that a reader remembers, so as to parse equal ones once.
MOST_KNOWN = 100_000


class ReadResult(NamedTuple):
    """
    The rows of a file in display order, and its metadata.
    """

    rows: list[int]
    metadata: dict[str, Any]


class TraceReader:
    """
    Reads a file of one format.

    Attributes:
        store: what was read.
    """

    def __init__(self) -> None:
        self.store = SliceStore()
        self._frames: dict[Hashable, int] = {}
        self._instants: dict[Hashable, int] = {}

    def read(self, chunks: Iterable[bytes]) -> TraceFile:
        """
        Read a whole file.

        Args:
            chunks: its bytes, unpacked.

        Raises:
            BadTrace: it is not a trace of this format.
            OSError: no room for temporary files.
        """
        try:
            rows, metadata = self._read_all(chunks)
            return TraceFile(self.store, rows, metadata)
        except BaseException:
            self.store.close()
            raise

    def _read_all(self, chunks: Iterable[bytes]) -> ReadResult:
        """
        Put all of a file into the store, and settle it.
        """
        raise NotImplementedError

    def _add_frame(self, key: Hashable, frame: Frame) -> int:
        """
        Add a frame that was not in the file before, and return its number; equal frames have one, since
        encoders keep what they know of each.
        """
        number = self._frames[key] = len(self.store.frames)
        self.store.frames.append(frame)
        return number

    def _add_instant(self, row: int, time: int, name: str, args: tuple[tuple[str, Any], ...]) -> None:
        """
        Add an instant; a name with its arguments is stored once, however many instants have it.
        """
        key = (name, repr(args))  # 1, 1.0 and True are equal, and yet not the same
        number = self._instants.get(key)
        if number is None:
            number = self._instants[key] = self.store.describe(name, args)
        self.store.instant(row, time, number)
