"""
Declares the commands and their options, and makes a plan of a command line.

This module carries nothing out and checks no value. A text that looks like a number becomes one, and any
other goes to `fgtrace.Config` as it is, so that a bad value gets the same error as in Python.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from fgtrace._options.options import FORMATS
from fgtrace._options.parsing import number_or_text, verbatim
from fgtrace._version import __version__
from fgtrace.cli._plans import ConvertPlan, DiffPlan, ReportPlan, RunPlan, ViewPlan
from fgtrace.reports import GROUPS

__all__ = ["AnyPlan", "parse"]

AnyPlan = RunPlan | ConvertPlan | ReportPlan | DiffPlan | ViewPlan

_HELP = {"help_option_names": ["-h", "--help"]}
_RUN: dict[str, Any] = {**_HELP, "allow_interspersed_args": False}

_TRACKS = "Whether tasks share tracks.  [default: above 2000]"
_EPILOG = """\b
The program runs as it does without fgtrace: same output, same exit code.
The trace is written when the program ends, even by Ctrl-C, sys.exit() or
an uncaught exception. A program that is killed, or ended by a SIGTERM that
it does not handle, leaves no trace, only a note OUT.partial that says so.

\b
Exit codes: the program's own;
  2  fgtrace could not start it: a bad option, no such script or module

If the trace cannot be written, a line on stderr says why: as soon as
that is known, and at the end.

\b
With --flight-recorder OUT is a folder [default: fgtrace-dumps]. FGTRACE_*
variables set further options: docs/debug-hook.md. A line on stderr says
where the dumps go, and which signal requests one.
"""


#: Parameter -> (option of `fgtrace.Config`, the function that makes its value of the text or flag).
_OPTIONS: dict[str, tuple[str, Callable[[Any], object]]] = {
    "out": ("dst", verbatim),
    "hz": ("hz", number_or_text),
    "format_": ("format", verbatim),
    "state_frames": ("state_frames", verbatim),
    "awaits": ("awaits", verbatim),
    "tracks": ("tracks", verbatim),
    "slow_callback_duration": ("slow_callback_duration", number_or_text),
    "max_overhead": ("max_overhead", number_or_text),
    "max_memory": ("max_memory", number_or_text),
    "include_self": ("include_self", bool),
    "lines": ("lines", bool),
    "no_threads": ("threads", lambda flag: not flag),
    "no_tasks": ("tasks", lambda flag: not flag),
}


#: Option of `fgtrace.Config` -> its name in the debug hook, if that differs.
_FLIGHT = {"dst": "folder"}


class _RunCommand(click.Command):
    """
    A command whose ``-m NAME`` is its last option, as Python's is.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        valued = {name for param in self.params if _takes_value(param) for name in param.opts}
        return super().parse_args(ctx, _end_at_module(args, valued))


def _takes_value(param: click.Parameter) -> bool:
    return isinstance(param, click.Option) and not param.is_flag


def _end_at_module(args: Sequence[str], valued: set[str]) -> list[str]:
    """
    Return the arguments with ``--`` after ``-m NAME``.

    Args:
        args: the arguments of ``run``.
        valued: the options that take the next argument as their value.
    """
    at = 0
    while at < len(args):
        word = args[at]
        letters = word[1:].lstrip("q")  # -qm NAME
        if word.startswith("-") and letters.startswith("m"):
            end = min(len(args), at + (2 if letters == "m" else 1))
            if letters == "m" and end == at + 1:
                break  # click says that the name is missing
            return [*args[:end], "--", *args[end:]]
        if word in {"-", "--"} or not word.startswith("-"):
            break
        at += 2 if word in valued or f"-{letters}" in valued else 1
    return list(args)


@click.group(context_settings=_HELP, no_args_is_help=False)
@click.version_option(__version__, "-V", "--version", prog_name="fgtrace", message="%(prog)s %(version)s")
def fgtrace() -> None:
    """
    A wall-clock tracer: every thread and every asyncio task on one time axis.

    https://ui.perfetto.dev opens the traces.
    """


