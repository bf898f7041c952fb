"""
How much slower a program is under a trace: paired segments, medians of ratios, for both cores.

glibc's thresholds are pinned: importing large modules moves them, and asyncio reads into buffers of just
that size, so a traced run could come out faster for a reason that has nothing to do with it.
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
SEGMENTS = 6
MOST_SEGMENTS = 60


def measure(name: str, segments: int, core: str, hz: float = 99) -> dict[str, Any]:
    """
    One process with so many pairs of segments.
    """
    found = subprocess.run(
        [sys.executable, str(HERE / "workloads.py"), name, str(segments), str(hz)],
        env=os.environ | PINNED | {"FGTRACE_CORE": core},
        capture_output=True,
        text=True,
        check=True,
        timeout=900,
    )
    result: dict[str, Any] = json.loads(found.stdout)
    return result


def row(name: str, count: int, core: str) -> list[str]:
    """
    One workload under one core.
    """
    segments = min(MOST_SEGMENTS, SEGMENTS * count)
    if "100,000" in name:
        segments = max(4, segments // 5)
    told = measure(name, segments, core)
    low, middle, high = statistics.quantiles(told["ratios"], n=4)
    return [
        name,
        core,
        f"{middle:.3f}x",
        f"{low:.3f}-{high:.3f}",
        f"{told['ticks_taken'] / told['ticks_asked']:.0%}",
        f"{told['hz_tasks']:.0f}/s",
        f"{told['overhead']:.2%}",
        f"{told['pause_max'] * 1000:.2f} ms",
    ]


def rows(count: int) -> list[list[str]]:
    """
    The table: workload, core, ratio and its quartiles, ticks taken, looks at each task, cost, pause.
    """
    head = [
        "workload",
        "core",
        "slowdown",
        "quartiles",
        "ticks taken",
        "each task",
        "own cost",
        "longest tick",
    ]
    return [head] + [row(name, count, core) for name in WORKLOADS for core in ("c", "python")]


if __name__ == "__main__":
    for line in rows(int(sys.argv[1]) if len(sys.argv) > 1 else 5):
        print(*line, sep=" | ", flush=True)
