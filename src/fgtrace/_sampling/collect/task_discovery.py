"""
Finds the tasks and the loops of this interpreter, by version, without a list of its own.

Python 3.11 keeps every task in one weak set; 3.12 and 3.13 keep it for tasks that have been
scheduled and add a set of eager tasks in their first step. Both serve all loops, so the loops
are found through the tasks. From 3.14 on a native task is in a list of its thread that only
``asyncio.all_tasks(loop)`` reads, so the loops must be known first. They are found in the
threads' stacks: in the frames of the functions that run a loop, by name, or near the variables
of the function that called a compiled loop.

Only references are returned: weak ones, whose identity is safe to compare, since a task and its
first plain weak reference live and die together in our records.
"""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Callable, Iterable
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

__all__ = ["LoopFinder", "TaskSource", "remember_running_loop"]

#: qualname of a function that runs a loop -> the path from its ``self`` to the loop.
_RUNNERS: dict[str, tuple[str, ...]] = {
    "BaseEventLoop.run_forever": (),
    "Runner.run": ("_loop",),
}
#: How far from a variable a loop is looked for, and among how many objects: an attribute, the
#: ``__self__`` of a bound method, a partial of one.
FARTHEST, MOST_NEAR = 4, 300
_PLAIN = frozenset((
    bool, bytes, dict, float, frozenset, int, list, set, str, tuple, type, type(None),
    CodeType, FrameType, FunctionType, ModuleType,
))  # fmt: skip
#: What a function calls by that may call a compiled loop: itself, as a thread's or executor's job.
_CALLERS = frozenset(("run_forever", "run_until_complete", "_target", "fn"))

#: Thread ident -> a loop that ran there when it was told of.
_told: dict[int, Callable[[], Any]] = {}


def remember_running_loop() -> None:
    """
    Tell every finder to come of the loop that runs in this thread: a trace that another thread starts
    could not always find it, since a compiled loop leaves no frame.
    """
    events = sys.modules.get("asyncio.events")
    loop = events._get_running_loop() if events is not None else None
    if loop is not None:
        _told[threading.get_ident()] = weakref.ref(loop)
        for ident, told in tuple(_told.items()):
            if told() is None:
                _told.pop(ident, None)


class LoopFinder:
    """
    Finds the running event loop of each thread in that thread's frames.
    """

    def __init__(self) -> None:
        self._loops: dict[int, Callable[[], Any]] = dict(_told)
        self._barren: dict[int, set[tuple[int, int, int]]] = {}

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
                loop = self._search(ident, frame)
                if loop is not None:
                    running[ident] = loop
                    self.add(ident, loop)
        if len(self._barren) > len(frames):
            self._barren = {ident: places for ident, places in self._barren.items() if ident in frames}
        return running

    def _search(self, ident: int, frame: FrameType | None) -> Any:
        """
        The loop that one thread runs: a frame is looked at once for each call that it makes.
        """
        known = self._barren.get(ident, ())
        barren = set()
        while frame is not None:
            place = (id(frame), id(frame.f_code), frame.f_lasti)  # an address alone is soon another's
            loop = None if place in known else _loop_of(frame)
            if loop is None:
                barren.add(place)
            elif _runs(loop):
                return loop
            frame = frame.f_back
        self._barren[ident] = barren
        return None


def _loop_of(frame: FrameType) -> Any:
    """
    The loop that a function may be running just now.
    """
    code = frame.f_code
    names = _RUNNERS.get(code.co_qualname)
    if names is not None:
        loop = frame.f_locals.get("self")
        for name in names:
            loop = getattr(loop, name, None)
        return loop
    if "uvloop" in sys.modules and not _CALLERS.isdisjoint(code.co_names):
        kind = getattr(sys.modules["uvloop"], "Loop", None)
        named = [frame.f_globals[name] for name in code.co_names if name in frame.f_globals]
        return _near([*frame.f_locals.values(), *named], kind) if kind is not None else None
    return None


def _near(values: list[Any], kind: type) -> Any:
    """
    An object of this kind among the values, or held by one: as an attribute, by a bound method.
    """
    line = [(value, 0) for value in values]
    for value, depth in line:
        if issubclass(type(value), kind):
            return value
        is_open = type(value) not in _PLAIN or (depth == 1 and type(value) is dict)
        if is_open and depth < FARTHEST and len(line) < MOST_NEAR:
            line.extend((held, depth + 1) for held in gc.get_referents(value)[:MOST_NEAR])
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
        found = self.listed()
        if self._all_tasks is not None:
            for loop in self._finder.search(frames).values():
                found.extend([weakref.ref(task) for task in self._all_tasks(loop)])
        return found

    def listed(self) -> list[Callable[[], Any]]:
        """
        A reference to each task in asyncio's sets: from 3.14 on those that are not native.
        """
        found: list[Callable[[], Any]] = []
        for tasks in self._sets:
            found.extend(list(tasks.data))
        if self._eager:
            found.extend([weakref.ref(task) for task in list(self._eager)])
        return found
