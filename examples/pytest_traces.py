"""
Three tests, of which one is slow: why?

    pytest --fgtrace --fgtrace-when=slow examples/pytest_traces.py

The summary names the trace of the slow test; https://ui.perfetto.dev shows that the test waits for a lock,
which the task `holder` has.
"""

import asyncio

import pytest


@pytest.fixture
def lock() -> asyncio.Lock:
    return asyncio.Lock()


async def hold(lock: asyncio.Lock, seconds: float) -> None:
    async with lock:
        await asyncio.sleep(seconds)


async def use(lock: asyncio.Lock) -> str:
    async with lock:
        return "used"


def test_free(lock: asyncio.Lock) -> None:
    assert asyncio.run(use(lock)) == "used"


def test_held(lock: asyncio.Lock) -> None:
    async def both() -> None:
        holder = asyncio.create_task(hold(lock, 1.2), name="holder")
        await asyncio.sleep(0)
        assert await use(lock) == "used"
        await holder

    asyncio.run(both())


@pytest.mark.parametrize("seconds", [0, 0.01])
def test_short(lock: asyncio.Lock, seconds: float) -> None:
    asyncio.run(hold(lock, seconds))
