"""
Makes the slices of a recording with exact awaits: from observations, steps and garbage collections, merged by
time.

Memory does not grow with the steps: observations and steps are read as a stream, twice (once for the slices,
once for the arrows), and what is remembered of the past is bounded.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from operator import itemgetter
from typing import Any

from fgtrace._model.values import Collection, Flow, Instant, Observation, Track
from fgtrace._options.options import Options
from fgtrace._recording.recording import EMPTY, GONE, Recording
from fgtrace._recording.step_records import CALLBACK, StepRecord, loop_and_source
from fgtrace._timeline.exact_builders import (
    CallbackBuilder,
    LoopBuilder,
    TaskBuilder,
    TaskStep,
    ThreadBuilder,
)
from fgtrace._timeline.stack_resolver import StackResolver
from fgtrace._timeline.step_stacks import StepStacks
from fgtrace._timeline.tracks import Tracks
from fgtrace._timeline.wakers import Wakers

__all__ = ["ExactTimeline"]

#: Flags that are kept; a very low threshold would give one for each step.
MOST_INSTANTS = 10_000
PROGRESS_EVERY = 4096
#: The kinds of events in the stream; those of one time come in this order.
_ROW, _STEP, _COLLECTION = range(3)

_TrackSlices = tuple[Track, "array[int]"]  # a text, since `array` takes no parameters in 3.11


class ExactTimeline:
    """
    Makes the slices of a recording in which some loops have exact awaits.

    Args:
        recording: complete.
        options: ``slow_callback_duration`` matters here.
        tracks: all tracks, and the requests that they served.
        resolver: finds what stacks show.
        end: the trace's end, ns.

    Attributes:
        instants: the flags; complete after `ready_slices`.
    """

    def __init__(
        self, recording: Recording, options: Options, tracks: Tracks, resolver: StackResolver, end: int
    ) -> None:
        self.instants: list[Instant] = []
        self._recording = recording
        self._tracks = tracks
        self._resolver = resolver
        self._end = end
        self._by_time = False
        self._slow = options.slow_callback_duration * 1e9
        self._step_stacks = StepStacks(recording, resolver)
        self._running = {number for number, wait in enumerate(recording.waiters) if wait.kind == "running"}
        self._builders: dict[int, TaskBuilder | ThreadBuilder] = {}
        self._loops = {index: LoopBuilder(track, resolver) for index, track in tracks.loops.items()}
        self._callbacks = {
            index: CallbackBuilder(track, resolver) for index, track in tracks.callbacks.items()
        }
        self._wakers = Wakers(recording)
        self._holes: set[int] = set()
        self._ended: set[int] = set()

    def draws(self, track: int) -> bool:
        """
        Return whether a track is drawn from steps.
        """
        entry = self._recording.tracks[track] if track < len(self._recording.tracks) else None
        return entry is not None and entry.kind == "task" and entry.loop in self._loops

    def ready_slices(
        self, progress: Callable[[int, int], None] | None, *, by_time: bool
    ) -> Iterator[_TrackSlices]:
        """
        Yield slices that are complete (with ``by_time`` also open ones), as numbers, each time those of one
        track: see `fgtrace._timeline.slice_builder`.
        """
        self._by_time = by_time
        total = self._recording.observations + self._recording.stepped
        draw: tuple[Callable[[Any], Iterable[_TrackSlices]], ...] = (self._row, self._step, self._collection)
        for drawn, (_, kind, each) in enumerate(self._events()):
            yield from draw[kind](each)
            if progress is not None and drawn % PROGRESS_EVERY == 0:
                progress(drawn, total)
        for builder in tuple(self._builders.values()):
            yield builder.track, self._finish(builder, self._end)
        for loop in self._loops.values():
            yield loop.track, loop.finish()

    def flows(self, first: dict[int, int]) -> Iterator[Flow]:
        """
        Yield an arrow from what woke a task to its next step, where both have a slice.

        Args:
            first: track id -> when its first slice begins.
        """
        wakers = Wakers(self._recording)
        for step in self._recording.read_steps():
            start, end, ready, track, waker, stack, _ = step
            if track >= CALLBACK:
                wakers.add_callback(track - CALLBACK, start, end, stack)
            elif waker != track and ready >= 0 and self.draws(track) and track not in self._holes:
                target = self._tracks.by_id[track]
                source = self._source(wakers, waker, ready, first)
                if source is not None and target.start <= start < min(end, target.end):
                    is_first = ready == target.start and waker < CALLBACK
                    name = "create_task" if is_first else wakers.kind(waker)
                    yield Flow(name, source, ready, target, start)

    def _source(self, wakers: Wakers, waker: int, ready: int, first: dict[int, int]) -> Track | None:
        """
        Return the track of a waker, if it has a slice at that time.
        """
        found = loop_and_source(waker)
        if found is not None:
            has_slice = wakers.function(waker, ready) >= 0 and found[0] in self._tracks.callbacks
            return self._tracks.callbacks[found[0]] if has_slice else None
        if not self.draws(waker) or waker in self._holes:
            return None
        source = self._tracks.by_id[waker]
        return source if first.get(waker, self._end) <= ready < source.end else None

    def _events(self) -> Iterator[tuple[int, int, Any]]:
        """
        Yield all events by time, each as (time, kind, event).
        """
        recording = self._recording
        return merge(
            ((row[0], _ROW, row) for row in recording.read()),
            ((step[1], _STEP, step) for step in recording.read_steps()),
            _collections(recording.collections),
            key=itemgetter(0),
        )

    def _row(self, row: Observation) -> Iterable[_TrackSlices]:
        time, track, stack, detail = row
        time = min(
            time, self._end
        )  # the last tick notes tasks that ended while it ran as of when it found them
        builder = self._builder(track)
        if builder is None:
            return ()
        if stack == GONE:
            return [(builder.track, self._finish(builder, time))]
        if isinstance(builder, ThreadBuilder):
            drawn = self._resolver.drawn_stack(builder.track.kind, stack, detail)
            depth = self._tracks.requests.depth(track, stack)
            return [(builder.track, builder.add_observation(time, stack, drawn, depth))]
        if detail in self._running:
            builder.add_running_sample(time, stack, detail)
            return ()
        return [(builder.track, builder.add_suspended_sample(time, stack, detail))]

    def _step(self, step: StepRecord) -> Iterable[_TrackSlices]:
        start, end, ready, track, waker, stack, detail = step
        if start >= self._end:  # another thread noted it while the trace ended
            return ()
        end = min(end, self._end)
        if track >= CALLBACK:
            return self._callback(track - CALLBACK, start, end, stack, detail)
        builder = self._builder(track)
        if not isinstance(builder, TaskBuilder):
            return ()
        if end - start >= self._slow:
            self._flag_blocked(builder.track, start, end, builder.most_seen(end))
        woken_by = self._wakers.name(waker, ready) if ready >= 0 else ""
        found = [(builder.track, builder.add_step(TaskStep(start, end, ready, woken_by), stack, detail))]
        if stack == GONE:
            self._finish(builder, end)
        loop = self._loops[self._recording.tracks[track].loop]
        return [*found, (loop.track, loop.add_handle(start, end))]

    def _callback(
        self, loop: int, start: int, end: int, function: int, source: int
    ) -> Iterable[_TrackSlices]:
        if loop not in self._loops:
            return ()
        builder = self._callbacks[loop]
        if end - start >= self._slow:
            self._flag_blocked(builder.track, start, end, self._stack_of_thread(loop, start, end))
        self._wakers.add_callback(loop, start, end, function)
        drawn = builder.add_callback(start, end, self._recording.callbacks[function], source)
        return [(builder.track, drawn), (self._loops[loop].track, self._loops[loop].add_handle(start, end))]

    def _collection(self, event: tuple[int, Collection | None, int]) -> Iterable[_TrackSlices]:
        time, collection, thread = event
        for builder in self._builders.values():
            track = builder.track
            if isinstance(builder, ThreadBuilder) and track.kind == "thread" and track.tid == thread:
                return [(track, builder.collect(time, collection))]
        return ()

    def _builder(self, track: int) -> TaskBuilder | ThreadBuilder | None:
        """
        Return the builder of a track, made at first use; None if the track has ended.
        """
        found = self._builders.get(track)
        if found is None and track not in self._ended:
            shown = self._tracks.by_id[track]
            outer = self._tracks.requests.outer(track, self._resolver)
            if self.draws(track):
                root = self._recording.tracks[track].root
                found = TaskBuilder(shown, self._step_stacks, root, by_time=self._by_time, outer=outer)
            else:
                found = ThreadBuilder(shown, self._resolver, by_time=self._by_time, outer=outer)
            self._builders[track] = found
        return found

    def _finish(self, builder: TaskBuilder | ThreadBuilder, time: int) -> array[int]:
        """
        End a track for good, and return its last slices.
        """
        self._ended.add(builder.track.id)
        self._builders.pop(builder.track.id, None)
        if isinstance(builder, TaskBuilder) and builder.has_holes:
            self._holes.add(builder.track.id)
        return builder.finish(time)

    def _stack_of_thread(self, loop: int, start: int, end: int) -> int:
        """
        Return the stack that a loop's thread had for most of this time; `EMPTY`: not known.
        """
        name = self._recording.loops[loop].thread
        for builder in self._builders.values():
            track = builder.track
            if isinstance(builder, ThreadBuilder) and track.kind == "thread" and track.name == name:
                return builder.most_seen(start, end)
        return EMPTY

    def _flag_blocked(self, track: Track, start: int, end: int, stack: int) -> None:
        """
        Add the flag of a step or callback that blocked its loop.
        """
        if len(self.instants) >= MOST_INSTANTS:
            return
        args: list[tuple[str, str | int | float]] = [("duration (ms)", (end - start) / 1e6)]
        text = self._step_stacks.text(stack)
        if text:
            args.append(("stack", text))
        self.instants.append(Instant("loop blocked", track, max(start, track.start), tuple(args)))


def _collections(
    collections: list[Collection],
) -> Iterator[tuple[int, int, tuple[int, Collection | None, int]]]:
    for each in collections:
        yield each.start, _COLLECTION, (each.start, each, each.thread)
        yield each.end, _COLLECTION, (each.end, None, each.thread)