@fgtrace.command(
    cls=_RunCommand,
    context_settings=_RUN,
    epilog=_EPILOG,
    options_metavar="[OPTIONS]",
    short_help="Run a program under a trace.",
)
@click.option("-o", "--out", metavar="OUT", help="Where the trace goes.  [default: fgtrace.json]")
@click.option("--hz", metavar="N", help="Ticks a second, up to 10000.  [default: 99]")
@click.option("--format", "format_", metavar="F", help=f"{', '.join(FORMATS)}.  [default: by OUT's suffix]")
@click.option("--state-frames", metavar="root|leaf|no", help="Where the state is drawn.  [default: root]")
@click.option(
    "--awaits", metavar="sampled|exact", help="Tasks at the ticks, or every step.  [default: sampled]"
)
@click.option("--tracks", metavar="auto|task|lane", help=_TRACKS)
@click.option(
    "--slow-callback-duration", metavar="S", help="Exact awaits: flag longer steps.  [default: 0.1]"
)
@click.option("--include-self", is_flag=True, help="Show fgtrace's own threads and frames as well.")
@click.option("--no-threads", is_flag=True, help="No tracks for threads.")
@click.option("--no-tasks", is_flag=True, help="No tracks for asyncio tasks.")
@click.option("--lines", is_flag=True, help="A slice for every line, not only for every function.")
@click.option("--max-overhead", metavar="F", help="Share of the time that ticks may take.  [default: 0.05]")
@click.option("--max-memory", metavar="BYTES", help="Memory; the rest goes to a file.  [default: 256 MiB]")
@click.option("--flight-recorder", is_flag=True, help="No whole trace: dump when something goes wrong.")
@click.option("--stuck", metavar="S", help="Flight recorder: dump when an await lasts longer.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing if all goes well.")
@click.option("-m", "module", metavar="NAME", help="Run a module; all that follows are its arguments.")
@click.argument("program", nargs=-1, type=click.UNPROCESSED, metavar="[SCRIPT] [ARGS]...")
def run(
    module: str | None,
    program: tuple[str, ...],
    *,
    quiet: bool,
    flight_recorder: bool,
    stuck: str | None,
    **given: Any,
) -> RunPlan:
    """
    Run a program under a trace.

    SCRIPT is a file, a directory or zip file with a __main__.py, or - for standard input.
    """
    if module is None and not program:
        raise click.UsageError("Say what to run: a script, or -m and a module.")
    chosen = {key: value for key, value in given.items() if value is not None and value is not False}
    options = {_OPTIONS[key][0]: _OPTIONS[key][1](value) for key, value in chosen.items()}
    flight = None
    if flight_recorder:
        flight, options = {_FLIGHT.get(name, name): value for name, value in options.items()}, {}
        flight |= {} if stuck is None else {"stuck": number_or_text(stuck)}
    elif stuck is not None:
        raise click.UsageError("--stuck needs --flight-recorder.")
    target, arguments = (module, program) if module is not None else (program[0], program[1:])
    return RunPlan(
        target=target, is_module=module is not None, arguments=arguments, options=options, quiet=quiet,
        flight=flight,
    )  # fmt: skip


