"""
Traces a program, or keeps the debug hook installed, until the interpreter exits; then writes the trace.

At exit Python first waits for the threads, then calls the functions that were registered with `atexit`, the
last first. So a function that is registered before the program starts is called after all functions of the
program, and sees its very end: even after Ctrl-C, ``sys.exit()`` or an uncaught error.

All modules that are needed then are imported before. The program may have changed the directory or
``sys.path`` meanwhile, and code that a new module compiles (a dataclass, a named tuple) makes the interpreter
forget that Ctrl-C is about to end it. No new thread can start then (3.12 and newer), so the progress bar
has none.
"""

from __future__ import annotations

import atexit
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

from fgtrace._sampling.stats import Stats
from fgtrace._session.trace import Trace
from fgtrace.cli._formatting import format_chain, format_place, format_time
from fgtrace.cli._progress import ProgressBar
from fgtrace.debug import install, installed, uninstall
from fgtrace.errors import SinkError, TraceStateError
from fgtrace.reports import Blocked, Cycle, Report

if TYPE_CHECKING:  # only --flight-recorder needs it
    from fgtrace._watchdog.hook import DebugHook

__all__ = ["HookUntilExit", "TraceUntilExit", "say", "short_report", "summary", "welcome"]

#: The modules that `fgtrace.Trace` imports only when it writes.
_LATER = ("gzip", "platform", "fgtrace._output.live_report")
#: A trace of at most as many observations gets a short report; a longer one would take seconds.
MOST_OBSERVED = 100_000
#: The least share of all tasks' time for which a wait gets a line.
WORTH_A_LINE = 0.05
#: Where each format can be viewed.
_PLACES = {
    "json": "at ui.perfetto.dev",
    "perfetto": "at ui.perfetto.dev",
    "speedscope": "at www.speedscope.app",
    "pprof": "with go tool pprof",
    "html": "in a browser",
}


class TraceUntilExit:
    """
    Starts a trace now, and writes it when the interpreter exits.

    Args:
        trace: not yet started.
        quiet: print nothing if all goes well.
    """

    def __init__(self, trace: Trace, *, quiet: bool) -> None:
        self._trace = trace
        self._quiet = quiet
        self._pid = os.getpid()
        self._stderr = sys.stderr  # the program may replace both
        self._path = sys.path[:]

    def start(self) -> None:
        """
        Start the trace. If its file cannot be written, a line says so, while the cause can still be removed.
        """
        for name in _LATER:
            importlib.import_module(name)
        self._trace.start()
        if self._trace._obstacle is not None:
            self._fail(f"{self._trace._obstacle}; the program runs, and a second attempt follows at its end")
        atexit.register(self._finish)

    def abandon(self) -> None:
        """
        Leave nothing behind, for there is no program.
        """
        atexit.unregister(self._finish)
        self._trace.abandon()

    def _finish(self) -> None:
        if os.getpid() != self._pid:
            return  # in a child of the program: the trace is its parent's
        try:
            report = self._write()
        except SinkError as error:
            self._fail(str(error))
        except KeyboardInterrupt:
            self._fail(f"interrupted: no trace was written to {self._trace.config.dst!s}")
        except TraceStateError:
            pass  # the program itself wrote it
        else:
            if not self._quiet:
                config = self._trace.config
                say(self._stderr, summary(str(config.dst), self._trace.stats, str(config.effective_format)))
                for line in short_report(report) if report is not None else ():
                    say(self._stderr, line)

    def _write(self) -> Report | None:
        with ProgressBar(self._stderr, self._path) as progress:
            most = 0 if self._quiet else MOST_OBSERVED
            return self._trace._stop_and_report(progress.update, most)

    def _fail(self, why: str) -> None:
        say(self._stderr, f"fgtrace: {why}")


class HookUntilExit:
    """
    Installs the debug hook now, and uninstalls it when the interpreter exits.

    Args:
        options: of `fgtrace.install`.
        quiet: do not print that it is installed.
    """

    def __init__(self, options: dict[str, Any], *, quiet: bool) -> None:
        self._options = options
        self._quiet = quiet
        self._hook: object = None

    def start(self) -> None:
        """
        Install the hook, and print where its dumps go.
        """
        self._hook = hook = install(**self._options)
        atexit.register(self._finish)
        if not self._quiet:
            say(sys.stderr, welcome(hook))
        if hook.is_active and hook.obstacle is not None:
            say(
                sys.stderr, f"fgtrace: no dump can be written as it stands: {hook.obstacle}; the program runs"
            )

    def abandon(self) -> None:
        """
        Leave nothing behind, for there is no program.
        """
        atexit.unregister(self._finish)
        self._finish()

    def _finish(self) -> None:
        if self._hook is not None and installed() is self._hook:  # else the program uninstalled it
            uninstall()


def say(stream: IO[str], line: str) -> None:
    """
    Write a line to a stream that may be closed or missing.
    """
    with suppress(OSError, ValueError, AttributeError):
        stream.write(line + "\n")
        stream.flush()


def welcome(hook: DebugHook) -> str:
    """
    Return the line that says where the debug hook's dumps go, and how to request one.
    """
    if not hook.is_active:
        return "fgtrace: no flight recorder: when='debug', and asyncio's debug mode is off"
    number = hook.options.signal_number
    asks = f"; kill -{number.name.removeprefix('SIG')} {hook.pid} asks for one" if number is not None else ""
    return f"fgtrace: the flight recorder runs; dumps go to {os.fspath(hook.options.folder)}{asks}"


def summary(dst: str, stats: Stats, format_: str) -> str:
    """
    Return the line that says what was written, and where it can be viewed.
    """
    place = _PLACES.get(format_.removesuffix(".gz"))
    figures = (
        _count(stats.tracks, "track"),
        _count(stats.observations, "observation"),
        f"{stats.hz:.1f} Hz",
        f"{stats.overhead * 100:.1f} % overhead",
        *(f"{name} given up: {reason}" for name, reason in stats.failed.items()),
    )
    return f"fgtrace: wrote {dst} ({', '.join(figures)})" + (f"; open it {place}" if place else "")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def short_report(report: Report) -> list[str]:
    """
    Return the most important lines of a report.
    """
    lines = [_deadlock(cycle) for cycle in report.cycles]
    lines += [_blocked(each) for each in report.blocked[:1]]
    lines += list(_waits(report))
    return [f"  {line}" for line in lines]


def _deadlock(cycle: Cycle) -> str:
    return "deadlock: " + " -> ".join((*cycle.tasks, cycle.tasks[0]))


def _blocked(blocked: Blocked) -> str:
    who = f"{blocked.kind} {blocked.name}"
    stack = f" in {format_chain(reversed(blocked.stack[-2:]))}" if blocked.stack else ""
    others = "1 task" if blocked.kept_waiting == 1 else f"{blocked.kept_waiting} tasks"
    kept = f", {others} waited" if blocked.kept_waiting else ""
    return f"loop blocked {format_time(blocked.duration_ns)} by {who}{stack}{kept}"


def _waits(report: Report) -> Iterator[str]:
    whole = sum(group.total_ns for group in report.groups)
    for wait in report.waits[:3]:
        if wait.total_ns >= WORTH_A_LINE * whole:
            times = "1 wait" if wait.count == 1 else f"{wait.count} waits"
            yield f"{wait.place.state} {format_time(wait.total_ns)} in {times}: {format_place(wait.place)}"
