#!/usr/bin/env python3
"""
What a trace holds, in a few lines: `scripts/demo_summary.py TRACE` is the end of `scripts/demo`.
"""

from __future__ import annotations

import sys
from collections import Counter

import fgtrace

NANOSECONDS = 1_000_000_000


def main(path: str) -> None:
    """
    Print the number of tracks of each kind, and the time that they spent in each state.
    """
    slices = fgtrace.load(path)
    times: dict[str, Counter[str]] = {"task": Counter(), "thread": Counter()}
    for each in slices:
        if each.frame.category == "state":
            times[each.track.kind][each.frame.name] += each.end - each.start
    for kind, states in times.items():
        tracks = {(each.track.pid, each.track.tid) for each in slices if each.track.kind == kind}
        shares = ", ".join(f"{state} {time / NANOSECONDS:.1f} s" for state, time in states.most_common(5))
        print(f"  {len(tracks):4} {kind} tracks: {shares}")  # noqa: T201 - a script speaks


if __name__ == "__main__":
    main(sys.argv[1])
