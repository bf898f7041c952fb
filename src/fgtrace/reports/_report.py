"""
The report: all answers of one trace, as a value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fgtrace._formats.conversion.convert import Selection
from fgtrace._model.drawing import Drawing
from fgtrace.errors import ConfigError
from fgtrace.reports._blocked_loops import Blocked, blocked
from fgtrace.reports._critical_path import Path, fitting, path
from fgtrace.reports._groups import GROUPS, Group, groups
from fgtrace.reports._history_reader import read_lives
from fgtrace.reports._json_schema import plain
from fgtrace.reports._loops import Loop, loops
from fgtrace.reports._state_history import Lives
from fgtrace.reports._statistics import is_number
from fgtrace.reports._stuck_and_deadlocked import Cycle, Stuck, cycles, stuck
from fgtrace.reports._threads import Thread, threads
from fgtrace.reports._wait_causes import Causes
from fgtrace.reports._waits import Wait, waits

__all__ = ["SCHEMA", "VERSION", "Ask", "Report", "answer", "make_report"]

#: What a report's JSON says of itself; the version counts up when a field changes or goes.
SCHEMA = "fgtrace.report"
VERSION = 1
#: Paths that a pattern may ask for at once.
MOST_PATHS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """
    What is asked of a trace.

    Args:
        start: seconds from the trace's start: only from here on. end: only until here; None: to the end.
        top: so many rows of each table, the largest; None: all.
        group: by what tasks are grouped: ``coroutine``, ``task`` or ``state``.
        task: whose critical path: a name, or a pattern (``*``, ``?``, ``[...]``); None: nobody's.
        slow_callback_duration: seconds from which on a step or callback blocks its loop.

    Raises:
        ConfigError: a value is not allowed.
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
        _ = self.span  # it checks itself

    @property
    def span(self) -> tuple[int, int]:
        """
        From when to when, ns.
        """
        return Selection(start=self.start, end=self.end).span


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """
    Where the time went: all times in nanoseconds.

    Args:
        start_ns: where the part that was asked for begins, from the trace's start. duration_ns: its length.
        tick_ns: the time between two looks; 0: not known.
        awaits: how tasks were seen: ``exact`` or ``sampled``.
        tasks: how many there were. group: by what they are grouped.
        groups: the tasks, and how their lives divide.
        blocked: what blocked a loop. waits: where tasks wait.
        loops: the event loops. threads: the threads.
        paths: the critical paths of the tasks that were asked for.
        stuck: tasks that never moved. cycles: those that wait for each other.

    What the fields of the rows mean, and the JSON, is in docs/report.md.
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
        The report in plain values, as in its JSON.

            report = trace.report()
            print(report.to_dict()["duration_ns"])
        """
        return {"schema": SCHEMA, "version": VERSION, **plain(self)}

    def to_json(self) -> str:
        """
        The report as JSON, in the schema docs/report.schema.json.
        """
        return json.dumps(self.to_dict(), ensure_ascii=False)


def make_report(drawing: Drawing, metadata: Mapping[str, Any], ask: Ask) -> Report:
    """
    The report of a drawing.

    Args:
        drawing: a timeline, or a file that was read.
        metadata: that of the trace.
        ask: what is asked.

    Raises:
        ConfigError: there is no such task.
        ValueError: slices overlap, or none says a state.
    """
    return answer(read_lives(drawing, metadata, ask.span), ask)


def answer(lives: Lives, ask: Ask) -> Report:
    """
    The report of lives that were read.
    """
    causes = Causes(lives)
    return Report(
        start_ns=lives.start,
        duration_ns=max(0, lives.end - lives.start),
        tick_ns=lives.tick,
        awaits="exact" if lives.is_exact else "sampled",
        tasks=len(lives.tasks),
        group=ask.group,
        groups=groups(lives, ask.group)[: ask.top],
        blocked=blocked(lives, round(ask.slow_callback_duration * 1e9), ask.top),
        waits=waits(lives, causes, ask.top),
        loops=loops(lives),
        threads=threads(lives),
        paths=_paths(lives, causes, ask),
        stuck=stuck(lives, causes, ask.top),
        cycles=cycles(lives, causes),
    )


def _paths(lives: Lives, causes: Causes, ask: Ask) -> tuple[Path, ...]:
    if ask.task is None:
        return ()
    found = fitting(lives, ask.task)
    if not found:
        raise ConfigError("task", ask.task, "no task of the trace has a name like that")
    return tuple(path(lives, causes, life, ask.top) for life in found[:MOST_PATHS])
