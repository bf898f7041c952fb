"""
Makes the report of a trace: `Ask` has what is wanted, `Report` all answers as one value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fgtrace._formats.conversion.selection import Selection
from fgtrace._model.drawing import Drawing
from fgtrace.errors import ConfigError
from fgtrace.reports._blocked_loops import Blocked, blocked
from fgtrace.reports._critical_path import Path, fitting, path
from fgtrace.reports._groups import GROUPS, Group, groups
from fgtrace.reports._history_reader import read_histories
from fgtrace.reports._json_schema import plain
from fgtrace.reports._loops import Loop, loops
from fgtrace.reports._state_history import StateHistory
from fgtrace.reports._statistics import is_number
from fgtrace.reports._stuck_and_deadlocked import Cycle, Stuck, cycles, stuck
from fgtrace.reports._threads import Thread, threads
from fgtrace.reports._wait_causes import Causes
from fgtrace.reports._waits import Wait, waits

__all__ = ["SCHEMA", "VERSION", "Ask", "Report", "answer", "make_report"]

#: The name and version of a report's JSON; the version increases when a field changes or is removed.
SCHEMA = "fgtrace.report"
VERSION = 1
#: The greatest number of tasks whose critical paths are in one report.
MOST_PATHS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """
    What is asked of a trace.

    Args:
        start: seconds from the trace's start: only from here on. end: only until here; None: to the end.
        top: how many rows of each table, the largest first; None: all. Of loops, threads and cycles all are
            there.
        group: how tasks are grouped: by ``coroutine``, ``task`` or ``state``.
        task: the tasks whose critical paths are wanted: a name, or a pattern (``*``, ``?``, ``[...]``); None:
            none.
        slow_callback_duration: seconds; a step or callback that lasts as long blocks its loop.

    Raises:
        ConfigError: a value is not allowed; for ``start`` and ``end`` it names ``from`` and ``to``.
    """

    start: float = 0
    end: float | None = None
    top: int | None = 10
    group: str = "coroutine"
    task: str | None = None
    slow_callback_duration: float = 0.1

    def __post_init__(self) -> None:
        if self.group not in GROUPS:
            raise ConfigError("group", self.group, "allowed is " + ", ".join(GROUPS))
        if self.top is not None and not (is_number(self.top) and self.top == int(self.top) >= 1):
            raise ConfigError("top", self.top, "allowed is a whole number from 1 on")
        slow = self.slow_callback_duration
        if not (is_number(slow) and 0 < slow < 1e9):
            raise ConfigError("slow_callback_duration", slow, "allowed is a number of seconds above 0")
        _ = self.span  # raises where it is not allowed

    @property
    def span(self) -> tuple[int, int]:
        """
        Return the start and end of the requested part, ns.
        """
        return Selection(start=self.start, end=self.end).span


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """
    Where the time went: all times in nanoseconds.

    Args:
        start_ns: the start of the requested part, from the trace's start. duration_ns: its length.
        tick_ns: the time between two samples; 0: not known.
        awaits: how tasks were recorded: ``exact`` or ``sampled``.
        tasks: how many there were. group: how they are grouped.
        groups: the groups of tasks, and how their time divides.
        blocked: what blocked a loop. waits: where tasks wait.
        loops: the event loops. threads: the threads.
        paths: the critical paths of the requested tasks.
        stuck: tasks that never moved. cycles: tasks that wait for each other.

    docs/report.md explains the fields of the rows, and the JSON.
    """

    start_ns: int
    duration_ns: int
    tick_ns: int
    awaits: str
    tasks: int
    group: str
    groups: tuple[Group, ...]
    blocked: tuple[Blocked, ...]
    waits: tuple[Wait, ...]
    loops: tuple[Loop, ...]
    threads: tuple[Thread, ...]
    paths: tuple[Path, ...]
    stuck: tuple[Stuck, ...]
    cycles: tuple[Cycle, ...]

    def to_dict(self) -> dict[str, Any]:
        """
        Return the report as plain values, as in its JSON.

            report = trace.report()
            print(report.to_dict()["duration_ns"])
        """
        return {"schema": SCHEMA, "version": VERSION, **plain(self)}

    def to_json(self) -> str:
        """
        Return the report as JSON, of the schema docs/report.schema.json.
        """
        return json.dumps(self.to_dict(), ensure_ascii=False)


def make_report(drawing: Drawing, metadata: Mapping[str, Any], ask: Ask) -> Report:
    """
    Return the report of a drawing.

    Args:
        drawing: a timeline, or a file that was read.
        metadata: of the trace.
        ask: what is asked.

    Raises:
        ConfigError: there is no such task.
        ValueError: slices overlap, or the trace has no states.
    """
    return answer(read_histories(drawing, metadata, ask.span), ask)


def answer(histories: StateHistory, ask: Ask) -> Report:
    """
    Return the report of a state history.
    """
    causes = Causes(histories)
    return Report(
        start_ns=histories.start,
        duration_ns=max(0, histories.end - histories.start),
        tick_ns=histories.tick,
        awaits="exact" if histories.is_exact else "sampled",
        tasks=len(histories.tasks),
        group=ask.group,
        groups=groups(histories, ask.group)[: ask.top],
        blocked=blocked(histories, round(ask.slow_callback_duration * 1e9), ask.top),
        waits=waits(histories, causes, ask.top),
        loops=loops(histories),
        threads=threads(histories),
        paths=_paths(histories, causes, ask),
        stuck=stuck(histories, causes, ask.top),
        cycles=cycles(histories, causes),
    )


def _paths(histories: StateHistory, causes: Causes, ask: Ask) -> tuple[Path, ...]:
    if ask.task is None:
        return ()
    found = fitting(histories, ask.task)
    if not found:
        raise ConfigError("task", ask.task, "no task of the trace has such a name")
    return tuple(path(histories, causes, history, ask.top) for history in found[:MOST_PATHS])
