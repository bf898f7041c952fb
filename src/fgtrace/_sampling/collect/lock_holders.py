"""
Who holds the lock that a task waits for: asked once, when a trace ends or is reported on.

An ``asyncio.Lock`` knows who waits, but not who holds it. A coroutine that is suspended within
``async with lock:`` does: its frame keeps the lock's ``__aexit__`` for the way out, and shows it to the
garbage collector. So what is found is certain. What is not: a lock that was taken by ``acquire()``
alone, and one that an asynchronous generator holds.

Nothing of the program is called, and nothing kept but names.
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

#: No real chain is as long; a chain that bites its own tail is.
LONGEST_CHAIN = 2000
#: Tasks that are looked at: some microseconds each.
MOST_TASKS = 20_000


def find_holders(finder: LoopFinder, frames: dict[int, FrameType]) -> list[tuple[str, str]]:
    """
    As `lock_holders`, of all tasks.

    Args:
        finder: knows the loops.
        frames: ``sys._current_frames()``.
    """
    tasks = sys.modules.get("asyncio.tasks")
    if tasks is None or not hasattr(tasks, "_GatheringFuture"):  # not there, or half imported
        return []
    found = (reference() for reference in TaskSource(finder, tasks).references(frames)[:MOST_TASKS])
    return lock_holders([task for task in found if isinstance(task, (tasks.Task, tasks._PyTask))])


def lock_holders(tasks: list[Any]) -> list[tuple[str, str]]:
    """
    The name of each task that waits for a lock, and of the one that holds it.
    """
    locks = sys.modules["asyncio.locks"]
    waited = {id(task): (task, lock) for task in tasks if (lock := _waits_for(task, locks)) is not None}
    wanted = {id(lock) for _, lock in waited.values()}
    held: dict[int, Any] = {}
    for task in tasks if wanted else ():
        entered = [id(lock) for lock in _entered(task, locks) if id(lock) in wanted]
        missing = waited.get(id(task))
        if missing is not None and id(missing[1]) in entered:  # it is on the way to this one
            entered.remove(id(missing[1]))
        held.update(dict.fromkeys(entered, task))
    return [
        (_name(task), _name(held[id(lock)]))
        for task, lock in waited.values()
        if id(lock) in held and _waits_for(task, locks) is lock  # else something moved meanwhile
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
    The lock that a task waits for, or None.
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
    The locks in whose ``async with`` a task is, or to which it is on the way.
    """
    leave: Callable[..., Any] = locks._ContextManagerMixin.__aexit__
    for coro in _chain(task):
        for held, following in pairwise((*gc.get_referents(coro), None)):
            if type(held) is MethodType and held.__func__ is leave:
                yield held.__self__
            elif held is leave:  # from 3.14 on function and object lie there side by side
                yield following
