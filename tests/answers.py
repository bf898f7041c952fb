"""
Programs of which it is known where their time goes: each tells what it measured of itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["PROGRAMS", "Known", "Span", "blocking", "chain", "deadlock", "locked", "pooled"]


class Span(NamedTuple):
    """
    What a task measured: its name, and from when to when (ns on the machine's clock).
    """

    task: str
    start: int
    end: int


@dataclass
class Known:
    """
    What a program measured: name -> one span for each time.
    """

    spans: dict[str, list[Span]] = field(default_factory=dict)
    began: dict[str, Span] = field(default_factory=dict)
    kept: list[object] = field(default_factory=list, repr=False)

    async def measure(self, name: str, wait: Awaitable[object]) -> None:
        """
        Await something, and note from when to when.
        """
        self.begin(name)
        start = self.began.pop(name)
        await wait
        self.end(name, start)

    def begin(self, name: str) -> None:
        """
        Note that something begins.
        """
        now = time.perf_counter_ns()
        self.began[name] = Span(_name(), now, now)

    def end(self, name: str, began: Span | None = None) -> None:
        """
        Note that it is over.
        """
        began = began or self.began.pop(name)
        self.spans.setdefault(name, []).append(began._replace(end=time.perf_counter_ns()))

    def lengths(self, name: str) -> list[int]:
        """
        How long each time of a name was, ns.
        """
        return [span.end - span.start for span in self.spans[name]]

    def total(self, name: str) -> int:
        """
        All times of a name together, ns.
        """
        return sum(self.lengths(name))


def _name() -> str:
    task = asyncio.current_task()
    assert task is not None
    return task.get_name()


async def locked(known: Known) -> None:
    """
    One task holds a lock for three times 50 ms, while ten wait for it.
    """
    lock = asyncio.Lock()

    async def hold() -> None:
        for _ in range(3):
            known.begin("holding")  # from before it has it, to after
            async with lock:
                while len(lock._waiters or ()) < 10:  # so each of them waits for the whole of the sleep
                    await asyncio.sleep(0)
                await known.measure("held", asyncio.sleep(0.05))
            known.end("holding")

    async def want(number: int) -> None:
        for _ in range(3):
            await known.measure(f"waiter {number}", lock.acquire())
            lock.release()

    async with asyncio.TaskGroup() as group:
        group.create_task(hold(), name="holder")
        for number in range(10):
            group.create_task(want(number), name=f"waiter {number}")


async def blocking(known: Known) -> None:
    """
    A handler sleeps for 200 ms without `await`, while five others are ready.
    """

    async def other() -> None:
        await asyncio.sleep(0)

    async def handler() -> None:
        others = [asyncio.create_task(other()) for _ in range(5)]
        known.begin("blocked")
        time.sleep(0.2)
        known.end("blocked")
        await asyncio.gather(*others)

    await asyncio.sleep(0.02)
    await asyncio.create_task(handler(), name="bad")
    await asyncio.sleep(0.02)


class Pool:
    """
    Two connections.
    """

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(2)

    async def get(self) -> None:
        await self._free.acquire()

    def put(self) -> None:
        self._free.release()


async def pooled(known: Known) -> None:
    """
    Twenty requests share a pool of two, each for 20 ms.
    """
    pool = Pool()

    async def request() -> None:
        await known.measure("waited", pool.get())
        await known.measure("used", asyncio.sleep(0.02))
        pool.put()

    await asyncio.gather(*(request() for _ in range(20)))


async def chain(known: Known) -> None:
    """
    A task group, of which one task waits for a gather, of which the longest sleeps.
    """

    async def short() -> None:
        await asyncio.sleep(0.03)

    async def long() -> None:
        await known.measure("slept", asyncio.sleep(0.15))

    async def middle() -> None:
        await known.measure("gathered", asyncio.gather(short(), long()))

    async def outer() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(short())
            group.create_task(middle(), name="middle")

    await known.measure("all", asyncio.create_task(outer(), name="outer"))


async def deadlock(known: Known) -> None:
    """
    Two tasks hold a lock each, and wait for the other's, until they are cancelled.
    """
    first, second = asyncio.Lock(), asyncio.Lock()

    async def both(name: str, one: asyncio.Lock, other: asyncio.Lock) -> None:
        async with one:
            await asyncio.sleep(0.02)
            known.begin(name)
            async with other:
                raise AssertionError("they wait for each other")

    tasks = [
        asyncio.create_task(both("left", first, second), name="left"),
        asyncio.create_task(both("right", second, first), name="right"),
    ]
    known.kept.extend(tasks)  # else the collector may come to them before the trace ends
    await known.measure("stuck", asyncio.wait(tasks, timeout=0.2))
    for name in ("left", "right"):  # they wait until the end
        known.end(name)


PROGRAMS: dict[str, Callable[[Known], Awaitable[None]]] = {
    each.__name__: each for each in (locked, blocking, pooled, chain, deadlock)
}
