"""
Kinds of coroutines and awaitables, each as a situation for a task (see `situations`).

Each naps first, and then waits for good, in another state and through a chain of its own shape.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from situations import Corpus
from tick_count import Ticks

__all__ = ["corpus", "get", "nap"]

corpus = Corpus()
kind = corpus

INLINED = sys.version_info >= (3, 12)  # comprehensions have no frame of their own, wait_for no task


async def nap() -> None:
    """
    Sleep until every trace that runs has seen it.
    """
    ticks = Ticks(20)
    while not ticks.have_passed():
        await asyncio.sleep(0.2)


async def get() -> int:
    """
    Wait for an item of a queue that never gets one.
    """
    return await asyncio.Queue[int]().get()  # waits


async def items() -> AsyncIterator[int]:
    yield 0
    yield await get()


async def stubborn() -> AsyncIterator[int]:
    try:
        yield 0
    finally:
        await asyncio.Event().wait()  # waits


@kind("queue wait", "asyncio.Queue", "get", "Queue.get")
async def coroutine() -> None:
    await nap()
    await get()


@types.coroutine
def stepping() -> Generator[Any, None, int]:
    return (yield from get().__await__())


@kind("queue wait", "asyncio.Queue", "stepping", "get", "Queue.get")
async def generator() -> None:
    await nap()
    await stepping()


@kind("queue wait", "asyncio.Queue", "items", "get", "Queue.get")
async def async_generator() -> None:
    await nap()
    async for _ in items():
        pass


@kind("queue wait", "asyncio.Queue", "items", "get", "Queue.get")
async def asend() -> None:
    await nap()
    found: Any = items()
    await found.asend(None)
    await found.asend(1)


@kind("event wait", "asyncio.Event", "stubborn", "Event.wait")
async def athrow() -> None:
    await nap()
    found: Any = stubborn()
    await anext(found)
    await found.athrow(ZeroDivisionError)


@kind("event wait", "asyncio.Event", "stubborn", "Event.wait")
async def aclose() -> None:
    await nap()
    found: Any = stubborn()
    await anext(found)
    await found.aclose()


@kind("queue wait", "asyncio.Queue", "items", "get", "Queue.get")
async def anext_default() -> None:
    await nap()
    found = items()
    await anext(found)
    await anext(found, 0)


async def around(inner: AsyncIterator[int]) -> AsyncIterator[int]:
    async for each in inner:
        yield each


@kind("queue wait", "asyncio.Queue", "around", "around", "items", "get", "Queue.get")
async def nested_generators() -> None:
    await nap()
    async for _ in around(around(items())):
        pass


@kind("queue wait", "asyncio.Queue", "...")
async def comprehension() -> None:
    await nap()
    assert [each async for each in items()]


@asynccontextmanager
async def entering() -> AsyncIterator[None]:
    await asyncio.Semaphore(0).acquire()  # waits
    yield


@asynccontextmanager
async def leaving() -> AsyncIterator[None]:
    yield
    await asyncio.Semaphore(0).acquire()  # waits


@kind(
    "lock wait",
    "asyncio.Semaphore",
    "_AsyncGeneratorContextManager.__aenter__",
    "entering",
    "Semaphore.acquire",
)
async def context_manager() -> None:
    await nap()
    async with entering():
        pass


@kind(
    "lock wait",
    "asyncio.Semaphore",
    "_AsyncGeneratorContextManager.__aexit__",
    "leaving",
    "Semaphore.acquire",
)
async def context_exit() -> None:
    await nap()
    async with leaving():
        pass


@kind(
    "lock wait",
    "asyncio.Semaphore",
    "AsyncExitStack.enter_async_context",
    "*.__aenter__",
    "entering",
    "*.acquire",
)
async def exit_stack() -> None:
    await nap()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(entering())


class Door:
    """
    A context manager of its own, whose exit waits in a method.
    """

    async def __aenter__(self) -> None:
        return

    async def __aexit__(self, *_: object) -> None:
        await self.shut()

    async def shut(self) -> None:
        await asyncio.Event().wait()  # waits


@kind("event wait", "asyncio.Event", "Door.__aexit__", "Door.shut", "Event.wait")
async def context_class() -> None:
    await nap()
    async with Door():
        pass


class Promise:
    """
    An awaitable whose ``__await__`` is a generator.
    """

    def __await__(self) -> Generator[Any, None, Any]:
        return (yield from asyncio.get_running_loop().create_future())  # waits


class Wrapped:
    """
    An awaitable whose ``__await__`` is that of a coroutine.
    """

    def __await__(self) -> Generator[Any, None, Any]:
        return get().__await__()


@kind("future wait", "asyncio.Future", "Promise.__await__")
async def awaitable() -> None:
    await nap()
    await Promise()


@kind("queue wait", "asyncio.Queue", "get", "Queue.get")
async def awaitable_coroutine() -> None:
    await nap()
    await Wrapped()


def retried(function: Callable[[], Awaitable[Any]]) -> Callable[[], Coroutine[Any, Any, Any]]:
    @functools.wraps(function)
    async def wrapper() -> Any:
        return await function()

    return wrapper


@kind("queue wait", "asyncio.Queue", "retried.<locals>.wrapper", "get", "Queue.get")
async def decorated() -> None:
    await nap()
    await functools.partial(retried(get))()


@kind("event wait", "asyncio.Event", "descend", "descend", "descend", "Event.wait")
async def recursion() -> None:
    await nap()
    await descend(3)


async def descend(levels: int) -> None:
    if levels > 1:
        await descend(levels - 1)
    await asyncio.Event().wait()  # waits


@kind("task wait", "asyncio.gather")
async def gather() -> None:
    await nap()
    await asyncio.gather(get(), get())  # waits


@kind("task wait", "asyncio.wait", "tasks.wait", "tasks._wait")
async def wait() -> None:
    await nap()
    child = asyncio.create_task(get())
    try:
        await asyncio.wait({child})  # waits
    finally:
        child.cancel()


@kind("task wait", "asyncio.as_completed", "*_wait_for_one", "Queue.get")
async def as_completed() -> None:
    await nap()
    child = asyncio.create_task(get())
    try:
        for each in asyncio.as_completed([child]):
            await each  # waits
    finally:
        child.cancel()


@kind("task wait", "asyncio.TaskGroup", "TaskGroup.__aexit__", "...")
async def task_group() -> None:
    await nap()
    async with asyncio.TaskGroup() as group:  # waits
        group.create_task(get())


@kind("queue wait", "asyncio.Queue", "get", "Queue.get")
async def timeout() -> None:
    await nap()
    async with asyncio.timeout(60), asyncio.timeout(60):
        await get()


@kind("task wait", "asyncio.Task")
async def shield() -> None:
    await nap()
    child = asyncio.create_task(get())
    try:
        await asyncio.shield(child)  # waits
    finally:
        child.cancel()


@kind(
    *(
        ("queue wait", "asyncio.Queue", "wait_for", "get", "*.get")
        if INLINED
        else ("task wait", "asyncio.Task", "wait_for")
    )
)
async def wait_for() -> None:
    await nap()
    await asyncio.wait_for(get(), 60)  # waits in 3.11


class Proxy(Coroutine[Any, Any, Any]):
    """
    A coroutine made by hand, as some libraries have them.
    """

    def __init__(self, inner: Coroutine[Any, Any, Any]) -> None:
        self.inner = inner

    @property
    def cr_await(self) -> None:
        raise RuntimeError("a tracer runs no code of the program")

    cr_frame = cr_running = ag_await = gi_yieldfrom = cr_await

    def send(self, value: Any) -> Any:
        return self.inner.send(value)

    def throw(self, *args: Any) -> Any:
        return self.inner.throw(*args)

    def close(self) -> None:
        self.inner.close()

    def __await__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def __iter__(self) -> Any:
        return self


@kind("queue wait", "asyncio.Queue", "get", "Queue.get")
async def proxy() -> None:
    await nap()
    await Proxy(Proxy(get()))
