"""
Runs ``fgtrace report`` and ``fgtrace diff``: reads the traces, and prints tables or JSON.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from fgtrace import reports
from fgtrace.cli._plans import CannotRun, DiffPlan, ReportPlan
from fgtrace.cli._progress import ProgressBar
from fgtrace.errors import ConfigError, FgtraceError

__all__ = ["print_diff", "print_report"]

T = TypeVar("T")
#: The threshold if none is given: changes from a tenth on are marked.
USUAL = 0.1


def print_report(plan: ReportPlan) -> int:
    """
    Print the report of a trace.

    Returns:
        The exit code.

    Raises:
        CannotRun: the trace cannot be read.
        FgtraceError: a trace is of the wrong kind, or an option is wrong.
    """
    ask = reports.Ask(**plan.ask)
    report = _made(lambda progress: reports.report(plan.source, ask, progress=progress))
    if plan.as_json:
        return _say_json(report.to_json())
    from fgtrace.cli._report_tables import show_report

    return _piped(lambda: show_report(report, plan.source, sys.stdout))


def print_diff(plan: DiffPlan) -> int:
    """
    Print the comparison of two traces.

    Returns:
        The exit code: 1 if a threshold was given and something became slower.

    Raises:
        CannotRun: a trace cannot be read.
        FgtraceError: a trace is of the wrong kind, or an option is wrong.
    """
    if not isinstance(plan.top, int) or plan.top < 1:
        raise ConfigError("top", plan.top, "allowed is a whole number from 1 on")
    threshold = USUAL if plan.threshold is None else plan.threshold
    found = _made(
        lambda progress: reports.diff(plan.before, plan.after, threshold=threshold, progress=progress)
    )
    fails = found.is_slower and plan.threshold is not None
    if plan.as_json:
        return _say_json(json.dumps(found.to_dict(), ensure_ascii=False)) or int(fails)
    from fgtrace.cli._report_tables import show_diff

    _piped(lambda: show_diff(found.cut(plan.top), sys.stdout))
    return int(fails)


def _made(make: Callable[[reports.Progress], T]) -> T:
    gc.disable()  # there is no garbage here, and the collector would double the time
    try:
        with ProgressBar(sys.stderr, sys.path) as progress:
            return make(progress.show)
    except FgtraceError:
        raise
    except OSError as error:
        name = os.fspath(error.filename) if error.filename else "it"
        raise CannotRun(f"cannot read {name}: {error.strerror or error}") from error
    finally:
        gc.enable()


def _say_json(text: str) -> int:
    return _piped(lambda: print(text))


def _piped(say: Callable[[], None]) -> int:
    """
    Print to a reader that may close the pipe early, as in ``fgtrace report x.json | head``.
    """
    try:
        say()
        sys.stdout.flush()
    except BrokenPipeError:
        with suppress(OSError):  # else the interpreter prints an error when it flushes
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
