"""
Carries out a command line: from the arguments to an exit code.

Click only parses the arguments and makes a plan of them. The program does not run within click, which would
handle Ctrl-C and errors in its own way.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from fgtrace._session.trace import Config
from fgtrace._watchdog.hook_options import unknown_variables
from fgtrace.cli._commands import parse
from fgtrace.cli._plans import CannotRun, ConvertPlan, DiffPlan, ReportPlan, RunPlan, ViewPlan
from fgtrace.cli._program import find, run
from fgtrace.cli._until_exit import HookUntilExit, TraceUntilExit, say
from fgtrace.errors import ConfigError, FgtraceError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command ``fgtrace``.

    Args:
        arguments: of the command line; None: those of this process.

    Returns:
        The exit code, unless the program ends the process itself.
    """
    try:
        plan = parse(sys.argv[1:] if arguments is None else arguments)
    except click.ClickException as error:
        return _refuse(_usage(error))
    except click.Abort:
        return _refuse("interrupted")
    if isinstance(plan, int):
        return plan
    return _run(plan) if isinstance(plan, RunPlan) else _carry_out(plan)


def _carry_out(plan: ConvertPlan | ReportPlan | DiffPlan | ViewPlan) -> int:
    """
    Carry out a command that reads existing traces.
    """
    interrupted = "interrupted"
    try:
        if isinstance(plan, ConvertPlan):
            from fgtrace.cli._convert import convert_file

            interrupted += f": {plan.target} is unchanged"
            return convert_file(plan)
        if isinstance(plan, ViewPlan):
            from fgtrace.cli._view import view_trace

            return view_trace(plan)
        from fgtrace.cli._report import print_diff, print_report

        return print_report(plan) if isinstance(plan, ReportPlan) else print_diff(plan)
    except (FgtraceError, CannotRun) as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        return _refuse(interrupted)


def _run(plan: RunPlan) -> int:
    try:
        for warning in unknown_variables():
            say(sys.stderr, f"fgtrace: {warning}")
        tracing = _tracing(plan)
        program = find(plan)
        tracing.start()
    except (ConfigError, CannotRun) as error:
        return _refuse(str(error))
    try:
        run(program)
    except CannotRun as error:
        tracing.abandon()
        return _refuse(str(error))
    return 0


def _tracing(plan: RunPlan) -> TraceUntilExit | HookUntilExit:
    if plan.flight is not None:
        return HookUntilExit(plan.flight, quiet=plan.quiet)
    return TraceUntilExit(Config(**plan.options).trace(), quiet=plan.quiet)


def _refuse(why: str) -> int:
    """
    Print why a command was refused or interrupted (Ctrl-C), and return the exit code of both.
    """
    print(f"fgtrace: {why}", file=sys.stderr)
    return 2


def _usage(error: click.ClickException) -> str:
    """
    Return click's error message as one line.
    """
    text = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "fgtrace"
    return f"{text[:1].lower()}{text[1:]}; see {path} --help"
