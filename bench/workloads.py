"""
The programs that are timed: run as ``python workloads.py NAME [KEY=VALUE ...]``.

With options the program runs under a trace with them; without, untraced. It prints one line of
JSON: the seconds that the work took, and the trace's stats.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

import fgtrace


def cpu() -> None:
    total = 0
    for number in range(12_000_000):
        total += number & 7


async def switch() -> None:
    async def step() -> None:
        for _ in range(240_000):
            await asyncio.sleep(0)

    await asyncio.gather(*(step() for _ in range(4)))


async def queue() -> None:
    ping: asyncio.Queue[int] = asyncio.Queue(1)
    pong: asyncio.Queue[int] = asyncio.Queue(1)

    async def echo() -> None:
        while True:
            await pong.put(await ping.get())

    task = asyncio.create_task(echo())
    for number in range(120_000):
        await ping.put(number)
        await pong.get()
    task.cancel()


async def tasks200() -> None:
    """A loop kept busy by 200 tasks, each of which sleeps, waits for a lock and works."""
    lock = asyncio.Lock()

    async def worker() -> None:
        for _ in range(300):
            async with lock:
                await asyncio.sleep(0)
            sum(range(300))
            await asyncio.sleep(0.001)

    await asyncio.gather(*(worker() for _ in range(200)))


async def idle(count: int = 10_000) -> None:
    """Ten thousand tasks that wait while one works."""
    event = asyncio.Event()
    waiting = [asyncio.create_task(_wait(event)) for _ in range(count)]
    await asyncio.sleep(0.5)
    for _ in range(150):
        sum(range(100_000))
        await asyncio.sleep(0)
    event.set()
    await asyncio.gather(*waiting)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def http() -> None:
    """An aiohttp server under the load of sixteen clients, in one process."""
    from aiohttp import ClientSession, TCPConnector, web

    async def hello(_: web.Request) -> web.Response:
        await asyncio.sleep(0.001)
        return web.json_response({"hello": "world"})

    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    async with ClientSession(connector=TCPConnector(limit=16)) as session:

        async def client() -> None:
            for _ in range(240):
                async with session.get(url) as response:
                    await response.read()

        await asyncio.gather(*(client() for _ in range(16)))
    await runner.cleanup()


WORKLOADS: dict[str, Callable[[], None] | Callable[[], Awaitable[None]]] = {
    "CPU-bound": cpu,
    "bare yields": switch,
    "queue ping-pong": queue,
    "aiohttp under load": http,
    "200 tasks, loop saturated": tasks200,
    "10,000 suspended tasks": idle,
}


def run(name: str) -> float:
    """
    Run a workload; its seconds are returned.
    """
    work = WORKLOADS[name]
    began = time.perf_counter()
    if asyncio.iscoroutinefunction(work):
        asyncio.run(work())
    else:
        work()
    return time.perf_counter() - began


def main(name: str, *pairs: str) -> None:
    options: dict[str, Any] = {
        key: json.loads(value) for key, _, value in (pair.partition("=") for pair in pairs)
    }
    threading.stack_size()  # the module is loaded on both sides
    if not options:
        print(json.dumps({"seconds": run(name)}))
        return
    trace = fgtrace.trace(os.devnull, format="json", **options).start()
    seconds = run(name)
    trace.stop()
    print(json.dumps({"seconds": seconds, **asdict(trace.stats)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
