"""
What blocked a loop: a step or callback that ran for long, while others waited for their turn.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from heapq import nlargest
from operator import attrgetter

from fgtrace._model.states import RUNNABLE, RUNNING
from fgtrace.reports._loops import LoopLives, busy_spans, loop_lives
from fgtrace.reports._state_history import Life, Lives
from fgtrace.reports._statistics import union

__all__ = ["Blocked", "blocked"]

#: Callbacks that were only seen as a thread that is busy without a task have no better name.
CALLBACK = "callback"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """
    A stretch in which a loop ran one thing.

    Args:
        kind: ``task`` or ``callback``. name: the task's or the callback's.
        loop: the loop's name. start_ns: from the trace's start. duration_ns: how long.
        stack: the functions that were seen in it for the longest time, outermost first.
        kept_waiting: how many tasks were ready meanwhile, and had to wait.
    """

    kind: str
    name: str
    loop: str
    start_ns: int
    duration_ns: int
    stack: tuple[str, ...]
    kept_waiting: int


@dataclass(slots=True)
class _Found:
    kind: str
    name: str
    loop: LoopLives
    start: int
    end: int
    spot: int

    @property
    def length(self) -> int:
        return self.end - self.start


def blocked(lives: Lives, least: int, top: int | None = None) -> tuple[Blocked, ...]:
    """
    The stretches that blocked a loop, the longest first.

    Args:
        lives: of a trace.
        least: from how many ns on.
        top: so many; None: all.
    """
    found: list[_Found] = []
    for loop in loop_lives(lives):
        found += _of_tasks(lives, loop, least)
        found += _of_callbacks(lives, loop, least)
    longest = nlargest(len(found) if top is None else top, found, key=attrgetter("length"))
    ready = {each.loop.pid: _Ready(lives, each.loop.tasks) for each in longest}
    return tuple(
        Blocked(
            kind=each.kind, name=each.name, loop=each.loop.name, start_ns=each.start, duration_ns=each.length,
            stack=_stack(lives, each.spot), kept_waiting=ready[each.loop.pid].within(each.start, each.end),
        )
        for each in longest
    )  # fmt: skip


def _of_tasks(lives: Lives, loop: LoopLives, least: int) -> list[_Found]:
    running = {number for number, spot in enumerate(lives.spots) if spot.state.name == RUNNING}
    return [
        _Found("task", life.title, loop, start, end, spot)
        for life in loop.tasks
        for start, end, spot in life
        if end - start >= least and spot in running
    ]


def _of_callbacks(lives: Lives, loop: LoopLives, least: int) -> list[_Found]:
    if loop.callbacks is not None:
        return [
            _Found(CALLBACK, lives.spots[spot].state.name, loop, start, end, spot)
            for start, end, spot in loop.callbacks
            if end - start >= least
        ]
    if loop.thread is None or loop.loop is not None:
        return []
    return _unexplained(lives, loop, loop.thread, least)


def _unexplained(lives: Lives, loop: LoopLives, thread: Life, least: int) -> list[_Found]:
    """
    Sampled: the thread is busy, and no task of the loop runs.
    """
    running = {number for number, spot in enumerate(lives.spots) if spot.state.name == RUNNING}
    steps = union((start, end) for life in loop.tasks for start, end, spot in life if spot in running)
    found = []
    for first, last in busy_spans(lives, loop):
        bounds = [first]
        place = max(0, bisect_left(steps, (first, first)) - 1)
        while place < len(steps) and steps[place][0] < last:
            if steps[place][1] > first:
                bounds += [max(first, steps[place][0]), min(last, steps[place][1])]
            place += 1
        bounds.append(last)
        for start, end in zip(bounds[::2], bounds[1::2], strict=True):
            if end - start >= least:
                spot = _longest_spot(thread, start, end)
                if spot >= 0:
                    found.append(_Found(CALLBACK, _innermost(lives, spot), loop, start, end, spot))
    return found


def _longest_spot(life: Life, start: int, end: int) -> int:
    """
    The spot at which it was for the most of a time; -1: none.
    """
    times: dict[int, int] = {}
    for place in life.within(start, end):
        first, last, spot = life.at(place)
        times[spot] = times.get(spot, 0) + min(last, end) - max(first, start)
    return max(times, key=times.__getitem__, default=-1)


def _innermost(lives: Lives, spot: int) -> str:
    stack = _stack(lives, spot)
    return stack[-1] if stack else CALLBACK


def _stack(lives: Lives, spot: int) -> tuple[str, ...]:
    """
    A stack without what the loop is, which everybody knows.
    """
    names = [frame.name for frame in lives.spots[spot].chain]
    callers = [place for place, name in enumerate(names) if name == "asyncio.events.Handle._run"]
    return tuple(names[callers[-1] + 1 :] if callers else names)


class _Ready:
    """
    When the tasks of a loop were ready: asks how many in a stretch.
    """

    def __init__(self, lives: Lives, tasks: list[Life]) -> None:
        ready = {number for number, spot in enumerate(lives.spots) if spot.state.name == RUNNABLE}
        self._found = sorted(
            (start, end, life.id) for life in tasks for start, end, spot in life if spot in ready
        )
        self._longest = max((end - start for start, end, _ in self._found), default=0)

    def within(self, start: int, end: int) -> int:
        """
        How many tasks were ready at some time of it.
        """
        first = bisect_left(self._found, (start - self._longest, 0, 0))
        last = bisect_left(self._found, (end, 0, 0))
        return len({who for _, until, who in self._found[first:last] if until > start})
