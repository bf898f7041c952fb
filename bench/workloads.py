"""
The programs that are timed: run as ``python workloads.py NAME SEGMENTS HZ``.

One process runs the same work again and again, in turn traced and untraced, so that what a shared
machine does from second to second falls on both sides. It prints one line of JSON: the ratio of each
pair of neighbours, and the last trace's stats.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import Any

import fgtrace

Work = Callable[[], Awaitable[None]]
#: Seconds that a trace has to see every task for the first time, by the number of suspended tasks.
SETTLE = {0: 0.0, 10_000: 0.3, 100_000: 4.0}


async def cpu() -> None:
    total = 0
    for number in range(6_000_000):
        total += number & 7


async def switch() -> None:
    async def step() -> None:
        for _ in range(30_000):
            await asyncio.sleep(0)

    await asyncio.gather(*(step() for _ in range(4)))


async def queue() -> None:
    ping: asyncio.Queue[int] = asyncio.Queue(1)
    pong: asyncio.Queue[int] = asyncio.Queue(1)

    async def echo() -> None:
        while True:
            await pong.put(await ping.get())

    task = asyncio.create_task(echo())
    for number in range(15_000):
        await ping.put(number)
        await pong.get()
    task.cancel()


async def tasks200() -> None:
    """A loop kept busy by 200 tasks, each of which sleeps, waits for a lock and works."""
    lock = asyncio.Lock()

    async def worker() -> None:
        for _ in range(60):
            async with lock:
                await asyncio.sleep(0)
            sum(range(300))
            await asyncio.sleep(0.001)

    await asyncio.gather(*(worker() for _ in range(200)))


async def http(stack: AsyncExitStack) -> Work:
    """An aiohttp server under the load of sixteen clients, in one process."""
    from aiohttp import ClientSession, TCPConnector, web

    async def hello(_: web.Request) -> web.Response:
        await asyncio.sleep(0.001)
        return web.json_response({"hello": "world"})

    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    session = await stack.enter_async_context(ClientSession(connector=TCPConnector(limit=16)))

    async def client() -> None:
        for _ in range(60):
            async with session.get(url) as response:
                await response.read()

    async def work() -> None:
        await asyncio.gather(*(client() for _ in range(16)))

    return work


#: Name -> the work (None: see `http`), and how many tasks are suspended meanwhile.
WORKLOADS: dict[str, tuple[Work | None, int]] = {
    "CPU-bound": (cpu, 0),
    "bare yields": (switch, 0),
    "queue ping-pong": (queue, 0),
    "aiohttp under load": (None, 0),
    "200 tasks, loop saturated": (tasks200, 0),
    "10,000 suspended tasks, CPU-bound": (cpu, 10_000),
    "100,000 suspended tasks, CPU-bound": (cpu, 100_000),
}


async def segment(work: Work, hz: float, settle: float) -> tuple[float, fgtrace.Trace | None]:
    """
    The seconds of the work, traced unless ``hz`` is 0.
    """
    trace = fgtrace.trace(os.devnull, format="json", hz=hz).start() if hz else None
    await asyncio.sleep(settle if hz else 0)
    began = time.perf_counter()
    await work()
    seconds = time.perf_counter() - began
    if trace is not None:
        trace.abandon()
    return seconds, trace


async def run(name: str, segments: int, hz: float) -> dict[str, Any]:
    """
    Pairs of segments, in turn the traced and the untraced one first.
    """
    found, suspended = WORKLOADS[name]
    ratios, stats = [], fgtrace.trace(os.devnull, format="json").stats
    async with AsyncExitStack() as stack:
        work = found if found is not None else await http(stack)
        never = asyncio.Event()
        waiting = [asyncio.create_task(_wait(never)) for _ in range(suspended)]
        await work()
        gc.collect()
        gc.freeze()  # the benchmark's own objects are not for each collection to count
        for number in range(segments):
            seconds = {}
            for side in (0.0, hz) if number % 2 else (hz, 0.0):
                seconds[side], trace = await segment(work, side, SETTLE[suspended])
                stats = trace.stats if trace is not None else stats
            ratios.append(seconds[hz] / seconds[0.0])
        never.set()
        await asyncio.gather(*waiting)
    return {"ratios": ratios, **asdict(stats)}


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))))
