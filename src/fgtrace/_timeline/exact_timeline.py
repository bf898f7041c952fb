"""
Draws a recording with exact awaits: rows, steps and garbage collections, merged by time.

Nothing is kept for each step: rows and steps are read as a stream, twice (once for the slices, once
for the arrows), and what must be remembered of the past is bounded.
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
from fgtrace._recording.step_records import CALLBACK, StepRecord, source_of
from fgtrace._timeline.exact_builders import Awake, CallbackBuilder, LoopBuilder, TaskBuilder, ThreadBuilder
from fgtrace._timeline.stack_resolver import Resolver
from fgtrace._timeline.step_paths import StepPaths
from fgtrace._timeline.tracks import Tracks
from fgtrace._timeline.wakers import Wakers

__all__ = ["ExactDrawing"]

#: Flags that are kept; a threshold of next to nothing would give one for each step.
MOST_INSTANTS = 10_000
PROGRESS_EVERY = 4096
#: What comes in the stream, in the order in which things of one time are taken.
_ROW, _STEP, _COLLECTION = range(3)

_TrackSlices = tuple[Track, "array[int]"]  # not at run time: 3.11 knows no parameters of it


class ExactDrawing:
    """
    Draws a recording of which some loops have exact awaits.

    Args:
        recording: complete.
        options: ``slow_callback_duration`` matters here.
        tracks: all tracks, and the requests that they served.
        resolver: gives stacks their face.
        end: the trace's end, ns.

    Attributes:
        instants: what there is to say of single moments; complete after `parts`.
    """

    def __init__(
        self, recording: Recording, options: Options, tracks: Tracks, resolver: Resolver, end: int
    ) -> None:
        self.instants: list[Instant] = []
        self._recording = recording
        self._tracks = tracks
        self._resolver = resolver
        self._end = end
        self._in_time = False
        self._slow = options.slow_callback_duration * 1e9
        self._paths = StepPaths(recording, resolver)
        self._running = {number for number, wait in enumerate(recording.waiters) if wait.kind == "running"}
        self._lanes: dict[int, TaskBuilder | ThreadBuilder] = {}
        self._loops = {index: LoopBuilder(track, resolver) for index, track in tracks.loops.items()}
        self._callbacks = {
            index: CallbackBuilder(track, resolver) for index, track in tracks.callbacks.items()
        }
        self._wakers = Wakers(recording)
        self._holes: set[int] = set()
        self._ended: set[int] = set()

    def draws(self, track: int) -> bool:
        """
        Whether this track is drawn from steps.
        """
        entry = self._recording.tracks[track] if track < len(self._recording.tracks) else None
        return entry is not None and entry.kind == "task" and entry.loop in self._loops

    def parts(self, progress: Callable[[int, int], None] | None, *, in_time: bool) -> Iterator[_TrackSlices]:
        """
        Slices that are complete (``in_time``: or open), track by track, as numbers: see
        `fgtrace._timeline.slice_builder`.
        """
        self._in_time = in_time
        total = self._recording.observations + self._recording.stepped
        draw: tuple[Callable[[Any], Iterable[_TrackSlices]], ...] = (self._row, self._step, self._collection)
        for drawn, (_, kind, each) in enumerate(self._events()):
            yield from draw[kind](each)
            if progress is not None and drawn % PROGRESS_EVERY == 0:
                progress(drawn, total)
        for lane in tuple(self._lanes.values()):
            yield lane.track, self._finish(lane, self._end)
        for loop in self._loops.values():
            yield loop.track, loop.finish()

    def flows(self, first: dict[int, int]) -> Iterator[Flow]:
        """
        An arrow from what woke a task to its next step, where both have a slice.

        Args:
            first: track id -> when its first slice begins.
        """
        wakers = Wakers(self._recording)
        for step in self._recording.read_steps():
            start, end, ready, track, waker, stack, _ = step
            if track >= CALLBACK:
                wakers.callback(track - CALLBACK, start, end, stack)
            elif waker != track and ready >= 0 and self.draws(track) and track not in self._holes:
                target = self._tracks.by_id[track]
                source = self._source(wakers, waker, ready, first)
                if source is not None and target.start <= start < min(end, target.end):
                    is_first = ready == target.start and waker < CALLBACK
                    name = "create_task" if is_first else wakers.word(waker)
                    yield Flow(name, source, ready, target, start)

    def _source(self, wakers: Wakers, waker: int, ready: int, first: dict[int, int]) -> Track | None:
        """
        The track of a waker, if it has a slice at that time.
        """
        found = source_of(waker)
        if found is not None:
            has_slice = wakers.function(waker, ready) >= 0 and found[0] in self._tracks.callbacks
            return self._tracks.callbacks[found[0]] if has_slice else None
        if not self.draws(waker) or waker in self._holes:
            return None
        source = self._tracks.by_id[waker]
        return source if first.get(waker, self._end) <= ready < source.end else None

    def _events(self) -> Iterator[tuple[int, int, Any]]:
        recording = self._recording
        return merge(
            ((row[0], _ROW, row) for row in recording.read()),
            ((step[1], _STEP, step) for step in recording.read_steps()),
            _collections(recording.collections),
            key=itemgetter(0),
        )

    def _row(self, row: Observation) -> Iterable[_TrackSlices]:
        time, track, stack, detail = row
        lane = self._lane(track)
        if lane is None:
            return ()
        if stack == GONE:
            return [(lane.track, self._finish(lane, time))]
        if isinstance(lane, ThreadBuilder):
            path = self._resolver.path(lane.track.kind, stack, detail)
            depth = self._tracks.requests.depth(track, stack)
            return [(lane.track, lane.row(time, stack, path, depth))]
        if detail in self._running:
            lane.sample(time, stack, detail)
            return ()
        return [(lane.track, lane.seen(time, stack, detail))]

    def _step(self, step: StepRecord) -> Iterable[_TrackSlices]:
        start, end, ready, track, waker, stack, detail = step
        if start >= self._end:  # noted by another thread while the trace was being ended
            return ()
        end = min(end, self._end)
        if track >= CALLBACK:
            return self._callback(track - CALLBACK, start, end, stack, detail)
        lane = self._lane(track)
        if not isinstance(lane, TaskBuilder):
            return ()
        if end - start >= self._slow:
            self._blocked(lane.track, start, end, lane.most_seen(end))
        woken_by = self._wakers.name(waker, ready) if ready >= 0 else ""
        parts = [(lane.track, lane.step(Awake(start, end, ready, woken_by), stack, detail))]
        if stack == GONE:
            self._finish(lane, end)
        loop = self._loops[self._recording.tracks[track].loop]
        return [*parts, (loop.track, loop.handle(start, end))]

    def _callback(
        self, loop: int, start: int, end: int, function: int, source: int
    ) -> Iterable[_TrackSlices]:
        if loop not in self._loops:
            return ()
        lane = self._callbacks[loop]
        if end - start >= self._slow:
            self._blocked(lane.track, start, end, self._stack_of_thread(loop, start, end))
        self._wakers.callback(loop, start, end, function)
        drawn = lane.callback(start, end, self._recording.callbacks[function], source)
        return [(lane.track, drawn), (self._loops[loop].track, self._loops[loop].handle(start, end))]

    def _collection(self, event: tuple[int, Collection | None, int]) -> Iterable[_TrackSlices]:
        time, collection, thread = event
        for lane in self._lanes.values():
            if isinstance(lane, ThreadBuilder) and lane.track.kind == "thread" and lane.track.tid == thread:
                return [(lane.track, lane.collect(time, collection))]
        return ()

    def _lane(self, track: int) -> TaskBuilder | ThreadBuilder | None:
        """
        The lane of a track, made at first use; None where it has ended.
        """
        found = self._lanes.get(track)
        if found is None and track not in self._ended:
            shown = self._tracks.by_id[track]
            outer = self._tracks.requests.outer(track, self._resolver)
            if self.draws(track):
                root = self._recording.tracks[track].root
                found = TaskBuilder(shown, self._paths, root, in_time=self._in_time, outer=outer)
            else:
                found = ThreadBuilder(shown, self._resolver, in_time=self._in_time, outer=outer)
            self._lanes[track] = found
        return found

    def _finish(self, lane: TaskBuilder | ThreadBuilder, time: int) -> array[int]:
        """
        Close a lane; for good.
        """
        self._ended.add(lane.track.id)
        self._lanes.pop(lane.track.id, None)
        if isinstance(lane, TaskBuilder) and lane.holes:
            self._holes.add(lane.track.id)
        return lane.finish(time)

    def _stack_of_thread(self, loop: int, start: int, end: int) -> int:
        name = self._recording.loops[loop].thread
        for lane in self._lanes.values():
            if isinstance(lane, ThreadBuilder) and lane.track.kind == "thread" and lane.track.name == name:
                return lane.most_seen(start, end)
        return EMPTY

    def _blocked(self, track: Track, start: int, end: int, stack: int) -> None:
        if len(self.instants) >= MOST_INSTANTS:
            return
        args: list[tuple[str, str | int | float]] = [("duration (ms)", (end - start) / 1e6)]
        text = self._paths.text(stack)
        if text:
            args.append(("stack", text))
        self.instants.append(Instant("loop blocked", track, max(start, track.start), tuple(args)))


def _collections(
    collections: list[Collection],
) -> Iterator[tuple[int, int, tuple[int, Collection | None, int]]]:
    for each in collections:
        yield each.start, _COLLECTION, (each.start, each, each.thread)
        yield each.end, _COLLECTION, (each.end, None, each.thread)
