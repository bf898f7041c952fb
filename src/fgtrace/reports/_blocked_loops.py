"""
Computes what blocked an event loop: the steps and callbacks that ran for long while other tasks waited.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from heapq import nlargest
from operator import attrgetter

from fgtrace._model.states import RUNNABLE, RUNNING
from fgtrace.reports._loops import LoopHistories, busy_spans, loop_histories
from fgtrace.reports._state_history import StateHistory, TrackHistory
from fgtrace.reports._statistics import union

__all__ = ["Blocked", "blocked"]

#: The kind of a callback; also its name where only a busy thread without a task was sampled.
CALLBACK = "callback"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """
    A step or callback that blocked its loop.

    Args:
        kind: ``task`` or ``callback``. name: the task's or the callback's.
        loop: the loop's name. start_ns: from the trace's start. duration_ns: how long it ran.
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
    loop: LoopHistories
    start: int
    end: int
    stack: int

    @property
    def length(self) -> int:
        return self.end - self.start


def blocked(histories: StateHistory, least: int, top: int | None = None) -> tuple[Blocked, ...]:
    """
    Return the steps and callbacks that blocked a loop, the longest first.

    Args:
        histories: of a trace.
        least: the ns from which on one blocks its loop.
        top: how many to return; None: all.
    """
    found: list[_Found] = []
    for loop in loop_histories(histories):
        found += _of_tasks(histories, loop, least)
        found += _of_callbacks(histories, loop, least)
    longest = nlargest(len(found) if top is None else top, found, key=attrgetter("length"))
    ready = {each.loop.pid: _Ready(histories, each.loop.tasks) for each in longest}
    return tuple(
        Blocked(
            kind=each.kind, name=each.name, loop=each.loop.name, start_ns=each.start, duration_ns=each.length,
            stack=_functions(histories, each.stack),
            kept_waiting=ready[each.loop.pid].within(each.start, each.end),
        )
        for each in longest
    )  # fmt: skip


def _of_tasks(histories: StateHistory, loop: LoopHistories, least: int) -> list[_Found]:
    running = {number for number, stack in enumerate(histories.stacks) if stack.state.name == RUNNING}
    return [
        _Found("task", history.title, loop, start, end, stack)
        for history in loop.tasks
        for start, end, stack in history
        if end - start >= least and stack in running
    ]


def _of_callbacks(histories: StateHistory, loop: LoopHistories, least: int) -> list[_Found]:
    if loop.callbacks is not None:
        return [
            _Found(CALLBACK, histories.stacks[stack].state.name, loop, start, end, stack)
            for start, end, stack in loop.callbacks
            if end - start >= least
        ]
    if loop.thread is None or loop.loop is not None:
        return []
    return _unexplained(histories, loop, loop.thread, least)


def _unexplained(
    histories: StateHistory, loop: LoopHistories, thread: TrackHistory, least: int
) -> list[_Found]:
    """
    Return the callbacks of a sampled trace: times in which the thread is busy, and no task of the loop runs.
    """
    running = {number for number, stack in enumerate(histories.stacks) if stack.state.name == RUNNING}
    steps = union((start, end) for history in loop.tasks for start, end, stack in history if stack in running)
    found = []
    for first, last in busy_spans(histories, loop):
        bounds = [first]
        place = max(0, bisect_left(steps, (first, first)) - 1)
        while place < len(steps) and steps[place][0] < last:
            if steps[place][1] > first:
                bounds += [max(first, steps[place][0]), min(last, steps[place][1])]
            place += 1
        bounds.append(last)
        for start, end in zip(bounds[::2], bounds[1::2], strict=True):
            if end - start >= least:
                stack = _longest_stack(thread, start, end)
                if stack >= 0:
                    found.append(_Found(CALLBACK, _innermost(histories, stack), loop, start, end, stack))
    return found


def _longest_stack(history: TrackHistory, start: int, end: int) -> int:
    """
    Return the stack at which a track was for most of a time; -1: none.
    """
    times: dict[int, int] = {}
    for place in history.within(start, end):
        first, last, stack = history.at(place)
        times[stack] = times.get(stack, 0) + min(last, end) - max(first, start)
    return max(times, key=times.__getitem__, default=-1)


def _innermost(histories: StateHistory, stack: int) -> str:
    functions = _functions(histories, stack)
    return functions[-1] if functions else CALLBACK


def _functions(histories: StateHistory, stack: int) -> tuple[str, ...]:
    """
    Return the functions of a stack without the loop's own.
    """
    names = [frame.name for frame in histories.stacks[stack].chain]
    callers = [place for place, name in enumerate(names) if name == "asyncio.events.Handle._run"]
    return tuple(names[callers[-1] + 1 :] if callers else names)


class _Ready:
    """
    The times in which the tasks of a loop were ready, to count those in a span.
    """

    def __init__(self, histories: StateHistory, tasks: list[TrackHistory]) -> None:
        ready = {number for number, stack in enumerate(histories.stacks) if stack.state.name == RUNNABLE}
        self._found = sorted(
            (start, end, history.id) for history in tasks for start, end, stack in history if stack in ready
        )
        self._longest = max((end - start for start, end, _ in self._found), default=0)

    def within(self, start: int, end: int) -> int:
        """
        Return how many tasks were ready at some time within a span.
        """
        first = bisect_left(self._found, (start - self._longest, 0, 0))
        last = bisect_left(self._found, (end, 0, 0))
        return len({who for _, until, who in self._found[first:last] if until > start})
