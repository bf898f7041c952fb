"""
Reports: where the time went, without a viewer. Slices in, answers out.

    from fgtrace import reports

    report = reports.report("fgtrace.json")
    for wait in report.waits:
        print(wait.place.state, wait.total_ns / 1e9, wait.count, *wait.place.chain)

One question, one module; all of them are asked of the same lives (`fgtrace.reports._state_history`),
which are read from the slices once. The idea of such answers is that of Go's goroutine analysis
(``go tool trace``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from fgtrace._formats.read import open_trace
from fgtrace.errors import TraceFormatError
from fgtrace.reports._blocked_loops import Blocked
from fgtrace.reports._critical_path import Path, Step
from fgtrace.reports._diff import Change, Diff, compare
from fgtrace.reports._groups import GROUPS, Group, Part
from fgtrace.reports._history_reader import read_lives
from fgtrace.reports._loops import Loop
from fgtrace.reports._report import Ask, Report, answer, make_report
from fgtrace.reports._state_history import Lives
from fgtrace.reports._statistics import Place, Spread
from fgtrace.reports._stuck_and_deadlocked import Cycle, Stuck
from fgtrace.reports._threads import Thread
from fgtrace.reports._waits import Holder, Wait

__all__ = [
    "GROUPS",
    "Ask",
    "Blocked",
    "Change",
    "Cycle",
    "Diff",
    "Group",
    "Holder",
    "Loop",
    "Part",
    "Path",
    "Place",
    "Progress",
    "Report",
    "Spread",
    "Step",
    "Stuck",
    "Thread",
    "Wait",
    "diff",
    "make_report",
    "report",
]

#: Called with what is being done, how much of it is, and of how much.
Progress = Callable[[str, int, int], None]


def report(
    source: str | os.PathLike[str], ask: Ask | None = None, *, progress: Progress | None = None
) -> Report:
    """
    The report of an existing trace.

        report = fgtrace.reports.report("fgtrace.json", fgtrace.reports.Ask(top=3))

    Args:
        source: what `fgtrace.load` reads.
        ask: what is asked; None: all, the ten largest of each.
        progress: called now and then: ``reading``, the bytes that were read and their total; then
            ``adding up``, the slices, and how many there are.

    Raises:
        ConfigError: there is no such task.
        OSError: the source cannot be read.
        TraceFormatError: it is not a trace that can be read, or its slices say no states.
    """
    ask = ask or Ask()
    return answer(_lives(source, ask, progress), ask)


def diff(
    before: str | os.PathLike[str],
    after: str | os.PathLike[str],
    *,
    threshold: float = 0.1,
    progress: Progress | None = None,
) -> Diff:
    """
    Two traces of one program, compared: what became slower.

        assert not fgtrace.reports.diff("main.json", "branch.json", threshold=0.2).is_slower

    Args:
        before: the first trace.
        after: the second.
        threshold: the share from which on a change counts: 0.1 is a tenth.
        progress: as of `report`.

    Raises:
        ConfigError: the threshold is no share.
        OSError, TraceFormatError: as of `report`.
    """
    old, new = (_lives(source, Ask(), progress) for source in (before, after))
    return compare(old, new, threshold)


def _lives(source: str | os.PathLike[str], ask: Ask, progress: Progress | None) -> Lives:
    told = progress or _untold
    with open_trace(source, partial(told, "reading")) as trace:
        try:
            added = partial(_added, told, trace.count)
            return read_lives(trace, trace.metadata, ask.span, added, in_order=True)
        except ValueError as error:
            raise TraceFormatError(os.fspath(source), str(error)) from error


def _added(told: Progress, total: int, done: int) -> None:
    told("adding up", done, total)


def _untold(*_: object) -> None:
    """
    Nobody watches.
    """