@fgtrace.command(
    context_settings=_HELP, options_metavar="[OPTIONS]", short_help="Write a trace in another format."
)
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@click.option("--format", "format_", metavar="F", help=f"{', '.join(FORMATS)}.  [default: by OUT's suffix]")
@click.option("--from", "start", metavar="S", help="Only from here on: seconds from the trace's start.")
@click.option("--to", "end", metavar="S", help="Only until here: as --from.")
@click.option("--track", metavar="GLOB", help="Only tracks with such a name, as 'Task-*'.")
@click.option("--state", metavar="NAME", help="Only the times in this state, as 'lock wait'.")
@click.option("--tracks", metavar="auto|task|lane", default="auto", help=_TRACKS)
@click.option("-q", "--quiet", is_flag=True, help="Print nothing if all goes well.")
def convert(
    source: str, target: str, *, format_: str | None, tracks: str, quiet: bool, **given: Any
) -> ConvertPlan:
    """
    Write a trace in another format, or a part of it.

    IN is a trace in the Trace Event Format, or a .pftrace that fgtrace wrote,
    compressed or not.
    """
    chosen = {key: value for key, value in given.items() if value is not None}
    selection = {
        key: number_or_text(value) if key in ("start", "end") else value for key, value in chosen.items()
    }
    return ConvertPlan(
        source=source, target=target, format=format_, selection=selection, tracks=tracks, quiet=quiet
    )


@fgtrace.command(
    context_settings=_HELP, options_metavar="[OPTIONS]", short_help="Show where the time of a trace went."
)
@click.argument("source", metavar="TRACE")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.option("--top", metavar="N", help="Rows of each table.  [default: 10]")
@click.option("--from", "start", metavar="S", help="Only from here on: seconds from the trace's start.")
@click.option("--to", "end", metavar="S", help="Only until here: as --from.")
@click.option(
    "--group", metavar="|".join(GROUPS), help="How the first table groups tasks.  [default: coroutine]"
)
@click.option("--task", metavar="NAME", help="Show the critical path of this task, or of 'Task-*'.")
@click.option("--slow-callback-duration", metavar="S", help="Longer steps block a loop.  [default: 0.1]")
def report(source: str, *, as_json: bool, **given: Any) -> ReportPlan:
    """
    Show where the time of a trace went.

    TRACE is a trace in the Trace Event Format, or a .pftrace that fgtrace
    wrote, compressed or not.
    """
    chosen = {key: value for key, value in given.items() if value is not None}
    texts = ("group", "task")
    ask = {key: value if key in texts else number_or_text(value) for key, value in chosen.items()}
    return ReportPlan(source=source, ask=ask, as_json=as_json)


@fgtrace.command(context_settings=_HELP, options_metavar="[OPTIONS]", short_help="Show what became slower.")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.option("--top", metavar="N", help="Rows of each table.  [default: 10]")
@click.option(
    "--threshold",
    metavar="F",
    help="Exit with 1 if a time grew by more than this share.  [default: never]",
)
def diff(before: str, after: str, *, as_json: bool, **given: Any) -> DiffPlan:
    """
    Show what became slower from trace A to trace B of the same program.

    It compares the time of one task: of each coroutine, in each state, and
    at each place where it waits.
    """
    chosen = {key: number_or_text(value) for key, value in given.items() if value is not None}
    return DiffPlan(before=before, after=after, as_json=as_json, **chosen)


@fgtrace.command(context_settings=_HELP, options_metavar="[OPTIONS]", short_help="Show a trace in a browser.")
@click.argument("source", metavar="TRACE")
@click.option("--offline", is_flag=True, help="Use the UI of the extra `viewer`: no network at all.")
@click.option("--speedscope", is_flag=True, help="Use speedscope, not the Perfetto UI.")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
def view(source: str, *, offline: bool, speedscope: bool, no_browser: bool) -> ViewPlan:
    """
    Show a trace in a browser, until Ctrl-C.

    TRACE is served on the loopback address alone, to the viewer's page
    alone, which reads it in the browser and uploads nothing. A format that
    the viewer cannot read is converted first.
    """
    return ViewPlan(source=source, offline=offline, speedscope=speedscope, browser=not no_browser)


def parse(arguments: Sequence[str]) -> AnyPlan | int:
    """
    Return the plan of a command line, or the exit code if click has carried it out, as for ``--help``.

    Raises:
        click.ClickException: the arguments are wrong.
    """
    if not arguments:
        arguments = ["--help"]
    done = fgtrace.main(list(arguments), prog_name="fgtrace", standalone_mode=False)
    return done if isinstance(done, AnyPlan) else int(done or 0)
