"""
Rows of numbers, kept apart by track; what memory cannot keep waits in a temporary file.

Tracks take turns while a trace is drawn or read, and many formats want each track in one piece.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from itertools import chain
from typing import TypeAlias

from fgtrace._recording.spill import Spill

__all__ = ["Numbers", "RowsByTrack"]

Numbers: TypeAlias = "array[int]"  # text: 3.11 knows no parameters of it at run time
Row = tuple[int, ...]

#: Numbers that wait in memory: 16 MiB.
MOST_WAITING = 1 << 21
#: Rows in memory at once: in a block, or in the blocks of all runs that are merged; of a run never below
#: FEWEST.
CHUNK = 1000
FEWEST = 50
_SIZE = 8


class RowsByTrack:
    """
    Keep rows of numbers by track.

    Args:
        width: numbers in a row.
        sort: whether rows come back in the order of their numbers; else they do in the order in which they
            came.

    Attributes:
        tracks: track id -> its rows that are in memory. A caller appends there, and then calls `note_grown`.
    """

    def __init__(self, width: int, *, sort: bool = False) -> None:
        self.tracks: dict[int, Numbers] = {}
        self._width = width
        self._sort = sort
        self._spill = Spill()
        self._spilled: dict[int, Numbers] = {}  # where each run begins and ends, in turn
        self._waiting = 0

    def rows(self, track: int) -> Numbers:
        """
        Return the rows of a track that are in memory; it stays the same array.
        """
        found = self.tracks.get(track)
        if found is None:
            found = self.tracks[track] = array("q")
        return found

    def note_grown(self, rows: int) -> None:
        """
        Count rows that were appended, and move all rows to the temporary file when they are too many.

        Raises:
            OSError: there is no room for the temporary file.
        """
        self._waiting += rows
        if self._waiting * self._width <= MOST_WAITING:
            return
        self.settle()
        for track, waiting in self.tracks.items():
            if waiting:
                start = self._spill.size
                self._spill.write(waiting)
                self._spilled.setdefault(track, array("q")).extend((start, self._spill.size))
                del waiting[:]
        self._waiting = 0

    def settle(self) -> None:
        """
        Sort the rows that are in memory, if rows are sorted; to be called before any are read.
        """
        if self._sort:
            for waiting in self.tracks.values():
                waiting[:] = array("q", chain.from_iterable(sorted(_rows(waiting, self._width))))

    def blocks(self, track: int) -> Iterator[Numbers]:
        """
        Yield all rows of a track, in blocks of at most a thousand. Sorted rows come in runs, each of which is
        in order.
        """
        for run in self._runs(track):
            yield from run

    def each(self, track: int) -> Iterator[Row]:
        """
        Yield all rows of a track one by one, in the order of `blocks`.
        """
        for block in self.blocks(track):
            yield from _rows(block, self._width)

    def merged(self, track: int) -> Iterator[list[Row]]:
        """
        Yield all rows of a track in order, in lists of no certain length; only where rows are sorted.
        """
        runs = [map(self._listed, run) for run in self._runs(track)]
        heads = [(next(run), run) for run in runs]
        while len(heads) > 1:
            last = min(block[-1] for block, _ in heads)  # no later block has a row up to here
            batch: list[Row] = []
            left = []
            for block, run in heads:
                cut = bisect_right(block, last)
                batch += block[:cut]
                rest = block[cut:] or next(run, [])
                if rest:
                    left.append((rest, run))
            batch.sort()
            yield batch
            heads = left
        for block, run in heads:
            yield block
            yield from run

    def _listed(self, rows: Numbers) -> list[Row]:
        return list(_rows(rows, self._width))

    def _runs(self, track: int) -> list[Iterator[Numbers]]:
        found = self._spilled.get(track, ())
        places, rows = iter(found), max(FEWEST, 2 * CHUNK // (len(found) + 2))
        runs = [self._stored(start, end, rows) for start, end in zip(places, places, strict=True)]
        waiting = self.tracks.get(track)
        return [*runs, self._cut(waiting)] if waiting else runs

    def _stored(self, start: int, end: int, rows: int) -> Iterator[Numbers]:
        step = rows * self._width * _SIZE
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
        Delete the temporary file, if there is one.
        """
        self._spill.close()


def _rows(numbers: Numbers, width: int) -> Iterator[Row]:
    values = iter(numbers)
    return zip(*[values] * width, strict=True)
