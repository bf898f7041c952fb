"""
All benchmarks, as tables; with ``--write`` into docs/speed.md.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path

import encoding
import fgtrace
import leaving
import slowdown
import ticks

PAGE = Path(__file__).parent.parent / "docs" / "speed.md"
INTRO = """# What it costs

Made by `scripts/bench --write`: read as ratios, machines differ. Slowdowns are medians of ratios of
traced to untraced runs, taken in pairs, with glibc's allocator thresholds pinned on both sides
(importing large modules moves them, and asyncio reads into buffers of just that size). The sampler
keeps within `max_overhead` (5 % of the wall clock) by skipping ticks, so "ticks taken" belongs to
every slowdown.
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
    for module in (ticks, encoding, leaving, slowdown):
        parts += [f"\n## {module.TITLE}\n", table(module.rows(count))]
        print(parts[-2], parts[-1], sep="\n", flush=True)
    if "--write" in arguments:
        PAGE.write_text("\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
