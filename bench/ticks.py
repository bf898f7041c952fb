"""
What one tick costs with many suspended tasks, one right after another: the first look, and later ones.

The C core's look has a budget (0.3 ms for the tasks), so its first look at very many is only a part.
"""

from __future__ import annotations

import asyncio
import statistics
import time

import fgtrace
from fgtrace._sampling.core_sampler import CoreSampler
from fgtrace._sampling.python_sampler import PythonSampler

TITLE = "One tick, by the number of suspended tasks"


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def measure(count: int, looks: int, core: str) -> tuple[float, float]:
    """
    Microseconds of the first look, and the median of the others, without a budget.
    """
    event = asyncio.Event()
    tasks = [asyncio.create_task(_wait(event)) for _ in range(count)]
    await asyncio.sleep(0)
    options = fgtrace.Config(hz=1, max_overhead=1.0)
    if core == "c":
        tick = CoreSampler(options)._core.tick
    else:
        sampler = PythonSampler(options)
        sampler.ticker.restart()
        tick = sampler.tick
    costs = []
    for number in range(looks):
        began = time.perf_counter_ns()
        tick(number * 10_000_000)
        costs.append((time.perf_counter_ns() - began) / 1000)
    event.set()
    await asyncio.gather(*tasks)
    return costs[0], statistics.median(costs[1:])


def rows(count: int) -> list[list[str]]:
    """
    The table: tasks, core, first look, later look, ns a task.
    """
    found = [["tasks", "core", "first look", "each later look", "a task"]]
    for core in ("c", "python"):
        for tasks in (10, 1000, 10_000):
            first, later = asyncio.run(measure(tasks, 40 * count, core))
            found.append(
                [
                    f"{tasks:,}",
                    core,
                    f"{first:,.0f} us",
                    f"{later:,.0f} us",
                    f"{later / tasks * 1000:,.0f} ns",
                ]
            )
    return found


if __name__ == "__main__":
    for row in rows(3):
        print(*row, sep=" | ")
