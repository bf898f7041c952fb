"""
Finds the tasks and the loops of this interpreter, by version, without a list of its own.

Python 3.11 keeps every task in one weak set; 3.12 and 3.13 keep it for tasks that have been
scheduled and add a set of eager tasks in their first step. Both serve all loops, so the loops
are found through the tasks. From 3.14 on a native task is in a list of its thread that only
``asyncio.all_tasks(loop)`` reads, so the loops must be known first. They are found in the
threads' stacks: in the frames of the functions that run a loop, by name, or in the variables of
the function that called a compiled loop.

Only references are returned: weak ones, whose identity is safe to compare, since a task and its
first plain weak reference live and die together in our records.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable
from types import FrameType, ModuleType
from typing import Any

__all__ = ["LoopFinder", "TaskSource"]

#: qualname of a function that runs a loop -> the path from its ``self`` to the loop.
_RUNNERS: dict[str, tuple[str, ...]] = {
    "BaseEventLoop.run_forever": (),
    "Runner.run": ("_loop",),
}


class LoopFinder:
    """
    Finds the running event loop of each thread in that thread's frames.
    """

    def __init__(self) -> None:
        self._loops: dict[int, Callable[[], Any]] = {}

    def found(self) -> dict[int, Any]:
        """
        Thread ident -> loop, of the loops that are known and run.
        """
        alive = {ident: loop() for ident, loop in self._loops.items()}
        running = {ident: loop for ident, loop in alive.items() if loop is not None and loop.is_running()}
        if len(running) != len(alive):
            self._loops = {ident: self._loops[ident] for ident in running}
        return running

    def add(self, ident: int, loop: Any) -> None:
        """
        Tell of a loop that runs in a thread.
        """
        self._loops[ident] = weakref.ref(loop)

    def search(self, frames: dict[int, FrameType]) -> dict[int, Any]:
        """
        Look for loops in the threads that had none, and return all that run.
        """
        running = self.found()
        for ident, frame in frames.items():
            if ident not in running:
                loop = _loop_in(frame)
                if loop is not None:
                    running[ident] = loop
                    self.add(ident, loop)
        return running


def _loop_in(frame: FrameType | None) -> Any:
    leaf = frame
    while frame is not None:
        names = _RUNNERS.get(frame.f_code.co_qualname)
        if names is not None:
            loop = frame.f_locals.get("self")
            for name in names:
                loop = getattr(loop, name, None)
            if _runs(loop):
                return loop
        frame = frame.f_back
    return _compiled_loop(leaf) if "uvloop" in sys.modules else None


def _compiled_loop(frame: FrameType | None) -> Any:
    """
    A loop without frames of its own: a variable of one of the functions that called it.
    """
    kind = getattr(sys.modules["uvloop"], "Loop", None)
    while frame is not None and kind is not None:
        for value in frame.f_locals.values():
            if isinstance(value, kind) and _runs(value):
                return value
        frame = frame.f_back
    return None


def _runs(loop: Any) -> bool:
    return (
        hasattr(type(loop), "is_running") and hasattr(type(loop), "call_soon") and loop.is_running() is True
    )


class TaskSource:
    """
    Weak references to every task of this interpreter.

    Args:
        finder: knows the loops, which Python 3.14 and newer need.
        tasks: the module ``asyncio.tasks``.
    """

    def __init__(self, finder: LoopFinder, tasks: ModuleType) -> None:
        self._finder = finder
        self._sets = [
            found
            for name in ("_all_tasks", "_scheduled_tasks")
            if (found := getattr(tasks, name, None)) is not None
        ]
        self._eager = getattr(tasks, "_eager_tasks", None)
        self._all_tasks: Callable[[Any], Iterable[Any]] | None = None
        if sys.version_info >= (3, 14):
            self._all_tasks = tasks.all_tasks

    def references(self, frames: dict[int, FrameType]) -> list[Callable[[], Any]]:
        """
        A reference to each task, some of which may be done.
        """
        found: list[Callable[[], Any]] = []
        for tasks in self._sets:
            found.extend(list(tasks.data))
        if self._eager:
            found.extend([weakref.ref(task) for task in list(self._eager)])
        if self._all_tasks is not None:
            for loop in self._finder.search(frames).values():
                found.extend([weakref.ref(task) for task in self._all_tasks(loop)])
        return found
