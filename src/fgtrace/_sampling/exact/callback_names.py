"""
What the handle of a loop calls: a step of a task, or a function with a name.

Handles hold objects that the program gave them, so nothing is read of these that could run code of the
program: only attributes of types that are known to be made in C.
"""

from __future__ import annotations

from functools import partial
from types import BuiltinMethodType, FunctionType, MethodType, ModuleType
from typing import Any

from fgtrace._model.values import FrameName
from fgtrace._recording.recording import CallbackEntry, Recording

__all__ = ["CallbackTable", "StepCallbacks"]

#: What asyncio's own types in C say is their module; until 3.11 they say that they are builtins.
_OF_C = ("_asyncio", "builtins")
#: Partials within partials that are opened at most.
DEEPEST = 16


class StepCallbacks:
    """
    Tell the step of a task from any other callback.

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
        Return the task that a callback steps or wakes; None for any other callback.
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
        Return whether a task's callback is a step and not a wakeup: a new task schedules only a step.
        """
        return type(callback) is self._step_type or (
            type(callback) is MethodType and callback.__func__ is self._first
        )


class CallbackTable:
    """
    Number the functions that a trace's loops call back.

    Args:
        recording: has the table of them.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._known: dict[Any, tuple[int, Any]] = {}

    def number(self, callback: Any) -> int:
        """
        Return the index of a callback's function, adding it if new.
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
            found = self._known[key] = (number, code)  # the code is kept, so its id stays its own
        return found[0]


def _entry(callback: Any) -> CallbackEntry:
    if type(callback) is not FunctionType:
        return CallbackEntry(FrameName(*_names(callback)), "", 0)
    code, module = callback.__code__, callback.__globals__.get("__name__")
    name = FrameName(module if type(module) is str else "", code.co_qualname)
    return CallbackEntry(name, code.co_filename, code.co_firstlineno)


def _names(callback: Any) -> tuple[str, str]:
    """
    Return the module and the qualified name of a callback that is no function of Python: C's own, else its
    type's.
    """
    kind = type(callback)
    if issubclass(kind, BuiltinMethodType):
        module = callback.__module__ or type(callback.__self__).__module__
        return module if type(module) is str else "", callback.__qualname__
    module = type.__getattribute__(kind, "__module__")  # a metaclass would be the program's
    return module if type(module) is str else "", kind.__qualname__
