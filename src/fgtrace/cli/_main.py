"""
`main`: from the words of the command line to a running program.

The program does not run within click, which would make something of its own of Ctrl-C and of
errors: click only makes a `Plan`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from fgtrace._session.trace import Config
from fgtrace._watchdog.hook_options import unknown_variables
from fgtrace.cli._commands import parse
from fgtrace.cli._plans import CannotRun, ConvertPlan, DiffPlan, Plan, ReportPlan, ViewPlan
from fgtrace.cli._program import find, run
from fgtrace.cli._until_exit import Ending, HookEnding, say
from fgtrace.errors import ConfigError, FgtraceError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """
    The command ``fgtrace``.

    Args:
        arguments: the words behind ``fgtrace``; None: those of this process.

    Returns:
        The exit code, unless the program ends the process otherwise.
    """
    try:
        plan = parse(sys.argv[1:] if arguments is None else arguments)
    except click.ClickException as error:
        return _refuse(_usage(error))
    except click.Abort:
        return _refuse("interrupted")
    if isinstance(plan, int):
        return plan
    return _carry_out(plan) if isinstance(plan, Plan) else _read(plan)


def _read(plan: ConvertPlan | ReportPlan | DiffPlan | ViewPlan) -> int:
    """
    Carry out what reads existing traces.
    """
    interrupted = "interrupted"
    try:
        if isinstance(plan, ConvertPlan):
            from fgtrace.cli._convert import convert_file

            interrupted += f": {plan.target} is as it was"
            return convert_file(plan)
        if isinstance(plan, ViewPlan):
            from fgtrace.cli._view import view_trace

            return view_trace(plan)
        from fgtrace.cli._report import say_diff, say_report

        return say_report(plan) if isinstance(plan, ReportPlan) else say_diff(plan)
    except (FgtraceError, CannotRun) as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        return _refuse(interrupted)


def _carry_out(plan: Plan) -> int:
    try:
        for warning in unknown_variables():
            say(sys.stderr, f"fgtrace: {warning}")
        ending = _ending(plan)
        program = find(plan)
        ending.prepare()
    except (ConfigError, CannotRun) as error:
        return _refuse(str(error))
    try:
        run(program)
    except CannotRun as error:
        ending.abandon()
        return _refuse(str(error))
    return 0


def _ending(plan: Plan) -> Ending | HookEnding:
    if plan.flight is not None:
        return HookEnding(plan.flight, quiet=plan.quiet)
    return Ending(Config(**plan.options).trace(), quiet=plan.quiet)


def _refuse(why: str) -> int:
    print(f"fgtrace: {why}", file=sys.stderr)
    return 2


def _usage(error: click.ClickException) -> str:
    """
    One line of what click has to say.
    """
    text = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "fgtrace"
    return f"{text[:1].lower()}{text[1:]}; see {path} --help"
