"""
The lanes of a trace with exact awaits: a task's, a thread's, and an event loop's two.

A task's lane is contiguous: from its start to its end it is waiting, runnable or running, and each
change has the time at which it happened. Steps come when they end; the samples that fell into
one came before and wait for it.
"""

from __future__ import annotations

from array import array
from typing import NamedTuple

from fgtrace._model.values import Collection, Frame, Track
from fgtrace._recording.recording import EMPTY, GONE, CallbackEntry
from fgtrace._recording.step_records import SOURCES
from fgtrace._timeline.request_slices import Outer
from fgtrace._timeline.slice_builder import SliceBuilder
from fgtrace._timeline.stack_resolver import DrawnStack, Resolver, frame_name
from fgtrace._timeline.step_paths import StepPaths

__all__ = ["Awake", "CallbackBuilder", "LoopBuilder", "TaskBuilder", "ThreadBuilder"]

#: Samples of one step that are kept until it ends; of more every second is left out.
MOST_SAMPLES = 8192
#: Stacks of a thread that are remembered, for what blocked a loop.
MOST_REMEMBERED = 512
#: A loop that runs nothing for so long (ns) is drawn as such.
SHORTEST_SELECT = 1000
#: Numbers of a sample: time, stack, detail.
_SAMPLE = 3


class Awake(NamedTuple):
    """
    A step of a task: its times, and when and by whom it was woken (-1, ``""``: not known).
    """

    start: int
    end: int
    ready: int
    woken_by: str


class TaskBuilder:
    """
    A task of a loop with exact awaits.

    Args:
        track: its track.
        paths: makes paths.
        root: the name of its coroutine.
        in_time, outer: see `SliceBuilder`.

    Attributes:
        holes: whether there was a time at which nothing could be drawn.
    """

    def __init__(
        self, track: Track, paths: StepPaths, root: str, *, in_time: bool = False, outer: Outer = ()
    ) -> None:
        self.track = track
        self.holes = False
        self._lane = SliceBuilder(track, in_time=in_time, outer=outer)
        self._paths = paths
        self._root = root
        self._since = track.start
        self._stack, self._detail = EMPTY, 0
        self._is_known = False
        self._samples: array[int] = array("q")
        self._done = array("q")

    def sample(self, time: int, stack: int, detail: int) -> None:
        """
        It was seen on a thread with this stack: within the step that will come next.
        """
        if time < self._since:
            return
        self._samples.extend((time, stack, detail))
        if len(self._samples) >= MOST_SAMPLES * _SAMPLE:
            kept = array("q")
            for place in range(0, len(self._samples), 2 * _SAMPLE):
                kept.extend(self._samples[place : place + _SAMPLE])
            self._samples = kept

    def seen(self, time: int, stack: int, detail: int) -> array[int]:
        """
        It was seen suspended, before its first step that is known.
        """
        if not self._is_known or time > self._since:
            self._is_known = True
            self._suspended(max(time, self._since) if self._lane.path else self._since, stack, detail)
        return self._take()

    def step(self, awake: Awake, stack: int, detail: int) -> array[int]:
        """
        It made a step, and suspended with this stack and detail; `GONE`: it ended.
        """
        start = max(awake.start, self._since)
        end = max(awake.end, start)
        ready = awake.ready if awake.ready >= 0 else start
        ready = min(max(ready, self._since), start) if self._is_known else self._since
        if ready < start:
            self._advance(ready, self._paths.runnable(self._stack, awake.woken_by, self._root))
        self._advance(start, self._paths.running(self._stack, stack, self._root))
        self._draw_samples(start, end)
        if stack == GONE:
            self._since = end
            self._done.extend(self._lane.advance(end, ()) or ())
        else:
            self._suspended(end, stack, detail)
        return self._take()

    def finish(self, time: int) -> array[int]:
        """
        The trace is over, or the task vanished.
        """
        if not self._is_known and self._since < time and not self._lane.path:
            self._advance(self._since, self._paths.runnable(EMPTY, "", self._root))
        self._draw_samples(self._since, time)
        self._done.extend(self._lane.advance(max(time, self._since), ()) or ())
        return self._take()

    def most_seen(self, end: int) -> int:
        """
        The stack that the samples of the step under way show for most of its time; `EMPTY`: none.
        """
        values = iter(self._samples)
        samples = zip(values, values, values, strict=True)
        return _longest([(time, stack) for time, stack, _ in samples], end)

    def _suspended(self, time: int, stack: int, detail: int) -> None:
        self._is_known = True
        self._since, self._stack, self._detail = time, stack, detail
        self._advance(time, self._paths.waiting(stack, detail, self._root))

    def _draw_samples(self, start: int, end: int) -> None:
        values = iter(self._samples)
        for time, stack, detail in zip(values, values, values, strict=True):
            if time < end:
                start = max(time, start)
                self._advance(start, self._paths.waiting(stack, detail, self._root))
        self._samples = array("q")

    def _advance(self, time: int, path: DrawnStack) -> None:
        self.holes = self.holes or not path
        self._done.extend(self._lane.advance(time, path) or ())

    def _take(self) -> array[int]:
        done, self._done = self._done, array("q")
        return done


