"""
What a viewer shows of a recording: tracks, slices, arrows, counters and flags.

Theory of operation: each observation gives its track a new stack, and the track's `SliceBuilder` compares
that with the one before. So equal samples merge, and slices always nest. Where steps were noted,
`fgtrace._timeline.exact_timeline` makes the slices.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator

from fgtrace._model.drawing import FOREVER, BeginEnd, begins_and_ends
from fgtrace._model.values import LOCK_HELD, Counter, Flow, Frame, Instant, Slice, Track
from fgtrace._options.options import Options
from fgtrace._recording.recording import GONE, Recording
from fgtrace._timeline.exact_timeline import ExactTimeline
from fgtrace._timeline.identical_tasks import groups_of_identical_tasks
from fgtrace._timeline.slice_builder import BEGUN, OPEN, SliceBuilder
from fgtrace._timeline.stack_resolver import StackResolver
from fgtrace._timeline.tracks import LOOP_PID, loop_order, make_tracks

__all__ = ["Timeline"]

PROGRESS_EVERY = 4096


class Timeline:
    """
    What a viewer shows of one recording; a `Drawing`.

    Args:
        recording: complete; its times are ns on the trace's clock, from 0.
        options: see `Options`.
        end: the trace's end, ns.
        pid: the id of the process that was traced.

    Attributes:
        tracks: all tracks, in display order.
        end: as given.
        options: as given.
    """

    def __init__(self, recording: Recording, options: Options, end: int, pid: int) -> None:
        self.end = end
        found = make_tracks(recording, end, pid)
        self.tracks, self._by_id = found.shown, found.by_id
        self._recording = recording
        self._first: dict[int, int] = {}
        self._progress: Callable[[int, int], None] | None = None
        self._resolver = StackResolver(recording, options)
        self._exact: ExactTimeline | None = None
        self.options = options
        self._found = found

    def on_progress(self, progress: Callable[[int, int], None]) -> None:
        """
        Have a function called now and then, with the observations drawn and their total.
        """
        self._progress = progress

    def identical_tasks(self) -> list[list[Track]]:
        """
        Return groups of tasks that have the same slices: see `fgtrace._timeline.identical_tasks`.
        """
        return groups_of_identical_tasks(self._recording, self.tracks)

    def slices(self) -> Iterator[Slice]:
        """
        Yield all slices.
        """
        frames = self._resolver.frames
        make = tuple.__new__  # does what Slice() does, in half the time
        for track, ready in self._ready_slices(by_time=False):
            values = iter(ready)
            for start, end, depth, number in zip(values, values, values, values, strict=True):
                if start != end:
                    yield make(Slice, (track, start, end, depth, frames[number]))
        yield from self._gaps()

    def begins_and_ends(self) -> Iterator[BeginEnd]:
        """
        Yield the same slices as begins and ends: see `fgtrace._model.drawing`.
        """
        frames = self._resolver.frames
        stacks: dict[int, list[int]] = {}
        make = tuple.__new__  # as in `slices`
        for track, ready in self._ready_slices(by_time=True):
            stack = stacks.setdefault(track.id, [])
            values = iter(ready)
            for start, end, _, number in zip(values, values, values, values, strict=True):
                if start == end:
                    continue
                until = end if start == BEGUN else start
                while stack and stack[-1] <= until:
                    yield make(BeginEnd, (track, stack.pop(), None))
                if start == BEGUN:
                    stack.pop()
                    yield make(BeginEnd, (track, end, None))
                else:
                    stack.append(FOREVER if end == OPEN else end)
                    yield make(BeginEnd, (track, start, frames[number]))
            while stack and stack[-1] != FOREVER:
                yield make(BeginEnd, (track, stack.pop(), None))
        yield from begins_and_ends(self._gaps())

    def flows(self) -> Iterator[Flow]:
        """
        Yield an arrow from each parent to its child's first slice, where the parent has a slice then; with
        exact awaits also one from what woke a task to the task's next step.

        It must be called after `slices` or `begins_and_ends`, which note when the first slices begin: an
        arrow without a slice at both its ends is an error in a viewer.
        """
        for track in self.tracks:
            parent = self._by_id.get(track.parent)
            first = self._first.get(track.parent, self.end)
            if parent is None or self._first.get(track.id) != track.start or self._is_exact(track):
                continue
            if first <= track.start < min(parent.end, track.end):
                yield Flow("create_task", parent, track.start, track, track.start)
        if self._exact is not None:
            yield from self._exact.flows(self._first)

    def instants(self) -> Iterator[Instant]:
        """
        Yield the flags; to be called after `slices` or `begins_and_ends`.
        """
        yield from self._exact.instants if self._exact is not None else ()
        for waiting, holder in self._recording.holders:
            found = [track for track in self._living if self._recording.tracks[track.id].name == waiting]
            if len(found) == 1:  # of several tasks of one name it is not known which waits
                yield Instant(LOCK_HELD, found[0], max(found[0].start, self.end - 1), (("by", holder),))

    @property
    def _living(self) -> list[Track]:
        """
        Return the tasks that live as the trace ends.
        """
        return [track for track in self.tracks if track.kind == "task" and track.end == self.end]

    def _is_exact(self, track: Track) -> bool:
        return self._exact is not None and self._exact.draws(track.id)

    def counters(self) -> Iterator[Counter]:
        """
        Yield the lengths of each loop's ready queue.
        """
        values = iter(self._recording.counters)
        pids = {loop: LOOP_PID + place for place, loop in enumerate(loop_order(self._recording))}
        for time, loop, value in zip(values, values, values, strict=True):
            yield Counter(pids[loop], "ready queue", max(0, time), value)

    def _ready_slices(self, *, by_time: bool) -> Iterator[tuple[Track, array[int]]]:
        """
        Yield slices that are ready, each time those of one track: see `SliceBuilder`.
        """
        for track, ready in self._draw(by_time=by_time):
            if ready:
                self._first.setdefault(track.id, ready[0])
            yield track, ready

    def _draw(self, *, by_time: bool) -> Iterator[tuple[Track, array[int]]]:
        if self._found.loops or self._recording.collections:
            self._exact = ExactTimeline(self._recording, self.options, self._found, self._resolver, self.end)
            yield from self._exact.ready_slices(self._progress, by_time=by_time)
            return
        builders: dict[int, SliceBuilder] = {}
        tracks = self._recording.tracks
        drawn_stack, depth = self._resolver.drawn_stack, self._found.requests.depth
        has_requests = bool(self._recording.requests)
        for drawn, (time, track, stack, detail) in enumerate(self._recording.read()):
            builder = builders.get(track)
            if builder is None:
                builder = builders[track] = self._builder(track, by_time=by_time)
            if stack == GONE:
                ready = builder.advance(time, ())
                del builders[track]
            else:
                around = depth(track, stack) if has_requests else 0
                ready = builder.advance(time, drawn_stack(tracks[track].kind, stack, detail), around)
            if ready:
                yield builder.track, ready
            if self._progress is not None and drawn % PROGRESS_EVERY == 0:
                self._progress(drawn, self._recording.observations)
        for builder in builders.values():
            yield builder.track, builder.advance(self.end, ()) or array("q")

    def _builder(self, track: int, *, by_time: bool) -> SliceBuilder:
        outer = self._found.requests.outer(track, self._resolver)
        return SliceBuilder(self._by_id[track], by_time=by_time, outer=outer)

    def _gaps(self) -> list[Slice]:
        track = next((track for track in self.tracks if track.kind == "tracer"), None)
        if track is None:
            return []
        return [
            Slice(
                track, gap.start, gap.end, 0, Frame(f"{gap.kind} ticks", "gap", args=(("ticks", gap.ticks),))
            )
            for gap in self._recording.gaps
        ]
