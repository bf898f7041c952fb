"""
How late ticks come at 1,000 Hz beside a CPU-bound thread, be it the main thread or another.
"""

from __future__ import annotations

import array
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import fgtrace
from fgtrace._sampling.core_sampler import CoreSampler

TITLE = "Lateness at 1,000 Hz beside a CPU-bound thread (C core)"
NOTE = """The figure in brackets says how late the system woke the clock's own thread. "Woken a tick
late" says how often that was by more than a tick, which no tracer can make good."""
SECONDS = 3.0
PLACES = ("main thread", "another thread", "two other threads")


def busy() -> None:
    until = time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        sum(number & 7 for number in range(1000))


def once(where: str) -> None:
    """
    One run; its figures are printed.
    """
    sampler = CoreSampler(fgtrace.Config(hz=1000, max_overhead=1.0))
    sampler._core.keep_lateness()
    sampler.start()
    threads = [threading.Thread(target=busy) for _ in range(0 if where == PLACES[0] else PLACES.index(where))]
    for thread in threads:
        thread.start()
    if threads:
        for thread in threads:
            thread.join()
    else:
        busy()
    found = array.array("q", sampler._core.keep_lateness())
    woke, late = sorted(found[::2]), sorted(found[1::2])
    sampler.stop()
    stats = sampler.stats
    print(
        stats.ticks_taken / stats.ticks_asked,
        *(each[int(len(each) * share)] / 1e6 for share in (0.5, 0.99) for each in (late, woke)),
        sum(each > 1e6 for each in woke) / len(woke),
        stats.overhead,
    )


def rows(count: int) -> list[list[str]]:
    """
    The table: which thread, ticks taken, median and p99 of the lateness, own cost. In brackets how late the
    clock's thread itself was woken, which is the system's doing, and how often by more than a tick.
    """
    found = [["CPU-bound is", "ticks taken", "woken a tick late", "median late", "p99 late", "own cost"]]
    for where in PLACES:
        runs = [
            [
                float(each)
                for each in subprocess.run(
                    [sys.executable, str(Path(__file__)), where],
                    capture_output=True,
                    text=True,
                    check=True,
                    timeout=60,
                ).stdout.split()
            ]
            for _ in range(min(count, 5))
        ]
        figures = [statistics.median(each) for each in zip(*runs, strict=True)]
        taken, median, woke_median, late, woke_late, slept, cost = figures
        found.append(
            [
                where,
                f"{taken:.1%}",
                f"{slept:.1%}",
                f"{median:.3f} ms ({woke_median:.3f})",
                f"{late:.2f} ms ({woke_late:.2f})",
                f"{cost:.2%}",
            ]
        )
    return found


if __name__ == "__main__":
    once(sys.argv[1])