class ThreadBuilder:
    """
    A thread, or a task of a loop that is sampled: with the garbage collector as its innermost frame.
    """

    def __init__(self, track: Track, resolver: Resolver, *, in_time: bool = False, outer: Outer = ()) -> None:
        self.track = track
        self.remembered: list[tuple[int, int]] = []
        self._lane = SliceBuilder(track, in_time=in_time, outer=outer)
        self._resolver = resolver
        self._path: DrawnStack = ()
        self._collecting: DrawnStack = ()
        self._depth = 0
        self._since = 0

    def row(self, time: int, stack: int, path: DrawnStack, depth: int) -> array[int]:
        """
        From this time on it has this stack and path; ``depth``: see `SliceBuilder.advance`.
        """
        self.remembered.append((time, stack))
        if len(self.remembered) > 2 * MOST_REMEMBERED:
            del self.remembered[:MOST_REMEMBERED]
        self._path, self._depth = path, depth
        return self._advance(time)

    def collect(self, time: int, collection: Collection | None) -> array[int]:
        """
        The garbage collector begins in it, or ends (None).
        """
        if collection is None:
            self._collecting = ()
        elif self._path:
            frame = Frame(
                "garbage collection", "gc",
                args=(("generation", collection.generation), ("collected", collection.collected)),
            )  # fmt: skip
            self._collecting = (self._resolver.shared_step(frame),)
        return self._advance(time)

    def most_seen(self, start: int, end: int) -> int:
        """
        The stack that it had for most of this time, as far as it was seen then; `EMPTY`: not.
        """
        return _longest([each for each in self.remembered if start <= each[0] < end], end)

    def finish(self, time: int) -> array[int]:
        """
        It is gone, or the trace is over.
        """
        self._path = self._collecting = ()
        return self._advance(time)

    def _advance(self, time: int) -> array[int]:
        # a late look, also the one that misses the thread, is noted as of when it was due
        self._since = min(max(self._since, time), self.track.end)
        path = (*self._path, *self._collecting) if self._path else ()
        return self._lane.advance(self._since, path, self._depth) or array("q")


class LoopBuilder:
    """
    An event loop: busy with handles, or in its selector and its own bookkeeping.
    """

    def __init__(self, track: Track, resolver: Resolver) -> None:
        self.track = track
        self._resolver = resolver
        self._select = resolver.shared_step(Frame("select", "loop")).number
        self._busy_since = self._last = track.start
        self._handles = 0

    def handle(self, start: int, end: int) -> array[int]:
        """
        It ran a handle.
        """
        found = array("q")
        start = max(start, self._last)
        if start - self._last >= SHORTEST_SELECT:
            found.extend(self._busy())
            found.extend((self._last, start, 0, self._select))
            self._busy_since = start
        self._handles += 1
        self._last = max(self._last, end)
        return found

    def finish(self) -> array[int]:
        """
        The trace is over, or the loop.
        """
        found = self._busy()
        if self.track.end > self._last:
            found.extend((self._last, self.track.end, 0, self._select))
        return found

    def _busy(self) -> array[int]:
        frame = Frame("busy", "loop", args=(("handles", self._handles),))
        self._handles = 0
        if self._last == self._busy_since:
            return array("q")
        return array("q", (self._busy_since, self._last, 0, self._resolver.shared_step(frame).number))


class CallbackBuilder:
    """
    The callbacks of an event loop that are not steps of tasks.
    """

    def __init__(self, track: Track, resolver: Resolver) -> None:
        self.track = track
        self._resolver = resolver
        self._last = track.start

    def callback(self, start: int, end: int, entry: CallbackEntry, source: int) -> array[int]:
        """
        It ran a callback.
        """
        start = max(start, self._last)
        if end <= start:
            return array("q")
        self._last = end
        args = (("source", SOURCES[source]),)
        frame = Frame(frame_name(entry.name), "callback", entry.file, entry.line, args)
        return array("q", (start, end, 0, self._resolver.shared_step(frame).number))


def _longest(samples: list[tuple[int, int]], end: int) -> int:
    """
    Of samples (time, stack) the stack that lasted longest until this time.
    """
    lasted: dict[int, int] = {}
    for place, (time, stack) in enumerate(samples):
        until = samples[place + 1][0] if place + 1 < len(samples) else end
        lasted[stack] = lasted.get(stack, 0) + max(0, until - time)
    return max(lasted, key=lasted.__getitem__, default=EMPTY)
