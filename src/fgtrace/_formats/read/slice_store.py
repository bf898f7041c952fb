"""
The slice store: what was read of a file, with tracks, names and frames as objects and all else as numbers.

There are many slices, and few different frames. So a slice is stored as four numbers, in a temporary file if
there are too many. Slices come back track by track, by time, in whatever order they were in the file.
"""

from __future__ import annotations

import struct
from collections.abc import Hashable, Iterator
from hashlib import blake2b
from typing import Any, Generic, TypeVar

from fgtrace._formats.rows_by_track import RowsByTrack
from fgtrace._model.values import Counter, Flow, Frame, Instant, Slice, Track

__all__ = ["SliceStore"]

T = TypeVar("T", bound=Hashable)

#: The row of the elements that belong to no single track.
_ALL = 0


class _Interned(Generic[T]):
    """
    Values, numbered in the order in which they came.
    """

    def __init__(self) -> None:
        self.values: list[T] = []
        self._numbers: dict[T, int] = {}

    def number(self, value: T) -> int:
        """
        Return the number of a value, adding it if new.
        """
        found = self._numbers.setdefault(value, len(self.values))
        if found == len(self.values):
            self.values.append(value)
        return found


class SliceStore:
    """
    Stores everything in a file that grows with it.

    A row stands for a track until its name is known; it is any number.

    Attributes:
        tracks: row -> its track; to be filled before anything is read back.
        frames: frame number -> frame.
        rows: the slices, four numbers each: start, negated end, a number that grows with the place in the
            file (of two slices with the same times the first is the outer one), and frame number.
        count: how many slices there are.
    """

    def __init__(self) -> None:
        self.tracks: dict[int, Track] = {}
        self.frames: list[Frame] = []
        self.rows = RowsByTrack(4, sort=True)
        self.count = 0
        self._texts = _Interned[str]()
        self._descriptions: list[tuple[str, tuple[tuple[str, Any], ...]]] = []
        self._arrows = RowsByTrack(5)
        self._counters = RowsByTrack(6)
        self._instants = RowsByTrack(3)

    def slice(self, row: int, start: int, end: int, place: int, frame: int) -> None:
        """
        Store a slice. (Hot loops put its numbers into `rows` themselves.)

        Raises:
            OverflowError: a time does not fit into 64 bits.
        """
        self.rows.rows(row).extend((start, -end, place, frame))
        self.note_grown(1)

    def note_grown(self, slices: int) -> None:
        """
        Count the slices that were put into `rows`.
        """
        self.count += slices
        self.rows.note_grown(slices)

    def flow(self, name: str, source: int, source_time: int, target: int, target_time: int) -> None:
        """
        Store an arrow between two rows.
        """
        numbers = (self._texts.number(name), source, source_time, target, target_time)
        self._arrows.rows(_ALL).extend(numbers)
        self._arrows.note_grown(1)

    def counter(self, counter: Counter) -> None:
        """
        Store a counter's value.
        """
        pid, name, time, value, unit = counter
        bits: int = value if isinstance(value, int) else struct.unpack("<q", struct.pack("<d", value))[0]
        self._counters.rows(_ALL).extend((
            pid, self._texts.number(name), time, isinstance(value, int), bits, self._texts.number(unit),
        ))  # fmt: skip
        self._counters.note_grown(1)

    def instant(self, row: int, time: int, number: int) -> None:
        """
        Store an instant; `describe` gives its number.
        """
        self._instants.rows(_ALL).extend((row, time, number))
        self._instants.note_grown(1)

    def describe(self, name: str, args: tuple[tuple[str, Any], ...]) -> int:
        """
        Return a number for the name and the arguments of instants.
        """
        self._descriptions.append((name, args))
        return len(self._descriptions) - 1

    def life(self, row: int) -> tuple[int, int] | None:
        """
        Return the first start and the last end of a row's slices (ns); None if there is no slice.
        """
        start: int | None = None
        end = 0
        for block in self.rows.blocks(row):
            first, last = min(block[::4]), -min(block[1::4])
            start, end = (first, last) if start is None else (min(first, start), max(last, end))
        return None if start is None else (start, end)

    def starts(self, row: int) -> Iterator[int]:
        """
        Yield the starts of a row's slices (ns), in order.
        """
        for batch in self.rows.merged(row):
            for start, *_ in batch:
                yield start

    def digest(self, row: int, most: int) -> bytes | None:
        """
        Return a digest of a row's slices, equal for equal slices; None if they begin at more times than
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
        Yield the slices of a row, by start, of two at once the longer first.
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
        Yield all arrows.
        """
        tracks, texts = self.tracks, self._texts.values
        for name, source, source_time, target, target_time in self._arrows.each(_ALL):
            yield Flow(texts[name], tracks[source], source_time, tracks[target], target_time)

    def counters(self) -> Iterator[Counter]:
        """
        Yield all counters' values.
        """
        texts = self._texts.values
        for pid, name, time, is_whole, bits, unit in self._counters.each(_ALL):
            value = bits if is_whole else struct.unpack("<d", struct.pack("<q", bits))[0]
            yield Counter(pid, texts[name], time, value, texts[unit])

    def instants(self) -> Iterator[Instant]:
        """
        Yield all instants.
        """
        for row, time, number in self._instants.each(_ALL):
            name, args = self._descriptions[number]
            yield Instant(name, self.tracks[row], time, args)

    def close(self) -> None:
        """
        Delete the temporary files.
        """
        for each in (self.rows, self._arrows, self._counters, self._instants):
            each.close()
