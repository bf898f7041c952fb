"""
Shows a progress bar in a terminal, for work that takes longer than a second.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any, Self

__all__ = ["ProgressBar"]

#: Seconds before the bar appears.
PATIENCE = 1.0
#: Seconds between two updates of the bar.
PERIOD = 0.1


class ProgressBar:
    """
    Shows how much work is done, after the first second.

    Args:
        stream: shows the bar; if it is no terminal, there is none.
        path: the ``sys.path`` from which rich is imported: the program's may lead to another one.
        clock: returns seconds.
    """

    def __init__(
        self, stream: IO[str], path: Sequence[str], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._path = path
        self._clock = clock
        self._next = clock() + PATIENCE
        self._bar: Any = None
        self._hopeless = not _is_terminal(stream)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            with suppress(Exception):
                self._bar.stop()

    def update(self, done: int, total: int) -> None:
        """
        Show how much of the trace is written.
        """
        self.show("writing", done, total)

    def show(self, what: str, done: int, total: int) -> None:
        """
        Show how much of some work is done.
        """
        if self._hopeless or self._clock() < self._next:
            return
        self._next = self._clock() + PERIOD
        try:
            self._draw(what, done, total)
        except Exception:
            self._hopeless = True  # a bar is not worth losing the trace

    def _draw(self, what: str, done: int, total: int) -> None:
        if self._bar is None:
            with _path(self._path):
                self._bar = _make_bar(self._stream)
            self._bar.start()
            self._task = self._bar.add_task("", total=total)
        self._bar.update(self._task, description=f"fgtrace: {what}", completed=done, total=total)
        self._bar.refresh()


def _is_terminal(stream: IO[str]) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False


@contextmanager
def _path(path: Sequence[str]) -> Iterator[None]:
    programs = sys.path[:]
    sys.path[:] = path
    try:
        yield
    finally:
        sys.path[:] = programs


def _make_bar(stream: IO[str]) -> Any:
    from rich.console import Console  # takes 60 ms, and few traces need a bar
    from rich.progress import Progress as Bar

    return Bar(
        console=Console(file=stream),
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
