"""
The programs that are timed: run as ``python workloads.py NAME PAIRS HZ``.

One process does the same work all the time, while its trace is at work for a short window, paused for the
next, and so on: what a shared machine does from second to second falls on both sides. It prints one line
of JSON: for each pair of neighbours how many times more work the untraced window got done, and what the
trace did meanwhile.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import fgtrace
from fgtrace._sampling.core_sampler import CoreSampler
from fgtrace._sampling.switch_interval import restore_switch_interval, shorten_switch_interval

#: Seconds of one window: six ticks at 99 Hz.
WINDOW = 0.06
#: Seconds before each, in which threads begin or end.
PREPARATION = 0.01
#: What a workload yields: how much work is done so far.
Count = Callable[[], int]


@asynccontextmanager
async def _tasks(*coros: Any) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(each) for each in coros]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def cpu() -> AsyncIterator[Count]:
    """Python code that never waits; the loop has its turn each two milliseconds or so."""
    done = [0]

    async def work() -> None:
        while True:
            for _ in range(20):
                total = 0
                for number in range(2000):
                    total += number & 7
                done[0] += 1
            await asyncio.sleep(0)

    async with _tasks(work()):
        yield lambda: done[0]


@asynccontextmanager
async def switch() -> AsyncIterator[Count]:
    """Four tasks that do nothing but give way."""
    done = [0]

    async def step() -> None:
        while True:
            await asyncio.sleep(0)
            done[0] += 1

    async with _tasks(*(step() for _ in range(4))):
        yield lambda: done[0]


@asynccontextmanager
async def queue() -> AsyncIterator[Count]:
    """Two tasks that pass an item to and fro."""
    done = [0]
    ping: asyncio.Queue[int] = asyncio.Queue(1)
    pong: asyncio.Queue[int] = asyncio.Queue(1)

    async def echo() -> None:
        while True:
            await pong.put(await ping.get())

    async def call() -> None:
        while True:
            await ping.put(done[0])
            await pong.get()
            done[0] += 1

    async with _tasks(echo(), call()):
        yield lambda: done[0]


@asynccontextmanager
async def tasks200() -> AsyncIterator[Count]:
    """A loop kept busy by 200 tasks, each of which sleeps, waits for a lock and works."""
    done = [0]
    lock = asyncio.Lock()

    async def worker() -> None:
        while True:
            async with lock:
                await asyncio.sleep(0)
            sum(range(300))
            await asyncio.sleep(0.001)
            done[0] += 1

    async with _tasks(*(worker() for _ in range(200))):
        yield lambda: done[0]


@asynccontextmanager
async def http() -> AsyncIterator[Count]:
    """An aiohttp server under the load of sixteen clients, in one process."""
    from aiohttp import ClientSession, TCPConnector, web

    done = [0]

    async def hello(_: web.Request) -> web.Response:
        await asyncio.sleep(0.001)
        return web.json_response({"hello": "world"})

    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    async with ClientSession(connector=TCPConnector(limit=16)) as session:

        async def client() -> None:
            while True:
                async with session.get(url) as response:
                    await response.read()
                done[0] += 1

        async with _tasks(*(client() for _ in range(16))):
            yield lambda: done[0]
    await runner.cleanup()


#: Name -> the work, and how many tasks are suspended meanwhile.
WORKLOADS: dict[str, tuple[Callable[[], AbstractAsyncContextManager[Count]], int]] = {
    "CPU-bound": (cpu, 0),
    "bare yields": (switch, 0),
    "queue ping-pong": (queue, 0),
    "aiohttp under load": (http, 0),
    "200 tasks, loop saturated": (tasks200, 0),
    "10,000 suspended tasks, CPU-bound": (cpu, 10_000),
    "100,000 suspended tasks, CPU-bound": (cpu, 100_000),
}


class Switch:
    """
    A trace that is at work in some windows only.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.is_exact = options.get("awaits") == "exact"  # then every window has a trace of its own
        self.seconds = self.ticks = self.rounds = self.spent = self.steps = 0.0
        self._begin()
        self.is_core = isinstance(self.sampler, CoreSampler)
        self._pause()

    def _begin(self) -> None:
        self.trace = fgtrace.trace(os.devnull, format="json", **self.options).start()
        self.sampler: Any = self.trace._sampler

    def _figures(self) -> tuple[int, int, int]:
        if self.is_core:
            stats = self.sampler._core.stats()
            return stats["taken"], stats["rounds"], stats["spent"]
        ticker = self.sampler.ticker
        return ticker.taken, ticker.taken, ticker.spent

    def _pause(self) -> None:
        if self.is_exact:
            self.steps = self.sampler.recording.stepped
            self.trace.abandon()
            return
        self.sampler.pause()
        if not self.is_core:
            restore_switch_interval()

    def _resume(self) -> None:
        if self.is_exact:
            self._begin()
            return
        if not self.is_core:
            shorten_switch_interval()
            self.sampler.ticker._last = time.perf_counter_ns()  # no budget grows in a pause
        self.sampler.resume()

    async def window(self, count: Count, *, is_traced: bool, seconds: float = WINDOW) -> float:
        """
        How much work is done a second in the next window.
        """
        if is_traced:
            self._resume()
        await asyncio.sleep(PREPARATION)
        figures = self._figures()
        before, began = count(), time.perf_counter()
        await asyncio.sleep(seconds)
        after, ended = count(), time.perf_counter()
        if is_traced:
            more = [now - then for now, then in zip(self._figures(), figures, strict=True)]
            self._pause()
            self.seconds += ended - began
            self.ticks += more[0]
            self.rounds += more[1]
            self.spent += more[2]
        return (after - before) / (ended - began)

    def end(self) -> None:
        """
        End the trace; nothing is written.
        """
        if not self.is_exact:
            self._resume()
            self.trace.abandon()


async def run(name: str, pairs: int, hz: float, **options: Any) -> dict[str, Any]:
    """
    Pairs of windows, in turn the traced and the untraced one first; with ``hz`` 0 both are untraced, which
    tells what the machine can resolve.
    """
    make, suspended = WORKLOADS[name]
    never = asyncio.Event()
    waiting = [asyncio.create_task(_wait(never)) for _ in range(suspended)]
    ratios = []
    async with make() as count:
        await asyncio.sleep(0.3)
        gc.collect()
        gc.freeze()  # the benchmark's own objects are not for each collection to count
        switch = Switch({"hz": hz or 99, **options})
        if hz:
            await switch.window(count, is_traced=True, seconds=1 + suspended / 20_000)  # the first sight
        for number in range(pairs):
            rates = {}
            for is_traced in (False, True) if number % 2 else (True, False):
                rates[is_traced] = await switch.window(count, is_traced=is_traced and hz > 0)
            ratios.append(rates[False] / rates[True])
        switch.end()
    never.set()
    await asyncio.gather(*waiting)
    seconds = switch.seconds or 1.0
    return {
        "ratios": ratios,
        "ticks": switch.ticks / seconds,
        "rounds": switch.rounds / seconds,
        "cost": switch.spent / 1e9 / seconds,
        "steps": switch.steps,
        "pause_max": switch.trace.stats.pause_max,
        "core": switch.trace.stats.core,
    }


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


if __name__ == "__main__":
    extra = json.loads(sys.argv[4]) if len(sys.argv) > 4 else {}
    print(json.dumps(asyncio.run(run(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), **extra))))
