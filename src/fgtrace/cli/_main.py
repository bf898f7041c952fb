"""
`main`: from the words of the command line to a running program.

The program does not run within click, which would make something of its own of Ctrl-C and of
errors: click only makes a `Plan`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from fgtrace._trace import Config
from fgtrace.cli._ending import Ending, HookEnding
from fgtrace.cli._parser import parse
from fgtrace.cli._plan import CannotRun, ConvertPlan, Plan, ViewPlan
from fgtrace.cli._program import find, run
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
    if isinstance(plan, ConvertPlan):
        return _convert(plan)
    if isinstance(plan, ViewPlan):
        return _view(plan)
    return plan if isinstance(plan, int) else _carry_out(plan)


def _convert(plan: ConvertPlan) -> int:
    from fgtrace.cli._convert import carry_out

    try:
        return carry_out(plan)
    except (FgtraceError, CannotRun) as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        return _refuse(f"interrupted: {plan.target} is as it was")


def _view(plan: ViewPlan) -> int:
    from fgtrace.cli._view import carry_out

    try:
        return carry_out(plan)
    except (FgtraceError, CannotRun) as error:
        return _refuse(str(error))


def _carry_out(plan: Plan) -> int:
    try:
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
        return HookEnding(plan.flight)
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
