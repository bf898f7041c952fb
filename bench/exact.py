"""
What exact awaits cost: paired windows with and without the trace and its hooks, and the bytes of a step.
"""

from __future__ import annotations

from slowdown import PAIRS, measure, median

TITLE = "Exact awaits, at 99 Hz"
NOTE = """As above, but each traced window has a trace of its own, so that asyncio's methods are the
stock ones in the others. "Steps" are those of one window. A step takes 40 bytes (the C core checks that
when it is compiled)."""
NAMES = ("bare yields", "queue ping-pong", "aiohttp under load", "200 tasks, loop saturated")


def row(name: str, pairs: int, core: str) -> list[str]:
    """
    One workload under one core.
    """
    told = measure(name, pairs, core, awaits="exact")
    return [name, core, median(told["ratios"]), f"{told['steps']:,.0f}", f"{told['pause_max'] * 1000:.2f} ms"]


def rows(count: int) -> list[list[str]]:
    """
    The table: workload, core, ratio and its interval, steps in a window, the longest tick.
    """
    head = ["workload", "core", "slowdown", "steps", "longest tick"]
    return [head] + [row(name, PAIRS * count, core) for name in NAMES for core in ("c", "python")]


if __name__ == "__main__":
    import sys

    for line in rows(int(sys.argv[1]) if len(sys.argv) > 1 else 5):
        print(*line, sep=" | ", flush=True)
