"""
How much slower a program is beside a flight recorder, and beside the debug hook: paired windows.

As `slowdown`, but the windows are long enough for the recorder to fold what became too old, which it does
once a second. Run as ``python flight.py NAME PAIRS WHAT`` it is the program that is timed.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import fgtrace
from fgtrace._sampling.core_sampler import CoreSampler
from fgtrace._sampling.switch_interval import restore_switch_interval, shorten_switch_interval
from slowdown import PINNED, median
from workloads import WORKLOADS, Count

TITLE = "Flight recorder and debug hook"
WINDOW = 1.6
NOTE = f"""Pairs of windows of {WINDOW} s, with the recorder's own thread at work in every other one. The hook
watches for blocked loops with a threshold of 10 s, so that none of the workloads makes it dump."""
PAIRS = 4
NAMES = (
    "queue ping-pong",
    "200 tasks, loop saturated",
    "aiohttp under load",
    "10,000 suspended tasks, CPU-bound",
)
WHAT = ("untraced", "recorder", "exact", "hook")


class Switch:
    """
    A recorder, or the hook, that is at work in some windows only.
    """

    def __init__(self, what: str) -> None:
        options: dict[str, Any] = {"awaits": "exact"} if what == "exact" else {}
        folder = tempfile.gettempdir()
        self.is_hook = what == "hook"
        if self.is_hook:
            hook = fgtrace.install(folder, slow_callback_duration=10, signal=None, **options)
            self.recorder, workers = hook.recorder, [hook._worker]
        else:
            self.recorder, workers = fgtrace.FlightRecorder(**options).start(), []
        self.parts: list[Any] = [*workers, self.recorder._worker, self.recorder._generations[0].sampler]
        self.is_core = isinstance(self.parts[-1], CoreSampler)

    def pause(self) -> None:
        """
        End our threads for a while.
        """
        for part in self.parts:
            part.pause()
        if not self.is_core:
            restore_switch_interval()

    def resume(self) -> None:
        """
        Go on.
        """
        if not self.is_core:
            shorten_switch_interval()
        for part in reversed(self.parts):
            part.resume()

    def end(self) -> None:
        """
        End it for good.
        """
        if self.is_hook:
            fgtrace.uninstall()
        else:
            self.recorder.stop()


async def rate(count: Count) -> float:
    """
    How much work is done a second in the next window.
    """
    await asyncio.sleep(0.02)
    before, began = count(), time.perf_counter()
    await asyncio.sleep(WINDOW)
    return (count() - before) / (time.perf_counter() - began)


async def run(name: str, pairs: int, what: str) -> dict[str, Any]:
    """
    Pairs of windows, in turn the one with the recorder first and last.
    """
    make, suspended = WORKLOADS[name]
    never = asyncio.Event()
    waiting = [asyncio.create_task(never.wait()) for _ in range(suspended)]
    ratios = []
    async with make() as count:
        await asyncio.sleep(0.3)
        gc.collect()
        gc.freeze()  # the benchmark's own objects are not for each collection to count
        switch = Switch(what)
        await asyncio.sleep(1 + suspended / 20_000)  # the first sight
        switch.pause()
        for number in range(pairs):
            rates = {}
            for is_on in (False, True) if number % 2 else (True, False):
                if is_on and what != "untraced":
                    switch.resume()
                rates[is_on] = await rate(count)
                if is_on and what != "untraced":
                    switch.pause()
            ratios.append(rates[False] / rates[True])
        switch.resume()
        memory = switch.recorder.stats.memory
        switch.end()
    never.set()
    await asyncio.gather(*waiting)
    return {"ratios": ratios, "memory": memory}


def row(name: str, pairs: int, what: str, core: str) -> list[str]:
    """
    One workload in a process of its own.
    """
    found = subprocess.run(
        [sys.executable, __file__, name, str(pairs), what],
        env=os.environ | PINNED | {"FGTRACE_CORE": core},
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=900,
    )
    told = json.loads(found.stdout)
    return [name, what, core, median(told["ratios"]), f"{told['memory'] / 2**20:.1f} MiB"]


def rows(count: int) -> list[list[str]]:
    """
    The table: workload, what is at work, core, ratio and its interval, the recorder's memory.
    """
    head = ["workload", "beside", "core", "slowdown", "memory"]
    return [head] + [row(name, PAIRS * count, what, "c") for name in NAMES for what in WHAT]


if __name__ == "__main__":
    if len(sys.argv) > 3:
        print(json.dumps(asyncio.run(run(sys.argv[1], int(sys.argv[2]), sys.argv[3]))))
    else:
        for line in rows(int(sys.argv[1]) if len(sys.argv) > 1 else 5):
            print(*line, sep=" | ", flush=True)
