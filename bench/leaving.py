"""
How long an event loop is without the interpreter while `async with` writes a large trace.
"""

from __future__ import annotations

import array
import asyncio
import os
import statistics
import time

import fgtrace
from encoding import recording

TITLE = "Leaving `async with` while 300,000 slices are written"


async def absences() -> list[float]:
    """
    Seconds between the turns of a loop that does nothing else, longest first.
    """
    os.environ["FGTRACE_CORE"] = "python"  # whose recording can be exchanged; writing is the same
    trace = fgtrace.trace(os.devnull, format="json").start()
    del os.environ["FGTRACE_CORE"]
    if trace._sampler is not None:
        trace._sampler.recording = recording(100_000)
    await asyncio.sleep(0.2)
    found = array.array("d")

    async def watch() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            found.append(now - last)
            last = now

    watcher = asyncio.create_task(watch())
    await asyncio.sleep(0)
    await trace.__aexit__(None, None, None)
    watcher.cancel()
    return sorted(found, reverse=True)


def rows(count: int) -> list[list[str]]:
    """
    The table: the median of the longest absence, of the tenth longest, and the turns taken.
    """
    runs = [asyncio.run(absences()) for _ in range(count)]
    longest, tenth = (statistics.median(run[place] for run in runs) for place in (0, 9))
    turns = statistics.median(len(run) for run in runs)
    return [
        ["longest absence", "tenth longest", "turns meanwhile"],
        [f"{longest * 1000:.1f} ms", f"{tenth * 1000:.1f} ms", f"{turns:,.0f}"],
    ]


if __name__ == "__main__":
    for row in rows(3):
        print(*row, sep=" | ")
