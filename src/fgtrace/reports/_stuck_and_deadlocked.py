"""
Finds tasks that are stuck, and deadlocks: tasks that wait for each other in a circle.

A task waits for another if the trace names that one, or if the other holds its lock, which the tracer finds
out as a trace ends. Other waits are unknown. So every deadlock that is found is real, and one may be missed.
"""

from __future__ import annotations

from dataclasses import dataclass

from fgtrace._model.states import LOCK_WAIT, SLEEP
from fgtrace.reports._state_history import Place, StateHistory, TrackHistory
from fgtrace.reports._wait_causes import Causes

__all__ = ["Cycle", "Stuck", "cycles", "stuck"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """
    A task that did not move for at least half of the trace, up to its end.

    Args:
        task: its name. place: what it waits for, and where. waited_ns: for how long it was seen to wait.
    """

    task: str
    place: Place
    waited_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """
    A deadlock: each of these tasks waits for the next one, the last one for the first.

    Args:
        tasks: their names, as in the trace. places: where each of them waits.
    """

    tasks: tuple[str, ...]
    places: tuple[Place, ...]


def stuck(histories: StateHistory, causes: Causes, top: int | None = None) -> tuple[Stuck, ...]:
    """
    Return the tasks that never moved, the longest wait first. Sleep does not count, for it ends by itself.
    """
    half = (histories.end - histories.start) / 2
    found = [
        Stuck(task=history.track.name, place=histories.stacks[history.stacks[-1]].place, waited_ns=waited)
        for history in _waiting(histories, causes)
        if (waited := history.ends[-1] - history.starts[-1]) >= half
        and _is_only_wait(history, causes)
        and histories.stacks[history.stacks[-1]].name != SLEEP
    ]
    return tuple(sorted(found, key=lambda each: (-each.waited_ns, each.task))[:top])


def _is_only_wait(history: TrackHistory, causes: Causes) -> bool:
    return sum(1 for stack in history.stacks if causes.is_wait(stack)) == 1


def _waiting(histories: StateHistory, causes: Causes) -> list[TrackHistory]:
    """
    Return the tasks that wait when the trace ends.
    """
    return [
        history
        for history in histories.tasks
        if len(history)
        and history.ends[-1] >= histories.end - histories.tick
        and causes.is_wait(history.stacks[-1])
    ]


def cycles(histories: StateHistory, causes: Causes) -> tuple[Cycle, ...]:
    """
    Return the deadlocks: the circles of tasks that wait for each other.
    """
    waiting = {history.id: history for history in _waiting(histories, causes)}
    follows: dict[int, int] = {}
    for number, history in waiting.items():
        target = _waits_for(histories, causes, history)
        if target is not None and target.id in waiting:
            follows[number] = target.id
    return tuple(
        Cycle(
            tasks=tuple(waiting[each].track.name for each in circle),
            places=tuple(histories.stacks[waiting[each].stacks[-1]].place for each in circle),
        )
        for circle in circles(follows)
    )


def _waits_for(histories: StateHistory, causes: Causes, history: TrackHistory) -> TrackHistory | None:
    """
    Return the task for which a task waits when the trace ends; None: not known.
    """
    stack = histories.stacks[history.stacks[-1]]
    return causes.holder(history) if stack.name == LOCK_WAIT else causes.only(stack.arg("task"), history.end)


def circles(follows: dict[int, int]) -> list[list[int]]:
    """
    Return the circles of a graph in which each node has at most one successor; each begins with its least
    node.
    """
    found: list[list[int]] = []
    done: set[int] = set()
    for first in sorted(follows):
        way: list[int] = []
        here: dict[int, int] = {}
        at: int | None = first
        while at is not None and at not in done and at not in here:
            here[at] = len(way)
            way.append(at)
            at = follows.get(at)
        if at is not None and at in here:
            circle = way[here[at] :]
            least = circle.index(min(circle))
            found.append(circle[least:] + circle[:least])
        done.update(way)
    return found
