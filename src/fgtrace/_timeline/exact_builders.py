"""
What the tracks of a trace with exact awaits show: of a task, a thread, and an event loop's two.

The track of a task has no gaps: from its start to its end the task is waiting, runnable or running, and each
change has the time at which it happened. A step is noted when it ends. The samples that fell into it were
noted before and wait for it.
"""

from __future__ import annotations

from array import array
from typing import NamedTuple

from fgtrace._model.values import Collection, Frame, Track
from fgtrace._recording.recording import EMPTY, GONE, CallbackEntry
from fgtrace._recording.step_records import SOURCES
from fgtrace._timeline.request_slices import OuterStacks
from fgtrace._timeline.slice_builder import SliceBuilder
from fgtrace._timeline.stack_resolver import DrawnStack, StackResolver, frame_name
from fgtrace._timeline.step_stacks import StepStacks

__all__ = ["CallbackBuilder", "LoopBuilder", "TaskBuilder", "TaskStep", "ThreadBuilder"]

#: Samples of one step that are kept until it ends; beyond that every second one is dropped.
MOST_SAMPLES = 8192
#: Samples of a thread that are remembered, to find what blocked a loop.
MOST_REMEMBERED = 512
#: The shortest time (ns) without a handle that a loop's track shows as ``select``.
SHORTEST_SELECT = 1000
#: Numbers of a sample: time, stack, detail.
_SAMPLE = 3


class TaskStep(NamedTuple):
    """
    A step of a task: its start and end (ns), when the task was woken for it and by whom (-1, ``""``: not
    known).
    """

    start: int
    end: int
    ready: int
    woken_by: str


class TaskBuilder:
    """
    Makes the slices of a task on a loop with exact awaits.

    Args:
        track: the task's.
        step_stacks: makes the stacks that the task shows.
        root: the name of its coroutine.
        by_time, outer: see `SliceBuilder`.

    Attributes:
        has_holes: whether there was a time at which the track shows nothing.
    """

    def __init__(
        self,
        track: Track,
        step_stacks: StepStacks,
        root: str,
        *,
        by_time: bool = False,
        outer: OuterStacks = (),
    ) -> None:
        self.track = track
        self.has_holes = False
        self._builder = SliceBuilder(track, by_time=by_time, outer=outer)
        self._step_stacks = step_stacks
        self._root = root
        self._since = track.start
        self._stack, self._detail = EMPTY, 0
        self._is_known = False
        self._samples: array[int] = array("q")
        self._done = array("q")

    def add_running_sample(self, time: int, stack: int, detail: int) -> None:
        """
        Add a sample in which the task ran: it belongs to the step that is noted next.
        """
        if time < self._since:
            return
        self._samples.extend((time, stack, detail))
        if len(self._samples) >= MOST_SAMPLES * _SAMPLE:
            kept = array("q")
            for place in range(0, len(self._samples), 2 * _SAMPLE):
                kept.extend(self._samples[place : place + _SAMPLE])
            self._samples = kept

    def add_suspended_sample(self, time: int, stack: int, detail: int) -> array[int]:
        """
        Add a sample in which the task was suspended, before the first step that is known.
        """
        if not self._is_known or time > self._since:
            self._is_known = True
            self._suspended(max(time, self._since) if self._builder.drawn else self._since, stack, detail)
        return self._drain()

    def add_step(self, step: TaskStep, stack: int, detail: int) -> array[int]:
        """
        Add a step, after which the task suspended with this stack and detail; `GONE`: it ended.
        """
        start = max(step.start, self._since)
        end = max(step.end, start)
        ready = step.ready if step.ready >= 0 else start
        ready = min(max(ready, self._since), start) if self._is_known else self._since
        if ready < start:
            self._advance(ready, self._step_stacks.runnable(self._stack, step.woken_by, self._root))
        self._advance(start, self._step_stacks.running(self._stack, stack, self._root))
        self._draw_samples(start, end)
        if stack == GONE:
            self._since = end
            self._done.extend(self._builder.advance(end, ()) or ())
        else:
            self._suspended(end, stack, detail)
        return self._drain()

    def finish(self, time: int) -> array[int]:
        """
        End the track: the trace is over, or the task vanished.
        """
        if not self._is_known and self._since < time and not self._builder.drawn:
            self._advance(self._since, self._step_stacks.runnable(EMPTY, "", self._root))
        self._draw_samples(self._since, time)
        self._done.extend(self._builder.advance(max(time, self._since), ()) or ())
        return self._drain()

    def most_seen(self, end: int) -> int:
        """
        Return the stack that the samples of the step under way show for most of its time; `EMPTY`: none.
        """
        values = iter(self._samples)
        samples = zip(values, values, values, strict=True)
        return _longest([(time, stack) for time, stack, _ in samples], end)

    def _suspended(self, time: int, stack: int, detail: int) -> None:
        self._is_known = True
        self._since, self._stack, self._detail = time, stack, detail
        self._advance(time, self._step_stacks.waiting(stack, detail, self._root))

    def _draw_samples(self, start: int, end: int) -> None:
        values = iter(self._samples)
        for time, stack, detail in zip(values, values, values, strict=True):
            if time < end:
                start = max(time, start)
                self._advance(start, self._step_stacks.waiting(stack, detail, self._root))
        self._samples = array("q")

    def _advance(self, time: int, drawn: DrawnStack) -> None:
        self.has_holes = self.has_holes or not drawn
        self._done.extend(self._builder.advance(time, drawn) or ())

    def _drain(self) -> array[int]:
        done, self._done = self._done, array("q")
        return done


