"""
Figures and places in words; the short report at the end of a program that was traced.

Plain Python: when a program has ended, nothing new is imported.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from fgtrace.reports import Blocked, Cycle, Place, Report

__all__ = ["in_chain", "percent", "place_words", "short", "time_words"]

#: Units of time from the largest on: nanoseconds, name.
_UNITS = ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"))
#: Less than this share of all tasks' time is not worth a line.
WORTH_A_LINE = 0.05


def time_words(nanoseconds: int) -> str:
    """
    A time as a person says it: ``1.23 s``, ``50.4 ms``, ``0``.
    """
    for size, unit in _UNITS:
        if abs(nanoseconds) >= size:
            value = nanoseconds / size
            digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
            return f"{value:.{digits}f} {unit}"
    return f"{nanoseconds} ns" if nanoseconds else "0"


def percent(part: int, whole: int) -> str:
    """
    A share.
    """
    return f"{100 * part / whole:.1f} %" if whole else "-"


def in_chain(names: Iterable[str]) -> str:
    """
    Functions from the innermost outwards, by their last names.
    """
    return " <- ".join(_short_name(name) for name in names)


def _short_name(name: str) -> str:
    """
    ``Pool.acquire`` of ``app.db.Pool.acquire``: without the module, which the file says better.
    """
    words = name.rpartition("<locals>.")[2].split(".")
    return ".".join(words[-2:] if len(words) > 1 and words[-2][:1].isupper() else words[-1:])


def place_words(place: Place) -> str:
    """
    Where and for what: ``asyncio.Lock at app/db.py:40 Pool.acquire <- handler``.
    """
    at = f"at {_near(place.file)}:{place.line}" if place.file else ""
    return " ".join(filter(None, (place.on, at, in_chain(place.chain))))


def _near(file: str) -> str:
    """
    A file as seen from here, where it is below; else its last two names.
    """
    here = os.path.join(os.curdir, "")
    with_here = os.path.abspath(here)
    if file.startswith(os.path.join(with_here, "")):
        return os.path.relpath(file)
    return os.path.join(*file.split(os.sep)[-2:]) if os.path.isabs(file) else file


def short(report: Report) -> list[str]:
    """
    A report in a few lines: what a person should know before looking further.
    """
    lines = [_circle(cycle) for cycle in report.cycles]
    lines += [_blocked(each) for each in report.blocked[:1]]
    lines += list(_waits(report))
    return [f"  {line}" for line in lines]


def _circle(cycle: Cycle) -> str:
    return "deadlock: " + " -> ".join((*cycle.tasks, cycle.tasks[0]))


def _blocked(blocked: Blocked) -> str:
    who = f"{blocked.kind} {blocked.name}"
    stack = f" in {in_chain(reversed(blocked.stack[-2:]))}" if blocked.stack else ""
    others = "1 task" if blocked.kept_waiting == 1 else f"{blocked.kept_waiting} tasks"
    kept = f", {others} waited" if blocked.kept_waiting else ""
    return f"loop blocked {time_words(blocked.duration_ns)} by {who}{stack}{kept}"


def _waits(report: Report) -> Iterator[str]:
    whole = sum(group.total_ns for group in report.groups)
    for wait in report.waits[:3]:
        if wait.total_ns >= WORTH_A_LINE * whole:
            times = "1 wait" if wait.count == 1 else f"{wait.count} waits"
            yield f"{wait.place.state} {time_words(wait.total_ns)} in {times}: {place_words(wait.place)}"
