"""
Who holds the lock that a task waits for; it is read once, when a trace ends or is reported on.

An ``asyncio.Lock`` knows which tasks wait for it, but not which one holds it. A coroutine that is suspended
within ``async with lock:`` does: its frame keeps the lock's ``__aexit__`` for the way out, and shows it to
the garbage collector. So what is found is certain. Two kinds of holders are not found: a task that took the
lock by ``acquire()`` alone, and an asynchronous generator.

No code of the program is called, and only names are kept.
"""

from __future__ import annotations

import gc
import sys
from collections import deque
from collections.abc import Callable, Iterator
from itertools import pairwise
from types import CoroutineType, FrameType, MethodType
from typing import Any

from fgtrace._sampling.collect.task_discovery import LoopFinder, TaskSource

__all__ = ["find_holders", "lock_holders"]

#: Links that are followed at most: no real chain has as many, but a chain that is a circle has.
LONGEST_CHAIN = 2000
#: Tasks that are read at most: each takes some microseconds.
MOST_TASKS = 20_000


def find_holders(finder: LoopFinder, frames: dict[int, FrameType]) -> list[tuple[str, str]]:
    """
    Return the pairs of `lock_holders` for all tasks.

    Args:
        finder: knows the running loops.
        frames: ``sys._current_frames()``.
    """
    tasks = sys.modules.get("asyncio.tasks")
    if tasks is None or not hasattr(tasks, "_GatheringFuture"):  # it is not imported, or only in part
        return []
    found = (reference() for reference in TaskSource(finder, tasks).references(frames)[:MOST_TASKS])
    return lock_holders([task for task in found if isinstance(task, (tasks.Task, tasks._PyTask))])


def lock_holders(tasks: list[Any]) -> list[tuple[str, str]]:
    """
    Return the name of each task that waits for a lock, with the name of the task that holds it.
    """
    locks = sys.modules["asyncio.locks"]
    waited = {id(task): (task, lock) for task in tasks if (lock := _waits_for(task, locks)) is not None}
    wanted = {id(lock) for _, lock in waited.values()}
    held: dict[int, Any] = {}
    for task in tasks if wanted else ():
        entered = [id(lock) for lock in _entered(task, locks) if id(lock) in wanted]
        missing = waited.get(id(task))
        if missing is not None and id(missing[1]) in entered:  # this is the lock that it is about to enter
            entered.remove(id(missing[1]))
        held.update(dict.fromkeys(entered, task))
    return [
        (_name(task), _name(held[id(lock)]))
        for task, lock in waited.values()
        if id(lock) in held and _waits_for(task, locks) is lock  # else the task has moved on meanwhile
    ]


def _name(task: Any) -> str:
    name: str = task.get_name()
    return name


def _chain(task: Any) -> Iterator[Any]:
    link = task.get_coro()
    for _ in range(LONGEST_CHAIN):
        if type(link) is not CoroutineType:
            return
        yield link
        link = link.cr_await


def _waits_for(task: Any, locks: Any) -> Any:
    """
    Return the lock that a task waits for, or None.
    """
    waiter = task._fut_waiter
    if waiter is None or waiter.done():
        return None
    last = next(iter(deque(_chain(task), maxlen=1)), None)
    if last is None or last.cr_code is not locks.Lock.acquire.__code__:
        return None
    found = (held for held in gc.get_referents(last) if isinstance(held, locks.Lock))
    return next((lock for lock in found if waiter in (lock._waiters or ())), None)


def _entered(task: Any, locks: Any) -> Iterator[Any]:
    """
    Yield the locks in whose ``async with`` a task is, or which it is about to enter.
    """
    leave: Callable[..., Any] = locks._ContextManagerMixin.__aexit__
    for coro in _chain(task):
        for held, following in pairwise((*gc.get_referents(coro), None)):
            if type(held) is MethodType and held.__func__ is leave:
                yield held.__self__
            elif held is leave:  # from 3.14 on, the function is followed by the lock
                yield following
