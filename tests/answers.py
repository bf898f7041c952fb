"""
Programs of which it is known where their time goes: each tells what it measured of itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

__all__ = ["PROGRAMS", "Known", "blocking", "chain", "deadlock", "locked", "pooled"]


@dataclass
class Known:
    """
    What a program measured: name -> seconds, one for each time.
    """

    times: dict[str, list[float]] = field(default_factory=dict)

    async def measure(self, name: str, wait: Awaitable[object]) -> None:
        """
        Await something, and note how long it took.
        """
        start = time.perf_counter()
        await wait
        self.add(name, time.perf_counter() - start)

    def add(self, name: str, seconds: float) -> None:
        self.times.setdefault(name, []).append(seconds)

    def total(self, name: str) -> int:
        """
        All times of a name together, ns.
        """
        return round(sum(self.times[name]) * 1e9)


async def locked(known: Known) -> None:
    """
    One task holds a lock for three times 50 ms, while ten wait for it.
    """
    lock = asyncio.Lock()

    async def hold() -> None:
        for _ in range(3):
            async with lock:
                await known.measure("held", asyncio.sleep(0.05))

    async def want(number: int) -> None:
        for _ in range(3):
            await known.measure(f"waited {number}", lock.acquire())
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
        start = time.perf_counter()
        time.sleep(0.2)
        known.add("blocked", time.perf_counter() - start)
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

    async def both(one: asyncio.Lock, other: asyncio.Lock) -> None:
        async with one:
            await asyncio.sleep(0.02)
            async with other:
                raise AssertionError("they wait for each other")

    tasks = [
        asyncio.create_task(both(first, second), name="left"),
        asyncio.create_task(both(second, first), name="right"),
    ]
    await known.measure("stuck", asyncio.wait(tasks, timeout=0.2))


PROGRAMS: dict[str, Callable[[Known], Awaitable[None]]] = {
    each.__name__: each for each in (locked, blocking, pooled, chain, deadlock)
}
