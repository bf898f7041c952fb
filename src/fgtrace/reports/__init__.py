"""
Reports: computes from the slices of a trace where the time went.

    from fgtrace import reports

    report = reports.report("fgtrace.json")
    for wait in report.waits:
        print(wait.place.state, wait.total_ns / 1e9, wait.count, *wait.place.chain)

The rule: one module answers one question, and all answers come from the state history of the trace
(`fgtrace.reports._state_history`), which `fgtrace.reports._history_reader` makes of the slices in one pass.

- `_groups`, `_blocked_loops`, `_waits`, `_loops`, `_threads`, `_critical_path`, `_stuck_and_deadlocked` are
  the answers of a report. A new answer is a module of this kind; in `_report` a field of `Report` and a call
  in `answer`; a name in ``__all__``; a table in `cli/_report_tables`; and a part of docs/report.schema.json.
- `_diff` compares two traces.
- `_wait_causes` finds the task that ended a wait. `_statistics` has percentiles and spreads.
- `_json_schema` makes JSON and its schema of the answers. `_notebook_cell` has the table of `%%fgtrace`.

The idea of such answers is from Go's goroutine analysis (``go tool trace``).
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
from fgtrace.reports._history_reader import read_histories
from fgtrace.reports._loops import Loop
from fgtrace.reports._report import Ask, Report, answer, make_report
from fgtrace.reports._state_history import Place, StateHistory
from fgtrace.reports._statistics import Spread
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

#: Called with the name of the work under way, how much of it is done, and its total.
Progress = Callable[[str, int, int], None]


def report(
    source: str | os.PathLike[str], ask: Ask | None = None, *, progress: Progress | None = None
) -> Report:
    """
    Return the report of an existing trace.

        report = fgtrace.reports.report("fgtrace.json", fgtrace.reports.Ask(top=3))

    Args:
        source: what `fgtrace.load` reads.
        ask: what is asked; None: all, the ten largest rows of each table.
        progress: called now and then with ``reading``, the bytes that were read and their total; then with
            ``adding up``, the slices that were read and their total.

    Raises:
        ConfigError: there is no such task.
        OSError: the source cannot be read.
        TraceFormatError: the source is not a trace that can be read, or has no states.
    """
    ask = ask or Ask()
    return answer(_histories(source, ask, progress), ask)


def diff(
    before: str | os.PathLike[str],
    after: str | os.PathLike[str],
    *,
    threshold: float = 0.1,
    progress: Progress | None = None,
) -> Diff:
    """
    Compare two traces of one program: what became slower.

        assert not fgtrace.reports.diff("main.json", "branch.json", threshold=0.2).is_slower

    Args:
        before: the first trace.
        after: the second.
        threshold: the share from which on a change counts: 0.1 is a tenth.
        progress: as for `report`.

    Raises:
        ConfigError: the threshold is no share.
        OSError, TraceFormatError: as for `report`.
    """
    old, new = (_histories(source, Ask(), progress) for source in (before, after))
    return compare(old, new, threshold)


def _histories(source: str | os.PathLike[str], ask: Ask, progress: Progress | None) -> StateHistory:
    told = progress or _untold
    with open_trace(source, partial(told, "reading")) as trace:
        try:
            added = partial(_added, told, trace.count)
            return read_histories(trace, trace.metadata, ask.span, added, in_order=True)
        except ValueError as error:
            raise TraceFormatError(os.fspath(source), str(error)) from error


def _added(told: Progress, total: int, done: int) -> None:
    told("adding up", done, total)


def _untold(*_: object) -> None:
    """
    Ignore progress.
    """
