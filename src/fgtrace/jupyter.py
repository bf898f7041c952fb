"""
Traces a cell of a notebook, in IPython and Jupyter:

    %load_ext fgtrace

    %%fgtrace hz=500
    await work()

Theory of operation: a cell magic gets its cell as text and would have to run it, which no magic can do
with a cell that has an ``await``. So ``%%fgtrace`` in a first line becomes ``%fgtrace``, a line of the cell,
which starts the trace. IPython runs the cell as any other and calls us when it ends, even by an exception;
then the trace is written and the table is shown.
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

#: The file of a trace if the line gives none.
DEFAULT = "fgtrace-cell.json"
#: The formats from which the table can be made.
READABLE = ("json", "json.gz", "perfetto", "perfetto.gz")


def load_ipython_extension(shell: Any) -> None:
    """
    Add ``%%fgtrace [PATH] [OPTION=VALUE]...`` to a shell, on ``%load_ext fgtrace``.

    Args:
        shell: IPython's.
    """
    cells = _Cells(shell)
    shell.register_magic_function(cells.fgtrace, "line", "fgtrace")
    shell.input_transformers_cleanup.append(cells.as_line)


def unload_ipython_extension(shell: Any) -> None:
    """
    Remove ``%%fgtrace`` from a shell, on ``%unload_ext fgtrace``.

    Args:
        shell: IPython's.
    """
    cells = shell.magics_manager.magics["line"].pop("fgtrace").__self__
    shell.input_transformers_cleanup.remove(cells.as_line)
    cells.forget()


class _Cells:
    """
    Traces the cells of a shell.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._trace: Trace | None = None
        self._before: tuple[frozenset[int], frozenset[str]] = frozenset(), frozenset()

    def as_line(self, lines: list[str]) -> list[str]:
        """
        Return the lines of a cell with ``%%fgtrace`` turned into ``%fgtrace``.
        """
        if lines and lines[0].split(maxsplit=1)[:1] == ["%%fgtrace"]:
            return [lines[0].replace("%%", "%", 1), *lines[1:]]
        return lines

    def fgtrace(self, line: str) -> None:
        """
        Trace this cell, from here on, and show where its time went.

            %%fgtrace [PATH] [OPTION=VALUE]...

        PATH is where the trace goes, by default fgtrace-cell.json; an existing file is overwritten. The
        options are those of fgtrace.Config: hz=500, awaits=exact, threads=no.
        """
        import shlex

        from IPython.core.error import UsageError

        if self._trace is not None:
            raise UsageError("this cell is being traced already")
        try:
            arguments = shlex.split(line)
            paths = [each for each in arguments if "=" not in each]
            if len(paths) > 1:
                raise ConfigError("path", " ".join(paths), "allowed is one")
            options: dict[str, Any] = options_of(each for each in arguments if "=" in each)
            config = Config(dst=paths[0] if paths else DEFAULT, **options)
            if config.effective_format not in READABLE:
                raise ConfigError("format", config.effective_format, "allowed is " + " or ".join(READABLE))
            self._before = _threads(), _tasks()
            self._trace = config.trace().start()
        except (FgtraceError, ValueError) as error:  # a ValueError is shlex's: an open quote
            raise UsageError(f"%%fgtrace: {error}") from error
        self._shell.events.register("post_run_cell", self._on_end)

    def _on_end(self, _result: object) -> None:
        trace = self._end_trace()
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

    def _end_trace(self) -> Trace | None:
        trace, self._trace = self._trace, None
        if trace is not None:
            self._shell.events.unregister("post_run_cell", self._on_end)
        return trace

    def forget(self) -> None:
        """
        End a trace that is under way, without a file.
        """
        trace = self._end_trace()
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
    Return the names of the running loop's tasks; without a loop there are none.
    """
    asyncio = sys.modules.get("asyncio")
    loop = asyncio.events._get_running_loop() if asyncio is not None else None  # noqa: SLF001 -- None without one
    if asyncio is None or loop is None:
        return frozenset()
    return frozenset(task.get_name() for task in asyncio.all_tasks(loop))
