"""
What one tick costs with many suspended tasks: the first look, and later ones.
"""

from __future__ import annotations

import asyncio
import statistics
import time

import fgtrace
from fgtrace._sampler import Sampler

TITLE = "One tick, by the number of suspended tasks"


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def measure(count: int, looks: int) -> tuple[float, float]:
    """
    Microseconds of the first look, and the median of the others.
    """
    event = asyncio.Event()
    tasks = [asyncio.create_task(_wait(event)) for _ in range(count)]
    await asyncio.sleep(0)
    sampler = Sampler(fgtrace.Config(max_overhead=1.0))
    sampler.ticker.restart()
    costs = []
    for number in range(looks):
        began = time.perf_counter_ns()
        sampler.look(number * 10_000_000)
        costs.append((time.perf_counter_ns() - began) / 1000)
    event.set()
    await asyncio.gather(*tasks)
    return costs[0], statistics.median(costs[1:])


def rows(count: int) -> list[list[str]]:
    """
    The table: tasks, first look, later look, ns a task.
    """
    found = [["tasks", "first look", "each later look", "a task"]]
    for tasks in (10, 1000, 10_000):
        first, later = asyncio.run(measure(tasks, 40 * count))
        found.append(
            [f"{tasks:,}", f"{first:,.0f} us", f"{later:,.0f} us", f"{later / tasks * 1000:,.0f} ns"]
        )
    return found


if __name__ == "__main__":
    for row in rows(3):
        print(*row, sep=" | ")
