"""
What the command line asks for: a plain value, made by the parser and carried out afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["CannotRun", "ConvertPlan", "DiffPlan", "Plan", "ReportPlan", "ViewPlan"]


class CannotRun(Exception):  # noqa: N818 -- it says what is the case
    """
    There is no such program; the text says why.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    Run a program under a trace.

    Args:
        target: the script, or the module's name.
        is_module: which of the two it is.
        arguments: what the program finds in ``sys.argv[1:]``.
        options: what was given of `fgtrace.Config`.
        quiet: say nothing of a trace that went well.
        flight: what was given of the debug hook, which runs instead of a trace; None: a trace.
    """

    target: str
    is_module: bool = False
    arguments: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    quiet: bool = False
    flight: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertPlan:
    """
    Write an existing trace in another format.

    Args:
        source: the trace. target: where to.
        format: None: by the target's suffix.
        selection: what was given of `fgtrace._formats.conversion.convert.Selection`.
        tracks: whether tasks share tracks: see `fgtrace.Config`.
        quiet: say nothing where all goes well.
    """

    source: str
    target: str
    format: str | None = None
    selection: dict[str, Any] = field(default_factory=dict)
    tracks: str = "auto"
    quiet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPlan:
    """
    Say where the time of an existing trace went.

    Args:
        source: the trace.
        ask: what was given of `fgtrace.reports.Ask`.
        as_json: in JSON, not in tables.
    """

    source: str
    ask: dict[str, Any] = field(default_factory=dict)
    as_json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffPlan:
    """
    Say what became slower between two traces.

    Args:
        before: the first trace.
        after: the second.
        threshold: the share from which on a change counts, and fails; None: not given, nothing fails.
        top: so many rows of each table.
        as_json: in JSON, not in tables.
    """

    before: str
    after: str
    threshold: Any = None
    top: Any = 10
    as_json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewPlan:
    """
    Show an existing trace in a viewer.

    Args:
        source: the trace.
        offline: in the Perfetto UI of this machine.
        speedscope: in speedscope.
        browser: open a browser.
    """

    source: str
    offline: bool = False
    speedscope: bool = False
    browser: bool = True
