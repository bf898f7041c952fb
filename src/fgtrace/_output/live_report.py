"""
The report of a trace that this process made: of its recording, or of the file that it wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from fgtrace._options.options import READABLE, Options
from fgtrace._options.parsing import refuse_unknown
from fgtrace._output.captured_trace import CapturedTrace
from fgtrace.errors import ConfigError, TraceStateError
from fgtrace.reports import Ask, Report, make_report, report

__all__ = ["of_captured", "of_file"]


def of_captured(captured: CapturedTrace, fields: Mapping[str, Any]) -> Report:
    """
    Return the report of a captured trace.

    Raises:
        ConfigError: a value is not allowed, there is no such task, or there are no states.
        UnknownOptionError: there is no such option.
    """
    _need_states(captured.options)
    return make_report(captured.timeline(), captured.about, _ask(fields))


def of_file(options: Options, fields: Mapping[str, Any]) -> Report:
    """
    Return the report of the file that a trace with these options has written.

    Raises:
        ConfigError, UnknownOptionError: as of `of_captured`.
        TraceStateError: it cannot be read back.
    """
    _need_states(options)
    format_ = options.effective_format
    if hasattr(options.dst, "write") or format_ not in READABLE:
        raise TraceStateError(
            f"this trace was written as {format_} to {options.dst!r}, and cannot be read back: "
            "ask while it runs, or write it as json or perfetto to a path"
        )
    return report(cast("str", options.dst), _ask(fields))


def _ask(fields: Mapping[str, Any]) -> Ask:
    refuse_unknown("fgtrace.Trace.report", fields, Ask.__slots__)
    return Ask(**fields)


def _need_states(options: Options) -> None:
    if options.state_frames == "no":
        raise ConfigError("state_frames", "no", "allowed is 'root' or 'leaf': a report is about states")
