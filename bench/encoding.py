"""
A million slices on 200 tracks to each format: slices a second, bytes, and the peak of memory.

The encoders alone are fed with slices that are there already. The last rows are the whole way from
a recording of as many observations as make a million slices.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Iterator

import fgtrace
from bare import Bare
from fgtrace._formats.write import encoder_of
from fgtrace._model.drawing import BeginEnd, Drawing, begins_and_ends
from fgtrace._model.values import Frame, FrameName, Slice, ThreadSample, Track
from fgtrace._recording.recording import OFFSET_BITS, Recording, TrackEntry
from fgtrace._timeline.timeline import Timeline

TITLE = "A million slices on 200 tracks, one core"
SLICES = 1_000_000
FORMATS = ("json", "perfetto", "speedscope", "folded", "pprof", "firefox", "html")


class Ready(Bare):
    """
    A drawing whose slices are there already.
    """

    def __init__(self) -> None:
        end = SLICES * 1007
        self.tracks = [
            Track(kind="thread", id=n, name=f"thread {n}", tid=n + 1, pid=1, end=end) for n in range(200)
        ]
        frames = [Frame(f"module.function_{n}", "python", f"src/module_{n}.py", n) for n in range(500)]
        self._slices = [
            Slice(self.tracks[n % 200], n * 1007, n * 1007 + 900, 0, frames[n % 500]) for n in range(SLICES)
        ]
        self._begins_and_ends = list(begins_and_ends(self._slices))
        gc.freeze()  # or the collector would go through all of it again and again

    def slices(self) -> Iterator[Slice]:
        return iter(self._slices)

    def begins_and_ends(self) -> Iterator[BeginEnd]:
        return iter(self._begins_and_ends)


def recording(count: int = SLICES // 3) -> Recording:
    """
    Observations of 200 threads, each of which makes about three slices.
    """
    found = Recording()
    look = found.intern_thread_sample(ThreadSample("busy"))
    codes = [
        found.intern_name(FrameName("module", f"function_{n}"), "module.py") << OFFSET_BITS
        for n in range(100)
    ]
    tracks = [found.add_track(TrackEntry("thread", f"thread {n}", 0, tid=n + 1)) for n in range(200)]
    base = codes[:20]
    for number in range(count):
        leaf = [codes[20 + number % 79], codes[20 + number % 11], codes[20 + number % 7]]
        found.observe(number * 1000, tracks[number % 200], found.intern_stack(leaf + base), look)
    return found


def _pour(drawing: Drawing, name: str) -> tuple[float, int]:
    """
    Seconds, and bytes.
    """
    began = time.perf_counter()
    size = sum(map(len, encoder_of(name)(drawing, {})))
    return time.perf_counter() - began, size


def _peak(drawing: Drawing, name: str) -> float:
    tracemalloc.start()
    _pour(drawing, name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1024 / 1024


def rows(count: int) -> list[list[str]]:
    """
    The table: what, seconds, slices a second, bytes, peak memory.
    """
    found = [["what", "seconds", "slices a second", "bytes", "peak memory"]]
    ready, taken = Ready(), recording()

    def timeline() -> Timeline:
        return Timeline(taken, fgtrace.Config(), SLICES * 1007, 1)

    def row(what: str, name: str, slices: int, drawing: Drawing | None = None) -> list[str]:
        seconds, size = sorted(_pour(drawing or timeline(), name) for _ in range(count))[count // 2]
        peak = _peak(drawing or timeline(), name)
        return [what, f"{seconds:.2f} s", f"{slices / seconds:,.0f}", f"{size:,}", f"{peak:.1f} MiB"]

    found.extend(row(f"`{name}`, encoder alone", name, SLICES, ready) for name in FORMATS)
    total = sum(1 for _ in timeline().slices())
    found.extend(row(f"`{name}` from the recording", name, total) for name in ("json", "perfetto"))
    return found


if __name__ == "__main__":
    for row in rows(3):
        print(*row, sep=" | ")
