"""
What was read of a file: tracks, names and frames as they are, everything else as numbers by track.

There are many slices, and few different frames. So a slice waits as four numbers, in a temporary file if
there are too many, and they come back track by track, by time, however the file had them.
"""

from __future__ import annotations

import struct
from collections.abc import Hashable, Iterator
from hashlib import blake2b
from typing import Any, Generic, TypeVar

from fgtrace._formats.rows_by_track import RowsByTrack
from fgtrace._model.values import Counter, Flow, Frame, Instant, Slice, Track

__all__ = ["Kept", "Table"]

T = TypeVar("T", bound=Hashable)

#: Where things wait that are of no single track.
_ALL = 0


class Table(Generic[T]):
    """
    Values, numbered in the order in which they came.
    """

    def __init__(self) -> None:
        self.values: list[T] = []
        self._numbers: dict[T, int] = {}

    def number(self, value: T) -> int:
        """
        The number of a value.
        """
        found = self._numbers.setdefault(value, len(self.values))
        if found == len(self.values):
            self.values.append(value)
        return found


class Kept:
    """
    Everything in a file that grows with it.

    A row is a track before it is known what it is called: any number.

    Attributes:
        tracks: row -> its track; to be filled before anything is read back.
        frames: frame -> what a slice has of it.
        rows: what slices wait in, four numbers each: start, end below 0, a number that grows with the
            place in the file (of two slices with the same times the first is the outer one), and frame.
        count: how many slices there are.
    """

    def __init__(self) -> None:
        self.tracks: dict[int, Track] = {}
        self.frames: list[Frame] = []
        self.rows = RowsByTrack(4, sort=True)
        self.count = 0
        self._texts = Table[str]()
        self._flags: list[tuple[str, tuple[tuple[str, Any], ...]]] = []
        self._arrows = RowsByTrack(5)
        self._values = RowsByTrack(6)
        self._moments = RowsByTrack(3)

    def slice(self, row: int, start: int, end: int, place: int, frame: int) -> None:
        """
        Keep a slice. (In hot loops its numbers are put into `rows` at once.)

        Raises:
            OverflowError: a time does not fit into 64 bits.
        """
        self.rows.rows(row).extend((start, -end, place, frame))
        self.grown(1)

    def grown(self, slices: int) -> None:
        """
        So many slices were put into `rows`.
        """
        self.count += slices
        self.rows.grown(slices)

    def flow(self, name: str, source: int, source_time: int, target: int, target_time: int) -> None:
        """
        Keep an arrow between two rows.
        """
        numbers = (self._texts.number(name), source, source_time, target, target_time)
        self._arrows.rows(_ALL).extend(numbers)
        self._arrows.grown(1)

    def counter(self, counter: Counter) -> None:
        """
        Keep a counter's value.
        """
        pid, name, time, value, unit = counter
        bits: int = value if isinstance(value, int) else struct.unpack("<q", struct.pack("<d", value))[0]
        self._values.rows(_ALL).extend((
            pid, self._texts.number(name), time, isinstance(value, int), bits, self._texts.number(unit),
        ))  # fmt: skip
        self._values.grown(1)

    def flag(self, row: int, time: int, number: int) -> None:
        """
        Keep a flag; `named` gives its number.
        """
        self._moments.rows(_ALL).extend((row, time, number))
        self._moments.grown(1)

    def named(self, name: str, args: tuple[tuple[str, Any], ...]) -> int:
        """
        A number for what a flag says.
        """
        self._flags.append((name, args))
        return len(self._flags) - 1

    def life(self, row: int) -> tuple[int, int] | None:
        """
        From the first start of a slice to the last end (ns); None: there is no slice.
        """
        start: int | None = None
        end = 0
        for block in self.rows.blocks(row):
            first, last = min(block[::4]), -min(block[1::4])
            start, end = (first, last) if start is None else (min(first, start), max(last, end))
        return None if start is None else (start, end)

    def starts(self, row: int) -> Iterator[int]:
        """
        When the slices of a row begin (ns), in order.
        """
        for batch in self.rows.merged(row):
            for start, *_ in batch:
                yield start

    def looks(self, row: int, most: int) -> bytes | None:
        """
        What stands for the slices of a row, the same for the same; None: they begin at more times than
        ``most``, or there are none.
        """
        found, starts, last = blake2b(digest_size=16), 0, -1
        for batch in self.rows.merged(row):
            for start, less, _, frame in batch:
                if start != last:
                    starts, last = starts + 1, start
                    if starts > most:
                        return None
                found.update(struct.pack("<3q", start, less, frame))
        return found.digest() if starts else None

    def slices(self, row: int) -> Iterator[Slice]:
        """
        The slices of a row, by start, of two at once the longer first.
        """
        track, frames, ends = self.tracks[row], self.frames, list[int]()
        for batch in self.rows.merged(row):
            for start, less, _, frame in batch:
                while ends and ends[-1] <= start:
                    ends.pop()
                yield Slice(track, start, -less, len(ends), frames[frame])
                ends.append(-less)

    def flows(self) -> Iterator[Flow]:
        """
        All arrows.
        """
        tracks, texts = self.tracks, self._texts.values
        for name, source, source_time, target, target_time in self._arrows.each(_ALL):
            yield Flow(texts[name], tracks[source], source_time, tracks[target], target_time)

    def counters(self) -> Iterator[Counter]:
        """
        All counters' values.
        """
        texts = self._texts.values
        for pid, name, time, is_whole, bits, unit in self._values.each(_ALL):
            value = bits if is_whole else struct.unpack("<d", struct.pack("<q", bits))[0]
            yield Counter(pid, texts[name], time, value, texts[unit])

    def instants(self) -> Iterator[Instant]:
        """
        All flags.
        """
        for row, time, number in self._moments.each(_ALL):
            name, args = self._flags[number]
            yield Instant(name, self.tracks[row], time, args)

    def close(self) -> None:
        """
        Give the temporary files back.
        """
        for each in (self.rows, self._arrows, self._values, self._moments):
            each.close()
