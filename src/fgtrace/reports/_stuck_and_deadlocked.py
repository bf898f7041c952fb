"""
What is stuck: tasks that did not move, and those that wait for each other in a circle.

A task waits for another where the trace says for which, by name; or for the holder of a lock, who is looked
for as a trace ends. The rest is not known, so a circle that is shown is one; that none is shown
proves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from fgtrace._model.states import LOCK_WAIT, SLEEP
from fgtrace.reports._state_history import Life, Lives
from fgtrace.reports._statistics import Place, place_of
from fgtrace.reports._wait_causes import Causes

__all__ = ["Cycle", "Stuck", "cycles", "stuck"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """
    A task that did not move for at least half of the trace, up to its end.

    Args:
        task: its name. place: what it waits for, and where. waited_ns: since it was seen to.
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


def stuck(lives: Lives, causes: Causes, top: int | None = None) -> tuple[Stuck, ...]:
    """
    The tasks that never moved, those that wait the longest first. Sleep is no such wait: it ends by itself.
    """
    half = (lives.end - lives.start) / 2
    found = [
        Stuck(task=life.track.name, place=place_of(lives.spots[life.spots[-1]]), waited_ns=waited)
        for life in _waiting(lives, causes)
        if (waited := life.ends[-1] - life.starts[-1]) >= half
        and _is_only_wait(life, causes)
        and lives.spots[life.spots[-1]].name != SLEEP
    ]
    return tuple(sorted(found, key=lambda each: (-each.waited_ns, each.task))[:top])


def _is_only_wait(life: Life, causes: Causes) -> bool:
    return sum(1 for spot in life.spots if causes.is_wait(spot)) == 1


def _waiting(lives: Lives, causes: Causes) -> list[Life]:
    """
    The tasks that wait when the trace ends.
    """
    return [
        life
        for life in lives.tasks
        if len(life) and life.ends[-1] >= lives.end - lives.tick and causes.is_wait(life.spots[-1])
    ]


def cycles(lives: Lives, causes: Causes) -> tuple[Cycle, ...]:
    """
    The circles of tasks that wait for each other.
    """
    waiting = {life.id: life for life in _waiting(lives, causes)}
    follows: dict[int, int] = {}
    for number, life in waiting.items():
        target = _waits_for(lives, causes, life)
        if target is not None and target.id in waiting:
            follows[number] = target.id
    return tuple(
        Cycle(
            tasks=tuple(waiting[each].track.name for each in circle),
            places=tuple(place_of(lives.spots[waiting[each].spots[-1]]) for each in circle),
        )
        for circle in circles(follows)
    )


def _waits_for(lives: Lives, causes: Causes, life: Life) -> Life | None:
    """
    For which task a task waits when the trace ends, where that is said.
    """
    spot = lives.spots[life.spots[-1]]
    return causes.holder(life) if spot.name == LOCK_WAIT else causes.only(spot.arg("task"), life.end)


def circles(follows: dict[int, int]) -> list[list[int]]:
    """
    The circles of a graph in which each node has at most one successor; each begins with its least node.
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
