"""
A million slices to JSON: slices a second, and the peak of memory.

Two figures: the encoder alone, fed with slices that are there already, and the whole way from a
recording of as many observations as make a million slices.
"""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Iterator
from itertools import chain, repeat

import fgtrace
from fgtrace._encode.trace_event import encode
from fgtrace._model import Counter, Flow, Frame, FrameName, Instant, Slice, ThreadLook, Track
from fgtrace._recording import OFFSET_BITS, Recording, TrackEntry
from fgtrace._timeline import Timeline

TITLE = "A million slices to JSON, one core"
SLICES = 1_000_000


class Ready:
    """
    A timeline whose slices are there already.
    """

    def __init__(self) -> None:
        self.tracks = [Track(kind="thread", id=n, name=f"thread {n}", tid=n + 1, pid=1) for n in range(200)]
        frames = [Frame(f"module.function_{n}", "python", f"src/module_{n}.py", n) for n in range(500)]
        self._slices = [
            Slice(self.tracks[n % 200], n * 1007, n * 1007 + 900, 0, frames[n % 500]) for n in range(10_000)
        ]

    def slices(self) -> Iterator[Slice]:
        return chain.from_iterable(repeat(self._slices, SLICES // 10_000))

    def flows(self) -> Iterator[Flow]:
        return iter(())

    def counters(self) -> Iterator[Counter]:
        return iter(())

    def instants(self) -> Iterator[Instant]:
        return iter(())


def recording(count: int = SLICES // 3) -> Recording:
    """
    Observations of 200 threads, each of which makes about three slices.
    """
    found = Recording()
    look = found.look(ThreadLook("busy"))
    codes = [
        found.named(FrameName("module", f"function_{n}"), "module.py") << OFFSET_BITS for n in range(100)
    ]
    tracks = [found.track(TrackEntry("thread", f"thread {n}", 0, tid=n + 1)) for n in range(200)]
    base = codes[:20]
    for number in range(count):
        leaf = [codes[20 + number % 79], codes[20 + number % 11], codes[20 + number % 7]]
        found.observe(number * 1000, tracks[number % 200], found.stack(leaf + base), look)
    return found


def _pour(timeline: Timeline | Ready) -> float:
    began = time.perf_counter()
    for _ in encode(timeline, {}):  # type: ignore[arg-type]
        pass
    return time.perf_counter() - began


def _peak(timeline: Timeline | Ready) -> float:
    tracemalloc.start()
    _pour(timeline)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1024 / 1024


def rows(count: int) -> list[list[str]]:
    """
    The table: what, seconds, slices a second, peak memory.
    """
    found = [["what", "seconds", "slices a second", "peak memory"]]
    ready, taken = Ready(), recording()
    end = SLICES * 1007

    def timeline() -> Timeline:
        return Timeline(taken, fgtrace.Config(), end, 1)

    total = sum(1 for _ in timeline().slices())
    for name, make, slices in (
        ("encoder alone", lambda: ready, SLICES),
        ("from the recording", timeline, total),
    ):
        seconds = statistics.median(_pour(make()) for _ in range(count))
        found.append([name, f"{seconds:.2f} s", f"{slices / seconds:,.0f}", f"{_peak(make()):.1f} MiB"])
    return found


if __name__ == "__main__":
    for row in rows(3):
        print(*row, sep=" | ")
