"""
``fgtrace report`` and ``fgtrace diff``: carry out their plans, and print what came of them.
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

__all__ = ["say_diff", "say_report"]

T = TypeVar("T")
#: Where a change of less than a tenth is not worth a word.
USUAL = 0.1


def say_report(plan: ReportPlan) -> int:
    """
    Print a report.

    Returns:
        The exit code.

    Raises:
        CannotRun: the trace cannot be read.
        FgtraceError: another reason why not.
    """
    ask = reports.Ask(**plan.ask)
    report = _made(lambda progress: reports.report(plan.source, ask, progress=progress))
    if plan.as_json:
        return _say_json(report.to_json())
    from fgtrace.cli._report_tables import show_report

    return _piped(lambda: show_report(report, plan.source, sys.stdout))


def say_diff(plan: DiffPlan) -> int:
    """
    Print what two traces differ in.

    Returns:
        The exit code: 1 where something became slower, and a threshold was given.

    Raises:
        CannotRun: a trace cannot be read.
        FgtraceError: another reason why not.
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
    gc.disable()  # nothing here is garbage, and the collector takes as long again to find that
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
    Print; whoever reads it may have seen enough: ``fgtrace report x.json | head``.
    """
    try:
        say()
        sys.stdout.flush()
    except BrokenPipeError:
        with suppress(OSError):  # else the interpreter complains when it flushes
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
