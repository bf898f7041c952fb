"""
How much slower a program is under a trace: paired windows, medians of ratios, for both cores.

glibc's thresholds are pinned: importing large modules moves them, and asyncio reads into buffers of just
that size, so a traced run could come out faster for a reason that has nothing to do with it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from workloads import WINDOW, WORKLOADS

HERE = Path(__file__).parent
PINNED = {"MALLOC_MMAP_THRESHOLD_": "4000000", "MALLOC_TRIM_THRESHOLD_": "64000000", "PYTHONHASHSEED": "0"}
TITLE = "Slowdown at 99 Hz"
NOTE = f"""Each row is measured in pairs of windows of {WINDOW * 1000:.0f} ms. The interval in brackets has
the true median with a probability of 95 % (by the ranks of the ratios). The first row compares untraced
with untraced windows: it shows what the machine could resolve. "Longest tick" counts from the trace's
start, so the tick that sees all tasks for the first time is included; slowdown and cost leave that first
second out."""
PAIRS = 60


def measure(name: str, pairs: int, core: str, hz: float = 99, **options: Any) -> dict[str, Any]:
    """
    One process with so many pairs of windows.
    """
    found = subprocess.run(
        [sys.executable, str(HERE / "workloads.py"), name, str(pairs), str(hz), json.dumps(options)],
        env=os.environ | PINNED | {"FGTRACE_CORE": core},
        capture_output=True,
        text=True,
        check=True,
        timeout=900,
    )
    result: dict[str, Any] = json.loads(found.stdout)
    return result


def median(ratios: list[float]) -> str:
    """
    The median, and where the true one lies with a probability of 95 %: sign test, normal approximation.
    """
    ranked = sorted(ratios)
    middle, reach = (len(ranked) - 1) / 2, 0.98 * len(ranked) ** 0.5
    low, high = ranked[max(0, int(middle - reach))], ranked[min(len(ranked) - 1, int(middle + reach) + 1)]
    return f"{ranked[int(middle)]:.3f}x ({low:.3f}-{high:.3f})"


def row(name: str, pairs: int, core: str, hz: float = 99) -> list[str]:
    """
    One workload under one core.
    """
    told = measure(name, pairs, core, hz)
    slowdown = median(told["ratios"])
    if not hz:
        return [f"{name}, untraced", "", slowdown, "", "", "", ""]
    return [
        name,
        core,
        slowdown,
        f"{min(1, told['ticks'] / hz):.0%}",
        f"{told['rounds']:.0f}/s",
        f"{told['cost']:.2%}",
        f"{told['pause_max'] * 1000:.2f} ms",
    ]


def rows(count: int) -> list[list[str]]:
    """
    The table: workload, core, ratio and its interval, ticks taken, looks at each task, cost, pause.
    """
    head = ["workload", "core", "slowdown", "ticks taken", "each task", "own cost", "longest tick"]
    found = [head, row("queue ping-pong", PAIRS * count, "c", 0)]
    return found + [row(name, PAIRS * count, core) for name in WORKLOADS for core in ("c", "python")]


if __name__ == "__main__":
    for line in rows(int(sys.argv[1]) if len(sys.argv) > 1 else 5):
        print(*line, sep=" | ", flush=True)
