"""
The waiter of a task: what kind of future it is, and which tasks are behind it.

A future's type tells almost nothing (nine of ten are a plain ``asyncio.Future``); what it forwards does. That
can be read only while the future lives, so it is read in the hot half, once for each wait, and only from
asyncio's own attributes: ``_callbacks``, ``_children``, closures by name.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from fgtrace._model.values import WaiterKind

__all__ = ["WaiterReader", "owner_of", "plain_codes"]

#: Children of a gather that are read at most.
MOST_CHILDREN = 64

_CHAIN = "_chain_future.<locals>._call_check_cancel"
_SHIELD = "shield.<locals>._outer_done_callback"
_UVLOOP_SOCKET = "_SyncSocket"


class WaiterReader:
    """
    Find out what a task's waiter is.

    Args:
        tasks: the module ``asyncio.tasks``.
    """

    def __init__(self, tasks: ModuleType) -> None:
        self._task_types = tuple({tasks.Task, tasks._PyTask})  # the twin in Python, which subclasses use
        self._gathering = tasks._GatheringFuture
        self._lookers = {
            id(function.__code__)
            for name in ("wait_for", "_wait")
            if isinstance(function := getattr(tasks, name, None), FunctionType)
        }
        self._plain = {id(code) for code in plain_codes(tasks)}

    def is_task(self, waiter: object) -> bool:
        """
        Return whether a waiter is a task, native or made in Python.
        """
        return isinstance(waiter, self._task_types)

    def read(self, waiter: Any, leaf: Any) -> tuple[WaiterKind, list[Any]]:
        """
        Return the kind of a waiter, and the tasks behind it.

        Args:
            waiter: ``task._fut_waiter``.
            leaf: the innermost coroutine of the chain that awaits it; None where it is not known.
        """
        if self.is_task(waiter):
            return "task", [waiter]
        if isinstance(waiter, self._gathering):
            return self._common(waiter._children)
        code = getattr(leaf, "cr_code", None)
        if id(code) in self._plain:
            return "future", []
        if id(code) in self._lookers:
            held = list(_held_futures(leaf, waiter))
            if held:
                return self._common(held)
        return self._future(waiter)

    def _future(self, waiter: Any) -> tuple[WaiterKind, list[Any]]:
        if type(waiter).__name__.startswith(_UVLOOP_SOCKET):
            return "io", []
        for callback in _callbacks(waiter):
            if callback.__qualname__ == _CHAIN:
                return "thread", []
            if callback.__qualname__ == _SHIELD:
                inner = closure_value(callback, "inner")
                return ("future", []) if inner is None or inner is waiter else self.read(inner, None)
        return "future", []

    def _common(self, futures: Iterable[Any]) -> tuple[WaiterKind, list[Any]]:
        """
        Return the kind that all pending futures share, else ``task`` where one of them is a task; and the
        tasks.
        """
        kinds, found = set(), []
        for _, future in zip(
            range(MOST_CHILDREN), (each for each in futures if not each.done()), strict=False
        ):
            kind, tasks = self.read(future, None)
            kinds.add(kind)
            found.extend(tasks)
        if len(kinds) == 1:
            return kinds.pop(), found
        return ("task" if found or not kinds else "future"), found


def plain_codes(tasks: ModuleType) -> Iterator[CodeType]:
    """
    Yield the functions of asyncio that await a future of their own making: nothing is behind such a future.
    """
    yield tasks.sleep.__code__
    for module in ("asyncio.locks", "asyncio.queues", "asyncio.streams"):
        for kind in vars(sys.modules.get(module, tasks.Task)).values():
            if isinstance(kind, type) and kind.__module__ == module:
                functions = (each for each in vars(kind).values() if isinstance(each, FunctionType))
                yield from (each.__code__ for each in functions)


def _held_futures(coro: Any, waiter: Any) -> Iterator[Any]:
    """
    Yield the futures among a coroutine's variables, alone or in a set, but for the waiter itself.
    """
    for held in gc.get_referents(coro):
        if type(held) in (set, list, tuple):
            yield from (each for each in held if _is_future(each) and each is not waiter)
        elif held is not waiter and _is_future(held):
            yield held


def _is_future(value: object) -> bool:
    return hasattr(type(value), "_asyncio_future_blocking")


def _callbacks(future: Any) -> Iterator[FunctionType]:
    """
    Yield the plain functions among a future's done-callbacks.
    """
    for entry in getattr(future, "_callbacks", None) or ():
        callback = entry[0] if type(entry) is tuple else entry
        if isinstance(callback, FunctionType):
            yield callback


def closure_value(function: FunctionType, name: str) -> Any:
    """
    Return the value that a closure holds under a name, or None.
    """
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
    try:
        return cells[name].cell_contents
    except (KeyError, ValueError):
        return None


def owner_of(task: Any) -> Any:
    """
    Return the task whose task group a task belongs to, or None.

    A group is told of its tasks' ends by a done-callback: asyncio's is a method of the group, anyio's a
    closure over it.
    """
    for entry in getattr(task, "_callbacks", None) or ():
        callback = entry[0] if type(entry) is tuple else entry
        for kind, read in _GROUPS:
            if isinstance(callback, kind) and (owner := read(callback)) is not None:
                return owner
    return None


def _asyncio_group(callback: Any) -> Any:
    return getattr(callback.__self__, "_parent_task", None)


def _anyio_group(callback: Any) -> Any:
    scope = getattr(closure_value(callback, "self"), "cancel_scope", None)
    return getattr(scope, "_host_task", None)


_GROUPS: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (MethodType, _asyncio_group),
    (FunctionType, _anyio_group),
)
