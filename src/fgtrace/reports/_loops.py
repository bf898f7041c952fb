"""
Computes how busy the event loops were, and how late they ran what was ready.

With exact awaits a loop has a track that shows when it was in its selector. Otherwise it is idle
while its thread is in ``select``, or, if threads were not traced, while none of its tasks runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fgtrace._model.states import RUNNABLE, RUNNING, SELECT
from fgtrace._model.values import Span
from fgtrace.reports._state_history import StateHistory, TrackHistory
from fgtrace.reports._statistics import percentile, union

__all__ = ["Loop", "LoopHistories", "loop_histories", "loops"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """
    An event loop.

    Args:
        name: as in the trace, with its thread's name.
        is_exact: whether its steps were noted, not sampled.
        life_ns: from the first sample to the last. busy_ns, idle_ns: how it divides.
        steps: how often its tasks ran; of a sampled loop the least number that it can be.
        late_p99_ns: how long tasks were ready before they ran, 99 of 100 at most. late_max_ns: the longest.
        longest_ns: the longest step or callback, in which no other ran.
        queue_mean: the mean length of its ready queue, as the ticks saw it; None: not known.
        queue_max: the greatest length; None: not known.
    """

    name: str
    is_exact: bool
    life_ns: int
    busy_ns: int
    idle_ns: int
    steps: int
    late_p99_ns: int
    late_max_ns: int
    longest_ns: int
    queue_mean: float | None
    queue_max: int | None


@dataclass(slots=True)
class LoopHistories:
    """
    The histories of a loop's tracks.

    Args:
        name: the loop's. pid: its process id in the trace.
        tasks: its tasks. loop, callbacks: its own tracks; None: its steps were not noted.
        thread: the thread that it runs in; None: not traced.
    """

    name: str
    pid: int
    tasks: list[TrackHistory]
    loop: TrackHistory | None = None
    callbacks: TrackHistory | None = None
    thread: TrackHistory | None = None

    @property
    def span(self) -> Span:
        """
        Return the time from the first sample to the last.
        """
        if self.loop is not None:
            return self.loop.start, self.loop.end
        return min((history.start for history in self.tasks), default=0), max(
            (history.end for history in self.tasks), default=0
        )


def loop_histories(histories: StateHistory) -> list[LoopHistories]:
    """
    Return the histories of each loop's tracks, in display order.
    """
    found: dict[int, LoopHistories] = {}
    threads = {history.name: history for history in reversed(histories.of("thread"))}
    for history in histories.by_id.values():
        track = history.track
        if track.kind not in ("task", "loop", "callbacks"):
            continue
        each = found.get(track.pid)
        if each is None:
            thread = threads.get(track.group.partition("(")[2].removesuffix(")"))
            each = found[track.pid] = LoopHistories(track.group, track.pid, [], thread=thread)
        if track.kind == "task":
            each.tasks.append(history)
        elif track.kind == "loop":
            each.loop = history
        else:
            each.callbacks = history
    return list(found.values())


def loops(histories: StateHistory) -> tuple[Loop, ...]:
    """
    Return the loops, in display order.
    """
    return tuple(_loop(histories, each) for each in loop_histories(histories))


def _loop(histories: StateHistory, each: LoopHistories) -> Loop:
    start, end = each.span
    busy = sum(last - first for first, last in busy_spans(histories, each))
    late = sorted(_lateness(histories, each.tasks))
    mean, most = _queue(histories, each)
    steps = [last - first for history in each.tasks for first, last in _in(histories, history, {RUNNING})]
    if each.callbacks is not None:
        steps += [last - first for first, last, _ in each.callbacks]
    return Loop(
        name=each.name, is_exact=each.loop is not None, life_ns=end - start, busy_ns=busy,
        idle_ns=end - start - busy, steps=len(late), late_p99_ns=percentile(late, 0.99),
        late_max_ns=max(late, default=0), longest_ns=max(steps, default=0),
        queue_mean=mean, queue_max=most,
    )  # fmt: skip


def busy_spans(histories: StateHistory, each: LoopHistories) -> list[Span]:
    """
    Return the times in which a loop was busy, in order.
    """
    if each.loop is not None:
        return union(_in(histories, each.loop, {"busy"}))
    if each.thread is None:
        return union(span for history in each.tasks for span in _in(histories, history, {RUNNING}))
    start, end = each.span
    idle = [
        (max(first, start), min(last, end))
        for first, last in _in(histories, each.thread, {SELECT})
        if first < end and last > start
    ]
    bounds = [start, *(time for span in idle for time in span), end]
    return [span for span in zip(bounds[::2], bounds[1::2], strict=True) if span[0] < span[1]]


def _in(histories: StateHistory, history: TrackHistory, states: set[str]) -> Iterable[Span]:
    """
    Return the times in which a track was in some states.
    """
    stacks = {number for number, stack in enumerate(histories.stacks) if stack.state.name in states}
    return [(start, end) for start, end, stack in history if stack in stacks]


def _lateness(histories: StateHistory, tasks: list[TrackHistory]) -> Iterable[int]:
    """
    Yield for each step how long its task was ready before it.
    """
    names = [stack.state.name for stack in histories.stacks]
    for history in tasks:
        ready = 0
        for start, end, stack in history:
            if names[stack] == RUNNING:
                yield ready
            ready = end - start if names[stack] == RUNNABLE else 0


def _queue(histories: StateHistory, each: LoopHistories) -> tuple[float | None, int | None]:
    """
    Return the mean (by time) and the greatest length of the ready queue.
    """
    noted = histories.queues.get(each.pid)
    if not noted:
        return None, None
    times, values = noted[::2], noted[1::2]
    end = max(each.span[1], times[-1])
    ends = [*times[1:], end]
    lasted = [last - first for first, last in zip(times, ends, strict=True)]
    whole = sum(lasted)
    mean = (
        sum(time * value for time, value in zip(lasted, values, strict=True)) / whole if whole else values[0]
    )
    return round(float(mean), 3), max(values)
