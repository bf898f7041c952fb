"""
What a tracked idle task and an observation cost in memory: the growth of the process (C core).
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from pathlib import Path

import fgtrace
from fgtrace._sampling.core_sampler import CoreSampler

TITLE = "Memory (C core)"
NOTE = """Each idle task also has one observation, which its row does not include."""
TASKS = 100_000
ROW = 32
ROWS = 2_000_000
KINDS = ("tracked idle task", "observation")


def resident() -> int:
    """
    Bytes of this process that are in memory.
    """
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


async def idle_tasks() -> float:
    """
    Bytes for each of many tasks that wait all the time.
    """
    fgtrace.trace(os.devnull, format="json").start().abandon()  # what every trace needs, whatever it sees
    event = asyncio.Event()
    tasks = [asyncio.create_task(event.wait()) for _ in range(TASKS)]
    await asyncio.sleep(0)
    gc.collect()
    before = resident()
    trace = fgtrace.trace(os.devnull, format="json", threads=False, max_overhead=1.0).start()
    for _ in range(400):
        await asyncio.sleep(0.01)
    after = resident()
    trace.abandon()
    if trace.stats.tracks < TASKS:
        raise RuntimeError("the trace has not seen every task")
    event.set()
    await asyncio.gather(*tasks)
    return (after - before) / TASKS - ROW


def observations() -> float:
    """
    Bytes for each of many rows, as long as they stay in memory.
    """
    sampler = CoreSampler(fgtrace.Config(max_memory=2**30))
    before = resident()
    for number in range(ROWS):
        sampler.recording.observe(number, 0, 0, 0)
        if number % 65_536 == 0:
            sampler.recording.drain()
    after = resident()
    return (after - before) / ROWS


def rows(_: int) -> list[list[str]]:
    """
    The table: what, and its bytes.
    """
    found = [["one", "bytes"]]
    for kind in KINDS:
        done = subprocess.run(
            [sys.executable, str(Path(__file__)), kind],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        found.append([kind, f"{float(done.stdout):.0f}"])
    return found


if __name__ == "__main__":
    print(asyncio.run(idle_tasks()) if sys.argv[1] == KINDS[0] else observations())
