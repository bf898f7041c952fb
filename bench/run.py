"""
All benchmarks, as tables; with ``--write`` into docs/speed.md, with ``--peers`` other tools as well.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path

import encoding
import exact
import fgtrace
import flight
import lateness
import leaving
import memory
import peers
import slowdown
import ticks

PAGE = Path(__file__).parent.parent / "docs" / "speed.md"
INTRO = """# What it costs

This page says what fgtrace costs a program. `scripts/bench --write --peers` measures it and makes the page;
read the figures as ratios, since machines differ.

A slowdown is the median of ratios of untraced to traced throughput in short windows of the same work. The
windows alternate in one process, with glibc's allocator thresholds pinned (importing large modules moves
them, and asyncio reads into buffers of just that size). "Own cost" is the share of the wall clock that the
ticks took, by the processor's clock. The sampler keeps within `max_overhead` (5 %) by skipping ticks, so
"ticks taken" belongs to every slowdown; "each task" is how often a second every task was sampled.
"""


def table(rows: list[list[str]]) -> str:
    """
    Rows as a Markdown table.
    """
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)


def machine() -> str:
    """
    Where the figures are from.
    """
    load = os.getloadavg()[0]
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    when = f"Measured on {time.strftime('%Y-%m-%d')} with fgtrace {fgtrace.__version__}, {python}, {system}"
    return f"{when} (load average before the runs: {load:.1f})."


def main(*arguments: str) -> None:
    count = int(next((each for each in arguments if each.isdigit()), "5"))
    parts = [INTRO, machine()]
    modules = [ticks, encoding, leaving, memory, lateness, slowdown, exact, flight]
    for module in [*modules, peers] if "--peers" in arguments else modules:
        parts += [f"\n## {module.TITLE}\n", table(module.rows(count))]
        if note := getattr(module, "NOTE", ""):
            parts.append(f"\n{note}")
        print(*parts[-3 if note else -2 :], sep="\n", flush=True)
    if "--write" in arguments:
        PAGE.write_text("\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
