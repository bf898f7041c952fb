"""
The plans of commands: what a command line requests, as plain values that are carried out afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["CannotRun", "ConvertPlan", "DiffPlan", "ReportPlan", "RunPlan", "ViewPlan"]


class CannotRun(Exception):  # noqa: N818 -- the name says what is the case
    """
    A command cannot be carried out; the text says why.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """
    Run a program under a trace.

    Args:
        target: the script, or the module's name.
        is_module: whether it is a module's name.
        arguments: the program's ``sys.argv[1:]``.
        options: the given options of `fgtrace.Config`.
        quiet: print nothing if all goes well.
        flight: the given options of the debug hook, which runs instead of a trace; None: a trace.
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
        source: the trace. target: the new file.
        format: of the new file; None: by its suffix.
        selection: the given options of `fgtrace._formats.conversion.convert.Selection`.
        tracks: whether tasks share tracks: see `fgtrace.Config`.
        quiet: print nothing if all goes well.
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
    Print where the time of an existing trace went.

    Args:
        source: the trace.
        ask: the given options of `fgtrace.reports.Ask`.
        as_json: print JSON, not tables.
    """

    source: str
    ask: dict[str, Any] = field(default_factory=dict)
    as_json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffPlan:
    """
    Print what became slower between two traces.

    Args:
        before: the first trace.
        after: the second.
        threshold: the share from which on a growth makes the exit code 1; None: no growth does.
        top: how many rows of each table.
        as_json: print JSON, not tables.
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
        offline: use the Perfetto UI of the extra ``viewer``, without a network.
        speedscope: use speedscope, not the Perfetto UI.
        browser: open a browser.
    """

    source: str
    offline: bool = False
    speedscope: bool = False
    browser: bool = True
