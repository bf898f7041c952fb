"""
The loops: busy or idle, and how late they come to what is ready.

With exact awaits a loop has a track that says when it was in its selector. Otherwise it is idle
while its thread is in ``select``; where threads were not traced, while none of its tasks runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fgtrace._model.states import RUNNABLE, RUNNING, SELECT
from fgtrace._model.values import Span
from fgtrace.reports._state_history import Life, Lives
from fgtrace.reports._statistics import percentile, union

__all__ = ["Loop", "LoopLives", "loop_lives", "loops"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """
    An event loop.

    Args:
        name: as in the trace; its thread's name is in it.
        is_exact: whether its steps were noted, not sampled.
        life_ns: from first to last sight. busy_ns, idle_ns: they add up to it.
        steps: how often a task of it ran; of those that were sampled it is the least that it can be.
        late_p99_ns: how long they were ready before they ran, 99 of 100 at most. late_max_ns: the longest.
        longest_ns: the longest step or callback; nothing else came to run meanwhile.
        queue_mean: the length of its ready queue on average, as the ticks saw it; None: not known.
        queue_max: the longest; None: not known.
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
class LoopLives:
    """
    What lives there are of a loop.

    Args:
        name: the loop's. pid: its process id in the trace.
        tasks: its tasks. loop: None: its steps were not noted. callbacks: the same.
        thread: the thread that it runs in; None: not traced.
    """

    name: str
    pid: int
    tasks: list[Life]
    loop: Life | None = None
    callbacks: Life | None = None
    thread: Life | None = None

    @property
    def span(self) -> Span:
        """
        From first to last sight.
        """
        if self.loop is not None:
            return self.loop.start, self.loop.end
        return min((life.start for life in self.tasks), default=0), max(
            (life.end for life in self.tasks), default=0
        )


def loop_lives(lives: Lives) -> list[LoopLives]:
    """
    The loops of a trace, in display order.
    """
    found: dict[int, LoopLives] = {}
    threads = {life.name: life for life in reversed(lives.of("thread"))}
    for life in lives.by_id.values():
        track = life.track
        if track.kind not in ("task", "loop", "callbacks"):
            continue
        each = found.get(track.pid)
        if each is None:
            thread = threads.get(track.group.partition("(")[2].removesuffix(")"))
            each = found[track.pid] = LoopLives(track.group, track.pid, [], thread=thread)
        if track.kind == "task":
            each.tasks.append(life)
        elif track.kind == "loop":
            each.loop = life
        else:
            each.callbacks = life
    return list(found.values())


def loops(lives: Lives) -> tuple[Loop, ...]:
    """
    The loops, in display order.
    """
    return tuple(_loop(lives, each) for each in loop_lives(lives))


def _loop(lives: Lives, each: LoopLives) -> Loop:
    start, end = each.span
    busy = sum(last - first for first, last in busy_spans(lives, each))
    late = sorted(_lateness(lives, each.tasks))
    mean, most = _queue(lives, each)
    steps = [last - first for life in each.tasks for first, last in _in(lives, life, {RUNNING})]
    if each.callbacks is not None:
        steps += [last - first for first, last, _ in each.callbacks]
    return Loop(
        name=each.name, is_exact=each.loop is not None, life_ns=end - start, busy_ns=busy,
        idle_ns=end - start - busy, steps=len(late), late_p99_ns=percentile(late, 0.99),
        late_max_ns=max(late, default=0), longest_ns=max(steps, default=0),
        queue_mean=mean, queue_max=most,
    )  # fmt: skip


def busy_spans(lives: Lives, each: LoopLives) -> list[Span]:
    """
    When a loop was busy, by time.
    """
    if each.loop is not None:
        return union(_in(lives, each.loop, {"busy"}))
    if each.thread is None:
        return union(span for life in each.tasks for span in _in(lives, life, {RUNNING}))
    start, end = each.span
    idle = [
        (max(first, start), min(last, end))
        for first, last in _in(lives, each.thread, {SELECT})
        if first < end and last > start
    ]
    bounds = [start, *(time for span in idle for time in span), end]
    return [span for span in zip(bounds[::2], bounds[1::2], strict=True) if span[0] < span[1]]


def _in(lives: Lives, life: Life, states: set[str]) -> Iterable[Span]:
    """
    The times of a life in some states.
    """
    spots = {number for number, spot in enumerate(lives.spots) if spot.state.name in states}
    return [(start, end) for start, end, spot in life if spot in spots]


def _lateness(lives: Lives, tasks: list[Life]) -> Iterable[int]:
    """
    Of each step, how long the task was ready before it.
    """
    names = [spot.state.name for spot in lives.spots]
    for life in tasks:
        ready = 0
        for start, end, spot in life:
            if names[spot] == RUNNING:
                yield ready
            ready = end - start if names[spot] == RUNNABLE else 0


def _queue(lives: Lives, each: LoopLives) -> tuple[float | None, int | None]:
    """
    The mean (by time) and the greatest length of the ready queue.
    """
    noted = lives.queues.get(each.pid)
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
