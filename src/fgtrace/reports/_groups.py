"""
Computes how the time of tasks divides: tasks by coroutine, each one's time by state; or the other way round.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fgtrace.reports._state_history import StateHistory, TrackHistory
from fgtrace.reports._statistics import Spread, spread_of

__all__ = ["GROUPS", "Group", "Part", "groups"]

#: How tasks can be grouped.
GROUPS = ("coroutine", "task", "state")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """
    A part of a group's time: that in one state, or, of a state's group, that of one coroutine.

    Args:
        name: the state's, or the coroutine's.
        total_ns: of all tasks of the group. each: for one task; tasks without any of it count as 0.
    """

    name: str
    total_ns: int
    each: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """
    The tasks of a group, and how their time divides.

    Args:
        name: the coroutine's, task's or state's.
        tasks: how many. total_ns: their lives, or their time in this state; the parts add up to it.
        each: for one task. parts: the largest first.
    """

    name: str
    tasks: int
    total_ns: int
    each: Spread
    parts: tuple[Part, ...]


_Cell = tuple[str, str, int]  # row, column, time


def groups(histories: StateHistory, by: str) -> tuple[Group, ...]:
    """
    Return the groups, the largest first.

    Args:
        histories: of a trace.
        by: one of `GROUPS`.
    """
    cells: Callable[[TrackHistory], list[_Cell]] = {
        "coroutine": lambda history: [
            (history.coroutine, *cell) for cell in histories.times(history).items()
        ],
        "task": lambda history: [(history.title, *cell) for cell in histories.times(history).items()],
        "state": lambda history: [
            (state, history.coroutine, time) for state, time in histories.times(history).items()
        ],
    }[by]
    table = _GroupTable()
    for history in histories.tasks:
        table.add(cells(history))
    return table.groups()


class _GroupTable:
    """
    The times of each task, by row and column.
    """

    def __init__(self) -> None:
        self._rows: dict[str, list[int]] = {}
        self._parts: dict[str, dict[str, list[int]]] = {}

    def add(self, cells: list[_Cell]) -> None:
        """
        Add the times of a task.
        """
        whole: dict[str, int] = {}
        for row, column, time in cells:
            whole[row] = whole.get(row, 0) + time
            self._parts.setdefault(row, {}).setdefault(column, []).append(time)
        for row, time in whole.items():
            self._rows.setdefault(row, []).append(time)

    def groups(self) -> tuple[Group, ...]:
        found = [
            Group(
                name=row, tasks=len(times), total_ns=sum(times), each=spread_of(times),
                parts=self._of(row, len(times)),
            )
            for row, times in self._rows.items()
        ]  # fmt: skip
        return tuple(sorted(found, key=lambda group: (-group.total_ns, group.name)))

    def _of(self, row: str, tasks: int) -> tuple[Part, ...]:
        found = [
            Part(name=column, total_ns=sum(times), each=spread_of([*times, *[0] * (tasks - len(times))]))
            for column, times in self._parts[row].items()
        ]
        return tuple(sorted(found, key=lambda part: (-part.total_ns, part.name)))