class ThreadBuilder:
    """
    Makes the slices of a thread, or of a task on a loop that is sampled.

    While the garbage collector runs in a thread, it is the innermost frame.
    """

    def __init__(
        self, track: Track, resolver: StackResolver, *, by_time: bool = False, outer: OuterStacks = ()
    ) -> None:
        self.track = track
        self.remembered: list[tuple[int, int]] = []
        self._builder = SliceBuilder(track, by_time=by_time, outer=outer)
        self._resolver = resolver
        self._drawn: DrawnStack = ()
        self._collecting: DrawnStack = ()
        self._depth = 0
        self._since = 0

    def add_observation(self, time: int, stack: int, drawn: DrawnStack, depth: int) -> array[int]:
        """
        Add an observation; for ``drawn`` and ``depth`` see `SliceBuilder.advance`.
        """
        self.remembered.append((time, stack))
        if len(self.remembered) > 2 * MOST_REMEMBERED:
            del self.remembered[:MOST_REMEMBERED]
        self._drawn, self._depth = drawn, depth
        return self._advance(time)

    def collect(self, time: int, collection: Collection | None) -> array[int]:
        """
        Begin a run of the garbage collector in this thread, or end it (None).
        """
        if collection is None:
            self._collecting = ()
        elif self._drawn:
            frame = Frame(
                "garbage collection", "gc",
                args=(("generation", collection.generation), ("collected", collection.collected)),
            )  # fmt: skip
            self._collecting = (self._resolver.shared_frame(frame),)
        return self._advance(time)

    def most_seen(self, start: int, end: int) -> int:
        """
        Return the stack that the thread had for most of this time; `EMPTY`: there is no sample of then.
        """
        return _longest([each for each in self.remembered if start <= each[0] < end], end)

    def finish(self, time: int) -> array[int]:
        """
        End the track: the thread is gone, or the trace is over.
        """
        self._drawn = self._collecting = ()
        return self._advance(time)

    def _advance(self, time: int) -> array[int]:
        # the sample of a late tick, also the one that misses the thread, has the time at which the tick was
        # due
        self._since = min(max(self._since, time), self.track.end)
        drawn = (*self._drawn, *self._collecting) if self._drawn else ()
        return self._builder.advance(self._since, drawn, self._depth) or array("q")


class LoopBuilder:
    """
    Makes the slices of an event loop: busy with handles, or in its selector and its own bookkeeping.
    """

    def __init__(self, track: Track, resolver: StackResolver) -> None:
        self.track = track
        self._resolver = resolver
        self._select = resolver.shared_frame(Frame("select", "loop")).number
        self._busy_since = self._last = track.start
        self._handles = 0

    def add_handle(self, start: int, end: int) -> array[int]:
        """
        Add a handle that the loop ran.
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
        End the track: the loop or the trace is over.
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
        return array("q", (self._busy_since, self._last, 0, self._resolver.shared_frame(frame).number))


class CallbackBuilder:
    """
    Makes the slices of the callbacks of an event loop that are not steps of tasks.
    """

    def __init__(self, track: Track, resolver: StackResolver) -> None:
        self.track = track
        self._resolver = resolver
        self._last = track.start

    def add_callback(self, start: int, end: int, entry: CallbackEntry, source: int) -> array[int]:
        """
        Add a callback that the loop ran.
        """
        start = max(start, self._last)
        if end <= start:
            return array("q")
        self._last = end
        args = (("source", SOURCES[source]),)
        frame = Frame(frame_name(entry.name), "callback", entry.file, entry.line, args)
        return array("q", (start, end, 0, self._resolver.shared_frame(frame).number))


def _longest(samples: list[tuple[int, int]], end: int) -> int:
    """
    Return the stack that samples (time, stack) show for the longest time until ``end``; `EMPTY`: there are
    none.
    """
    lasted: dict[int, int] = {}
    for place, (time, stack) in enumerate(samples):
        until = samples[place + 1][0] if place + 1 < len(samples) else end
        lasted[stack] = lasted.get(stack, 0) + max(0, until - time)
    return max(lasted, key=lasted.__getitem__, default=EMPTY)
