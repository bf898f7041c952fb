"""
Removes fgtrace's own frames from the traceback of the error that ends a program.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType

__all__ = ["CleanExcepthook"]

_LAUNCHER = __name__.rpartition(".")[0] + "."


class CleanExcepthook:
    """
    Replaces ``sys.excepthook`` for one error, then restores it.

    It does what CPython's ``PyErr_Print`` does, whose own output would show this very frame.

    Args:
        previous: the program's own hook; None: the program deleted it.
    """

    def __init__(self, previous: Callable[..., object] | None) -> None:
        self._previous = previous

    def __call__(self, kind: type[BaseException], error: BaseException, found: TracebackType | None) -> None:
        error.__traceback__ = sys.last_traceback = _without_launcher(found)
        if self._previous is None:
            del sys.excepthook
            _display("sys.excepthook is missing\n", error)
            return
        sys.excepthook = self._previous
        second = _call(self._previous, error)
        if second is not None:
            _display("Error in sys.excepthook:\n", second)
            _display("\nOriginal exception was:\n", error)


def _call(hook: Callable[..., object], error: BaseException) -> BaseException | None:
    """
    Call a hook.

    Returns:
        The exception that it raised.

    Raises:
        SystemExit: the hook ends the process with another exit code.
    """
    try:
        hook(type(error), error, error.__traceback__)
    except SystemExit:
        raise
    except BaseException as second:
        second.__traceback__ = _without_launcher(second.__traceback__)
        return second
    return None


def _display(title: str, error: BaseException) -> None:
    sys.stderr.write(title)
    sys.__excepthook__(type(error), error, error.__traceback__)


def _without_launcher(traceback: TracebackType | None) -> TracebackType | None:
    """
    Return a traceback from the program's own outermost frame on.
    """
    found = traceback
    while found is not None and not _is_launcher(found):
        found = found.tb_next
    while found is not None and _is_launcher(found):
        found = found.tb_next
    return found


def _is_launcher(traceback: TracebackType) -> bool:
    return str(traceback.tb_frame.f_globals.get("__name__", "")).startswith(_LAUNCHER)
