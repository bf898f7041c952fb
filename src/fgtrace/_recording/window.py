"""
A part of a ring as a recording of its own, whose time begins at a cut: what a dump draws.

It is made while the recording goes on, so it holds what does not change any more: the chunks, and copies of
the tracks. Stacks, functions and waiters are the recording's own tables, which only grow.

At the cut each living track begins with what it was doing then: a row at time 0. A step that began before the
cut begins at 0; its waker is no longer known.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Literal

from fgtrace._model.values import Observation, Request
from fgtrace._recording.recording import FORGOTTEN, GONE, ROW_BYTES, Recording, TrackEntry
from fgtrace._recording.ring import ROW, STEP, LastRows, Ring, ended_in
from fgtrace._recording.spill import in_blocks
from fgtrace._recording.step_records import CALLBACK, NOBODY, STEP_BYTES, StepRecord, unpack_steps

__all__ = ["ClippedRecording", "Window"]

#: Rows, or steps, in a block.
_A_BLOCK = 1024


class ClippedRecording(Recording):
    """
    Hold a recording that begins at a cut. Its tables, its tracks and all else count from the cut, but its
    rows and steps reach back beyond it, on a clock of their own.

    Attributes:
        cut_at, until: where it begins, and where it ends, ns on that clock.
        first: the rows at the cut.
        open_steps: the steps that were open at the end, as bytes, see `fgtrace._recording.step_records`.
    """

    cut_at = until = 0
    first: list[Observation] = []  # noqa: RUF012 - it is replaced, and never changed
    open_steps = b""

    def read(self) -> Iterator[Observation]:
        yield from self.first
        cut, tracks = self.cut_at, self.tracks
        for time, track, stack, detail in super().read():
            if time > cut and tracks[track] is not FORGOTTEN:
                yield time - cut, track, stack, detail

    def read_steps(self) -> Iterator[StepRecord]:
        cut, tracks = self.cut_at, self.tracks
        for start, end, ready, track, waker, stack, detail in self._all_steps():
            if end > cut and (track >= CALLBACK or tracks[track] is not FORGOTTEN):
                woken = ready - cut if ready > cut else min(ready, 0)
                by = waker if ready > cut else NOBODY
                yield max(0, start - cut), end - cut, woken, track, by, stack, detail

    def _all_steps(self) -> Iterator[StepRecord]:
        """
        Yield the steps that have ended, then those that were open, unless they ended before the rest was
        drained.
        """
        going = {(step[0], step[3]): step for step in unpack_steps(self.open_steps)}
        for step in super().read_steps():
            going.pop((step[0], step[3]), None)
            yield step
        for start, _, ready, track, waker, stack, detail in going.values():
            yield start, self.until, ready, track, waker, stack, detail


class Window(ClippedRecording):
    """
    Hold what a ring has from some time on.

    Args:
        ring: the ring, which has just been rolled; it must not change until this is made.
        cut: where to begin, ns on the ring's clock. A time before the ring's start stands for the start.
        open_steps: the steps that are open, as bytes, see `fgtrace._recording.step_records`.
        open_requests: the requests that are being handled.

    Attributes:
        length: how long the window is, ns.
    """

    def __init__(
        self, ring: Ring, cut: int, open_steps: bytes = b"", open_requests: Iterable[Request] = ()
    ) -> None:
        super().__init__()
        recording = ring.recording
        self.cut_at, self.until = max(cut, ring.start), ring.end
        self.length = self.until - self.cut_at
        self._chunks = [chunk for chunk in ring.chunks if chunk.end > self.cut_at]
        self.open_steps = open_steps
        self._parents, self._elements = recording.tables()
        self.codes, self.callbacks = recording.codes, recording.callbacks
        self.waiters, self.thread_samples = recording.waiters, recording.thread_samples
        self.tracks = [self._track(entry) for entry in recording.tracks]
        self._let_live()
        for entry in self.tracks:
            if entry is not FORGOTTEN and entry.parent >= 0 and self.tracks[entry.parent] is FORGOTTEN:
                entry.parent = -1
        self.loops = [entry.since(self.cut_at) for entry in recording.loops]
        self.first = list(self._first_rows(ring))
        self._clip(ring)
        self.requests = list(self._requests(open_requests))
        self.collections_dropped = recording.collections_dropped
        self.observations = len(self.first) + sum(len(chunk.rows) for chunk in self._chunks) // 4

    def row_blocks(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            yield from in_blocks(chunk.rows, _A_BLOCK * ROW_BYTES)

    def step_blocks(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            yield from in_blocks(chunk.steps, _A_BLOCK * STEP_BYTES)

    def _track(self, entry: TrackEntry) -> TrackEntry:
        is_over = 0 <= entry.end <= self.cut_at
        return (
            FORGOTTEN
            if entry is FORGOTTEN or is_over or entry.start > self.until
            else entry.since(self.cut_at)
        )

    def _let_live(self) -> None:
        """
        Clear the ends of tracks that ended after the window: a track may have ended since its rows were
        drained.
        """
        ended: set[int] = set()
        for chunk in self._chunks:
            ended.update(ended_in(chunk.rows, ROW), ended_in(chunk.steps, STEP))
        for number, entry in enumerate(self.tracks):
            if entry is not FORGOTTEN and entry.end >= 0 and number not in ended:
                entry.end = -1

    def _first_rows(self, ring: Ring) -> Iterator[Observation]:
        """
        Yield what each track was doing at the cut. A track with steps was doing that with which its last step
        before the cut suspended, and after that what a tick saw it run in the next step.
        """
        ended = {}
        for track, (steps, place) in _last(ring.steps, self._before(ring, "steps")).items():
            if track < CALLBACK and self.tracks[track] is not FORGOTTEN:
                _, ended[track], _, _, _, stack, detail = next(
                    unpack_steps(steps[place : place + 5].tobytes())
                )
                yield 0, track, stack, detail
        for track, (rows, place) in _last(ring.rows, self._before(ring, "rows")).items():
            time, _, stack, detail = rows[place : place + 4]
            if self.tracks[track] is not FORGOTTEN and stack != GONE and time > ended.get(track, -1):
                yield 0, track, stack, detail

    def _before(self, ring: Ring, name: Literal["rows", "steps"]) -> Iterator[array[int]]:
        """
        Yield what the ring's chunks have from before the cut.
        """
        width, time = (4, 0) if name == "rows" else (5, 1)
        for chunk in ring.chunks:
            found: array[int] = getattr(chunk, name)
            if chunk.end <= self.cut_at:
                yield found
            else:
                yield found[: bisect_right(found[time::width], self.cut_at) * width]
                return

    def _requests(self, open_requests: Iterable[Request]) -> Iterator[Request]:
        cut, tracks = self.cut_at, self.tracks
        ended = chain.from_iterable(chunk.requests for chunk in self._chunks)
        for each in chain(map(Request._make, ended), open_requests):
            is_known = each.track < len(tracks) and tracks[each.track] is not FORGOTTEN
            if is_known and not 0 <= each.end <= cut:
                yield each._replace(start=each.start - cut, end=max(each.end - cut, -1))

    def _clip(self, ring: Ring) -> None:
        cut = self.cut_at
        counters = dict(ring.counters)
        for chunk in ring.chunks:
            values = iter(chunk.counters)
            for time, loop, value in zip(values, values, values, strict=False):
                if time <= cut:
                    counters[loop] = value
                else:
                    self.counters.extend((time - cut, loop, value))
        first = [number for loop, value in counters.items() for number in (0, loop, value)]
        self.counters = array("q", first) + self.counters
        for chunk in self._chunks:
            for gap in chunk.gaps:
                if gap.end > cut:
                    self.gaps.append(gap._replace(start=max(0, gap.start - cut), end=gap.end - cut))
            for run in chunk.collections:
                if run.end > cut:
                    self.collections.append(run._replace(start=max(0, run.start - cut), end=run.end - cut))


def _last(past: LastRows, later: Iterable[array[int]]) -> dict[int, tuple[array[int], int]]:
    """
    Return the last row of each track, as the array that has it and the index at which it begins.
    """
    found = {}
    for rows in (past.rows, *later):
        found.update({track: (rows, place) for track, place in LastRows(past.shape, rows).last().items()})
    return found
