"""
What a loop's handle calls: a step of a task, or a function that is to be named.

Handles hold what the program gave them, so nothing is asked that could be the program's code: only
attributes of types that are known to be C's.
"""

from __future__ import annotations

from functools import partial
from types import BuiltinMethodType, FunctionType, MethodType, ModuleType
from typing import Any

from fgtrace._model.values import FrameName
from fgtrace._recording.recording import CallbackEntry, Recording

__all__ = ["CallbackTable", "StepCallbacks"]

#: The module of asyncio's own types in C; until 3.11 they say that they are builtins.
_OF_C = ("_asyncio", "builtins")
#: Partials of partials that are opened.
DEEPEST = 16


class StepCallbacks:
    """
    Tells a step of a task from another callback.

    Args:
        tasks: the module ``asyncio.tasks``.
    """

    def __init__(self, tasks: ModuleType) -> None:
        self._native = tasks.Task
        self._step_type: type | None = None
        in_python = vars(tasks._PyTask)
        self._first = in_python.get("_Task__step")
        self._functions = [in_python.get("_Task__step"), in_python.get("_Task__wakeup")]

    def task_of(self, callback: Any) -> Any:
        """
        The task that a callback steps or wakes; None for any other.
        """
        kind = type(callback)
        if kind is self._step_type:
            return callback.__self__
        if issubclass(kind, BuiltinMethodType):
            is_wakeup = callback.__name__ == "task_wakeup" and isinstance(callback.__self__, self._native)
            return callback.__self__ if is_wakeup else None
        if kind is MethodType:
            return callback.__self__ if callback.__func__ in self._functions else None
        if kind.__name__ == "TaskStepMethWrapper" and kind.__module__ in _OF_C:
            self._step_type = kind
            return callback.__self__
        return None

    def is_step(self, callback: Any) -> bool:
        """
        Whether a task's callback is a step and no wakeup: only a step is scheduled by a new task.
        """
        return type(callback) is self._step_type or (
            type(callback) is MethodType and callback.__func__ is self._first
        )


class CallbackTable:
    """
    Numbers the functions that a trace's loops call back.

    Args:
        recording: where they are noted.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._known: dict[Any, tuple[int, Any]] = {}

    def number(self, callback: Any) -> int:
        """
        The index of a callback's function.
        """
        for _ in range(DEEPEST):
            if type(callback) is not partial:
                break
            callback = callback.func
        if type(callback) is MethodType:
            callback = callback.__func__
        code = callback.__code__ if type(callback) is FunctionType else None
        key = id(code) if code is not None else _names(callback)
        found = self._known.get(key)
        if found is None:
            number = self._recording.add_callback(_entry(callback))
            found = self._known[key] = (number, code)  # the code stays, and so its id
        return found[0]


def _entry(callback: Any) -> CallbackEntry:
    if type(callback) is not FunctionType:
        return CallbackEntry(FrameName(*_names(callback)), "", 0)
    code, module = callback.__code__, callback.__globals__.get("__name__")
    name = FrameName(module if type(module) is str else "", code.co_qualname)
    return CallbackEntry(name, code.co_filename, code.co_firstlineno)


def _names(callback: Any) -> tuple[str, str]:
    """
    Module and qualname of what is not a function of Python: C's own, else its type's.
    """
    kind = type(callback)
    if issubclass(kind, BuiltinMethodType):
        module = callback.__module__ or type(callback.__self__).__module__
        return module if type(module) is str else "", callback.__qualname__
    module = type.__getattribute__(kind, "__module__")  # a metaclass would be the program's
    return module if type(module) is str else "", kind.__qualname__
