"""
The end of a program that was traced: the trace is written, and one line says so.

Python first waits for the threads, then calls what was registered with `atexit`, the last first.
So what is registered before the program starts is called after all that the program registered,
and sees its very end: also after Ctrl-C, ``sys.exit()`` or an uncaught error.

What is needed then is imported before: the program may have changed the directory or ``sys.path``
meanwhile, and code that a new module compiles (a dataclass, a named tuple) makes the interpreter
forget that it is about to die of Ctrl-C. No new thread can be started then (3.12 and newer), so
the progress bar is drawn by hand.
"""

from __future__ import annotations

import atexit
import importlib
import os
import sys
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

from fgtrace._sampling.stats import Stats
from fgtrace._session.trace import Trace
from fgtrace.cli._formatting import short
from fgtrace.cli._progress import ProgressBar
from fgtrace.debug import install, installed, uninstall
from fgtrace.errors import SinkError, TraceStateError
from fgtrace.reports import Report

if TYPE_CHECKING:  # only a flight recorder needs it
    from fgtrace._watchdog.hook import DebugHook

__all__ = ["Ending", "HookEnding", "say", "summary", "welcome"]

#: What `fgtrace.Trace` imports only when it writes.
_LATER = ("gzip", "platform", "fgtrace._output.live_report")
#: What is reported at once; of more ``fgtrace report`` tells, for it would take seconds.
MOST_OBSERVED = 100_000
#: Where a format can be seen.
_PLACES = {
    "json": "at ui.perfetto.dev",
    "perfetto": "at ui.perfetto.dev",
    "speedscope": "at www.speedscope.app",
    "pprof": "with go tool pprof",
    "html": "in a browser",
}


class Ending:
    """
    Starts a trace now, and writes it when the interpreter ends.

    Args:
        trace: not yet started.
        quiet: say nothing where all goes well.
    """

    def __init__(self, trace: Trace, *, quiet: bool) -> None:
        self._trace = trace
        self._quiet = quiet
        self._pid = os.getpid()
        self._stderr = sys.stderr  # the program may put something else there
        self._path = sys.path[:]  # and there

    def prepare(self) -> None:
        """
        Start the trace. What stands in the way of its file can be cleared away while the program runs.
        """
        for name in _LATER:
            importlib.import_module(name)
        self._trace.start()
        if self._trace._obstacle is not None:
            self._fail(f"{self._trace._obstacle}; the program runs, and at its end this is tried again")
        atexit.register(self._finish)

    def abandon(self) -> None:
        """
        There was no program: leave nothing behind.
        """
        atexit.unregister(self._finish)
        self._trace.abandon()

    def _finish(self) -> None:
        if os.getpid() != self._pid:
            return  # a child of the program: the trace is its parent's
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
                for line in short(report) if report is not None else ():
                    say(self._stderr, line)

    def _write(self) -> Report | None:
        with ProgressBar(self._stderr, self._path) as progress:
            most = 0 if self._quiet else MOST_OBSERVED
            return self._trace._stop_and_report(progress.update, most)

    def _fail(self, why: str) -> None:
        say(self._stderr, f"fgtrace: {why}")


class HookEnding:
    """
    Installs the debug hook now, and takes it away when the interpreter ends.

    Args:
        options: of `fgtrace.install`.
        quiet: do not say that it is there.
    """

    def __init__(self, options: dict[str, Any], *, quiet: bool) -> None:
        self._options = options
        self._quiet = quiet
        self._hook: object = None

    def prepare(self) -> None:
        """
        Install it, and say so.
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
        There was no program: leave nothing behind.
        """
        atexit.unregister(self._finish)
        self._finish()

    def _finish(self) -> None:
        if self._hook is not None and installed() is self._hook:  # else the program took it away
            uninstall()


def say(stream: IO[str], line: str) -> None:
    """
    Write a line, if anybody can read it.
    """
    with suppress(OSError, ValueError, AttributeError):  # it is closed, or there is none
        stream.write(line + "\n")
        stream.flush()


def welcome(hook: DebugHook) -> str:
    """
    The line that says where dumps go, and how one is had.
    """
    if not hook.is_active:
        return "fgtrace: no flight recorder: when='debug', and asyncio's debug mode is off"
    number = hook.options.signal_number
    asks = f"; kill -{number.name.removeprefix('SIG')} {hook.pid} asks for one" if number is not None else ""
    return f"fgtrace: the flight recorder runs; dumps go to {os.fspath(hook.options.folder)}{asks}"


def summary(dst: str, stats: Stats, format_: str) -> str:
    """
    The line that says what was written, and where it can be seen.
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
