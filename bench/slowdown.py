"""
How much slower a program is under a trace: paired runs, medians of ratios.

Each traced run has an untraced one beside it, in turn first and second. glibc's thresholds are
pinned on both sides: importing large modules moves them, and asyncio reads into buffers of just
that size, so the traced run could come out faster for a reason that has nothing to do with it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from workloads import WORKLOADS

HERE = Path(__file__).parent
PINNED = {"MALLOC_MMAP_THRESHOLD_": "4000000", "MALLOC_TRIM_THRESHOLD_": "64000000", "PYTHONHASHSEED": "0"}
TITLE = "Slowdown at 99 Hz"


def once(name: str, *options: str) -> dict[str, Any]:
    """
    One run in a process of its own.
    """
    found = subprocess.run(
        [sys.executable, str(HERE / "workloads.py"), name, *options],
        env=os.environ | PINNED,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    result: dict[str, Any] = json.loads(found.stdout)
    return result


def pairs(name: str, count: int, *options: str) -> tuple[list[float], list[dict[str, Any]]]:
    """
    The ratios of traced to untraced seconds, and what the traced runs told.
    """
    ratios, told = [], []
    for number in range(count):
        sides = [(), options] if number % 2 else [options, ()]
        found = {bool(side): once(name, *side) for side in sides}
        ratios.append(found[True]["seconds"] / found[False]["seconds"])
        told.append(found[True])
    return ratios, told


def rows(count: int, *, hz: float = 99) -> list[list[str]]:
    """
    The table: workload, ratio (and its quarter points), share of ticks taken, own cost, longest tick.
    """
    found = [["workload", "slowdown", "quartiles", "ticks taken", "own cost", "longest tick"]]
    for name in WORKLOADS:
        ratios, told = pairs(name, count, f"hz={hz}")
        low, middle, high = statistics.quantiles(ratios, n=4)
        taken = statistics.median(each["ticks_taken"] / each["ticks_asked"] for each in told)
        cost = statistics.median(each["overhead"] for each in told)
        pause = statistics.median(each["pause_max"] for each in told)
        found.append(
            [
                name,
                f"{middle:.3f}x",
                f"{low:.3f}-{high:.3f}",
                f"{taken:.0%}",
                f"{cost:.2%}",
                f"{pause * 1000:.2f} ms",
            ]
        )
    return found


if __name__ == "__main__":
    for row in rows(int(sys.argv[1]) if len(sys.argv) > 1 else 5):
        print(*row, sep=" | ")
