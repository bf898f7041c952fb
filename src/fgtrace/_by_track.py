"""
Rows of numbers, kept apart by track: what is too much for memory waits in a temporary file.

Tracks take turns while a trace is drawn or read; many formats want each of them in one piece.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator

from fgtrace._spill import Spill

__all__ = ["ByTrack", "Numbers"]

Numbers = array[int]

#: Numbers that wait in memory: 16 MiB.
MOST_WAITING = 1 << 21
#: Rows in a block.
CHUNK = 1000
_SIZE = 8


class ByTrack:
    """
    Rows of numbers by track, each track's in the order in which they came.

    Args:
        width: numbers in a row.
        ready: what is done to a track's rows before they are put away or given out; from then on they
            are a run, and rows of two runs are not compared.

    Attributes:
        tracks: track id -> its rows that are in memory. Append there, then tell `grown`.
    """

    def __init__(self, width: int, ready: Callable[[Numbers], Numbers] = lambda rows: rows) -> None:
        self.tracks: dict[int, Numbers] = {}
        self._width = width
        self._ready = ready
        self._spill = Spill()
        self._spilled: dict[int, Numbers] = {}  # where each run begins and ends, in turn
        self._waiting = 0

    def rows(self, track: int) -> Numbers:
        """
        The rows of a track that are in memory; it stays the same array.
        """
        found = self.tracks.get(track)
        if found is None:
            found = self.tracks[track] = array("q")
        return found

    def grown(self, rows: int) -> None:
        """
        So many rows were appended.

        Raises:
            OSError: no room for the temporary file.
        """
        self._waiting += rows
        if self._waiting * self._width > MOST_WAITING:
            for track, waiting in self.tracks.items():
                if waiting:
                    start = self._spill.size
                    self._spill.write(self._ready(waiting))
                    self._spilled.setdefault(track, array("q")).extend((start, self._spill.size))
                    del waiting[:]
            self._waiting = 0

    def runs(self, track: int) -> list[Iterator[Numbers]]:
        """
        The runs of a track, the oldest first, each in blocks of at most a thousand rows.
        """
        places = iter(self._spilled.get(track, ()))
        found = [self._blocks(start, end) for start, end in zip(places, places, strict=True)]
        waiting = self.tracks.get(track)
        if waiting:
            found.append(self._cut(self._ready(waiting)))
        return found

    def blocks(self, track: int) -> Iterator[Numbers]:
        """
        All rows of a track, a run after the other.
        """
        for run in self.runs(track):
            yield from run

    def _blocks(self, start: int, end: int) -> Iterator[Numbers]:
        step = CHUNK * self._width * _SIZE
        for at in range(start, end, step):
            found = array("q")
            found.frombytes(self._spill.read(at, min(end, at + step)))
            yield found

    def _cut(self, rows: Numbers) -> Iterator[Numbers]:
        step = CHUNK * self._width
        for at in range(0, len(rows), step):
            yield rows[at : at + step]

    def close(self) -> None:
        """
        Give the temporary file back, if there is one.
        """
        self._spill.close()
