"""
A trace of a notebook's cell, in IPython and Jupyter:

    %load_ext fgtrace

    %%fgtrace hz=500
    await work()

Theory of operation: a cell magic gets its cell as text and would have to run it, which no magic can
where the cell has an ``await``. So ``%%fgtrace`` in a first line becomes ``%fgtrace``: a line of the cell,
which starts the trace. The cell is run by IPython as any other, and when it is over, also by an exception,
IPython says so: then the trace is written and shown.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from fgtrace._options.assignments import options_of
from fgtrace._session.trace import Config, Trace
from fgtrace.errors import ConfigError, FgtraceError

__all__ = ["load_ipython_extension", "unload_ipython_extension"]

#: Where a trace goes if the line does not say it.
DEFAULT = "fgtrace-cell.json"
#: Formats of which the table can be made.
READABLE = ("json", "json.gz", "perfetto", "perfetto.gz")


def load_ipython_extension(shell: Any) -> None:
    """
    ``%load_ext fgtrace``: from now on there is ``%%fgtrace [PATH] [OPTION=VALUE]...``

    Args:
        shell: IPython's.
    """
    cells = _Cells(shell)
    shell.register_magic_function(cells.fgtrace, "line", "fgtrace")
    shell.input_transformers_cleanup.append(cells.as_line)


def unload_ipython_extension(shell: Any) -> None:
    """
    ``%unload_ext fgtrace``: as before.

    Args:
        shell: IPython's.
    """
    cells = shell.magics_manager.magics["line"].pop("fgtrace").__self__
    shell.input_transformers_cleanup.remove(cells.as_line)
    cells.forget()


class _Cells:
    """
    What traces the cells of a shell.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._trace: Trace | None = None
        self._before: tuple[frozenset[int], frozenset[str]] = frozenset(), frozenset()

    def as_line(self, lines: list[str]) -> list[str]:
        """
        The lines of a cell, ``%%fgtrace`` as a line of it.
        """
        if lines and lines[0].split(maxsplit=1)[:1] == ["%%fgtrace"]:
            return [lines[0].replace("%%", "%", 1), *lines[1:]]
        return lines

    def fgtrace(self, line: str) -> None:
        """
        Trace this cell, from here on, and show where its time went.

            %%fgtrace [PATH] [OPTION=VALUE]...

        PATH is where the trace goes, by default fgtrace-cell.json; it is overwritten. The options are
        those of fgtrace.Config: hz=500, awaits=exact, threads=no.
        """
        import shlex

        from IPython.core.error import UsageError

        if self._trace is not None:
            raise UsageError("this cell is being traced already")
        try:
            words = shlex.split(line)
            paths = [word for word in words if "=" not in word]
            if len(paths) > 1:
                raise ConfigError("path", " ".join(paths), "allowed is one")
            options: dict[str, Any] = options_of(word for word in words if "=" in word)
            config = Config(dst=paths[0] if paths else DEFAULT, **options)
            if config.effective_format not in READABLE:
                raise ConfigError("format", config.effective_format, "allowed is " + " or ".join(READABLE))
            self._before = _threads(), _tasks()
            self._trace = config.trace().start()
        except (FgtraceError, ValueError) as error:  # shlex: an open quote
            raise UsageError(f"%%fgtrace: {error}") from error
        self._shell.events.register("post_run_cell", self._over)

    def _over(self, _result: object) -> None:
        trace = self._take()
        if trace is None:
            return
        try:
            trace.stop()
            _show(self._times(str(trace.config.dst)))
        except FgtraceError as error:
            _show(f"fgtrace: {error}")

    def _times(self, path: str) -> object:
        from fgtrace._formats.read import open_trace
        from fgtrace.reports._notebook_cell import Before, cell_times

        with open_trace(path) as found:
            length = max((track.end for track in found.tracks), default=0)
            return cell_times(found.slices(), Before(*self._before), length, path, os.path.relpath(path))

    def _take(self) -> Trace | None:
        trace, self._trace = self._trace, None
        if trace is not None:
            self._shell.events.unregister("post_run_cell", self._over)
        return trace

    def forget(self) -> None:
        """
        End a trace that is under way; nothing is written.
        """
        trace = self._take()
        if trace is not None:
            trace.abandon()


def _show(what: object) -> None:
    from IPython import display

    show: Callable[[object], object] = display.display
    show(what)


def _threads() -> frozenset[int]:
    return frozenset(thread.native_id for thread in threading.enumerate() if thread.native_id is not None)


def _tasks() -> frozenset[str]:
    """
    The names of the tasks of the loop that runs here, if one does.
    """
    asyncio = sys.modules.get("asyncio")
    loop = asyncio.events._get_running_loop() if asyncio is not None else None  # noqa: SLF001 -- None without one
    if asyncio is None or loop is None:
        return frozenset()
    return frozenset(task.get_name() for task in asyncio.all_tasks(loop))
