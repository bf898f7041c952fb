"""
Who holds the lock that a task waits for: asked of live tasks, on every Python, whatever the core.
"""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import fgtrace
from fgtrace._formats.read import open_trace
from fgtrace._model.values import LOCK_HELD
from fgtrace._sampling.collect.lock_holders import lock_holders

Lock = asyncio.Lock
Work = Callable[[], Awaitable[object]]


async def forever() -> None:
    await asyncio.Event().wait()


async def hold(lock: Lock, then: Work = forever) -> None:
    async with lock:
        await then()


async def hold_deeply(lock: Lock) -> None:
    await hold(lock, lambda: asyncio.wait_for(forever(), 60))


async def hold_twice(lock: Lock) -> None:
    async with lock, lock:
        raise AssertionError("nobody gets a lock twice")


async def acquire(lock: Lock) -> None:
    await lock.acquire()
    await forever()


@asynccontextmanager
async def entered(lock: Lock) -> AsyncIterator[None]:
    async with lock:
        yield


async def hold_in_a_generator(lock: Lock) -> None:
    async with entered(lock):
        await forever()


async def has_left(lock: Lock) -> None:
    async with lock:
        await asyncio.sleep(0)
    await lock.acquire()
    await forever()


def found(*works: tuple[str, Awaitable[None]], turns: int = 5) -> list[tuple[str, str]]:
    """
    Start tasks in turn, each so many turns of the loop after the one before, and ask when all of them wait.
    """

    async def main() -> list[tuple[str, str]]:
        tasks = []
        for name, work in works:
            tasks.append(asyncio.ensure_future(work))
            tasks[-1].set_name(name)
            for _ in range(turns):
                await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)
        holders = lock_holders(tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return sorted(holders)

    return asyncio.run(main())


@pytest.mark.parametrize("holder", [hold, hold_deeply], ids=["itself", "deeply"])
def test_held(holder: Callable[[Lock], Awaitable[None]]) -> None:
    """
    The one within `async with` holds it, wherever it waits there; all others wait for it.
    """
    lock, other = Lock(), Lock()
    works = ("a", holder(lock)), ("b", hold(lock)), ("c", acquire(lock)), ("d", holder(other))
    assert found(*works) == [("b", "a"), ("c", "a")]


@pytest.mark.parametrize(
    "holder", [acquire, hold_in_a_generator, has_left], ids=["acquire", "generator", "left"]
)
def test_not_known(holder: Callable[[Lock], Awaitable[None]]) -> None:
    """
    Where no frame shows it, nobody is named.
    """
    lock = Lock()
    assert found(("a", holder(lock)), ("b", hold(lock))) == []


def test_himself() -> None:
    """
    A lock cannot be taken twice: who tries waits for himself.
    """
    assert found(("a", hold_twice(Lock()))) == [("a", "a")]


def test_each_other() -> None:
    """
    Two that took two locks the other way round.
    """
    one, two = Lock(), Lock()

    async def both(first: Lock, second: Lock) -> None:
        async def then() -> None:
            await asyncio.sleep(0)
            await hold(second)

        await hold(first, then)

    assert found(("a", both(one, two)), ("b", both(two, one)), turns=0) == [("a", "b"), ("b", "a")]


@pytest.mark.usefixtures("core")
@pytest.mark.parametrize("names", [("a", "b"), ("same", "same")], ids=["names", "one-name"])
def test_flags(names: tuple[str, str], tmp_path: Path) -> None:
    """
    A trace flags who waits for a lock at its end; not where the name is another task's as well.
    """

    async def main() -> None:
        lock = Lock()
        with fgtrace.trace(tmp_path / "t.json"):
            tasks = [asyncio.create_task(hold(lock), name=name) for name in ("holder", *names)]
            await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    flags = [flag for flag in open_trace(tmp_path / "t.json").instants() if flag.name == LOCK_HELD]
    said = {(flag.track.name.partition(" ")[0], dict(flag.args)["by"]) for flag in flags}
    assert said == ({("a", "holder"), ("b", "holder")} if names[0] != names[1] else set())


def test_nothing_is_kept() -> None:
    """
    Neither tasks nor locks are kept alive by having been looked at.
    """

    async def main() -> tuple[weakref.ref[Lock], weakref.ref[asyncio.Task[None]]]:
        lock = Lock()
        tasks = [asyncio.create_task(hold(lock)) for _ in range(2)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert lock_holders(tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return weakref.ref(lock), weakref.ref(tasks[0])

    references = asyncio.run(main())
    gc.collect()
    assert [reference() for reference in references] == [None, None]
