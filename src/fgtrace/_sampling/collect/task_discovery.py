"""
The tasks and the loops of this interpreter, found without a list of our own.

Python 3.11 keeps every task in one weak set. 3.12 and 3.13 keep tasks that have been scheduled in it, and
have another set of eager tasks in their first step. These sets serve all loops, so loops are found through
the tasks. From 3.14 on a native task is in a list of its thread that only ``asyncio.all_tasks(loop)`` reads,
so the loops must be known first. They are found in the threads' stacks: in the frames of the functions that
run a loop, by name, or near the variables of the function that called a compiled loop.

Tasks are returned by weak reference. Its identity may be compared: a task and its first plain weak reference
live and die together in our records.
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
#: Steps from a variable within which a loop is searched for, and objects among which: an attribute, the
#: ``__self__`` of a bound method, a partial of one.
FARTHEST, MOST_NEAR = 4, 300
_PLAIN = frozenset((
    bool, bytes, dict, float, frozenset, int, list, set, str, tuple, type, type(None),
    CodeType, FrameType, FunctionType, ModuleType,
))  # fmt: skip
#: The names by which a function calls a compiled loop: itself, or as the job of a thread or an executor.
_CALLERS = frozenset(("run_forever", "run_until_complete", "_target", "fn"))

#: Thread ident -> a loop that ran there when it was remembered.
_running_somewhere: dict[int, Callable[[], Any]] = {}


def remember_running_loop() -> None:
    """
    Tell every finder that is made later of the loop that runs in this thread. A trace that another thread
    starts could not always find it, since a compiled loop leaves no frame.
    """
    events = sys.modules.get("asyncio.events")
    loop = events._get_running_loop() if events is not None else None
    if loop is not None:
        _running_somewhere[threading.get_ident()] = weakref.ref(loop)
        for ident, told in tuple(_running_somewhere.items()):
            if told() is None:
                _running_somewhere.pop(ident, None)


class LoopFinder:
    """
    Find the running event loop of each thread.
    """

    def __init__(self) -> None:
        self._loops: dict[int, Callable[[], Any]] = dict(_running_somewhere)
        self._searched: dict[int, set[tuple[int, int, int]]] = {}

    def running_loops(self) -> dict[int, Any]:
        """
        Return the loops that are known and run, by the ident of their thread.
        """
        alive = {ident: loop() for ident, loop in self._loops.items()}
        running = {ident: loop for ident, loop in alive.items() if loop is not None and loop.is_running()}
        if len(running) != len(alive):
            self._loops = {ident: self._loops[ident] for ident in running}
        return running

    def add(self, ident: int, loop: Any) -> None:
        """
        Tell the finder of a loop that runs in the thread with this ident.
        """
        self._loops[ident] = weakref.ref(loop)

    def search(self, frames: dict[int, FrameType]) -> dict[int, Any]:
        """
        Search the threads that had no loop, and return all loops that run, by the ident of their thread.

        Args:
            frames: ``sys._current_frames()``.
        """
        running = self.running_loops()
        for ident, frame in frames.items():
            if ident not in running:
                loop = self._search(ident, frame)
                if loop is not None:
                    running[ident] = loop
                    self.add(ident, loop)
        if len(self._searched) > len(frames):
            self._searched = {ident: places for ident, places in self._searched.items() if ident in frames}
        return running

    def _search(self, ident: int, frame: FrameType | None) -> Any:
        """
        Return the loop that one thread runs, or None. A frame is searched once for each call that it makes.
        """
        known = self._searched.get(ident, ())
        searched = set()
        while frame is not None:
            place = (
                id(frame),
                id(frame.f_code),
                frame.f_lasti,
            )  # an address alone may soon be another frame's
            loop = None if place in known else _loop_of(frame)
            if loop is None:
                searched.add(place)
            elif _is_running_loop(loop):
                return loop
            frame = frame.f_back
        self._searched[ident] = searched
        return None


def _loop_of(frame: FrameType) -> Any:
    """
    Return the loop that a function may be running just now, or None.
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
        return _find_near([*frame.f_locals.values(), *named], kind) if kind is not None else None
    return None


def _find_near(values: list[Any], kind: type) -> Any:
    """
    Return an object of a type among values, or held by one of them: as an attribute, by a bound method. None
    if there is none within `FARTHEST` steps and `MOST_NEAR` objects.
    """
    line = [(value, 0) for value in values]
    for value, depth in line:
        if issubclass(type(value), kind):
            return value
        is_open = type(value) not in _PLAIN or (depth == 1 and type(value) is dict)
        if is_open and depth < FARTHEST and len(line) < MOST_NEAR:
            line.extend((held, depth + 1) for held in gc.get_referents(value)[:MOST_NEAR])
    return None


def _is_running_loop(loop: Any) -> bool:
    return (
        hasattr(type(loop), "is_running") and hasattr(type(loop), "call_soon") and loop.is_running() is True
    )


class TaskSource:
    """
    Find every task of this interpreter.

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
        Return a weak reference to each task; some of them may be done.

        Args:
            frames: ``sys._current_frames()``.
        """
        found = self.listed()
        if self._all_tasks is not None:
            for loop in self._finder.search(frames).values():
                found.extend([weakref.ref(task) for task in self._all_tasks(loop)])
        return found

    def listed(self) -> list[Callable[[], Any]]:
        """
        Return a weak reference to each task in asyncio's sets: from 3.14 on those that are not native.
        """
        found: list[Callable[[], Any]] = []
        for tasks in self._sets:
            found.extend(list(tasks.data))
        if self._eager:
            found.extend([weakref.ref(task) for task in list(self._eager)])
        return found
