"""
`fgtrace convert` of long traces: slices a second of processor time and the peak of its resident memory.

The traces have 200 tracks and 500 frames, slices of three depths, and are written by our own encoders. "JSON
of another tool" is the same trace as `json.dumps` would write it, its events in the order of their times.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import orjson

from bare import Bare
from fgtrace._formats.write import encoder_of
from fgtrace._model.drawing import BeginEnd, Drawing, begins_and_ends
from fgtrace._model.values import Frame, Slice, Track

TITLE = "Converting"
LENGTHS = (1_000_000, 4_000_000)
TRACKS, FRAMES, DEPTH = 200, 500, 3
WAYS = (
    ("json", "perfetto"),
    ("json", "firefox"),
    ("json", "pprof"),
    ("foreign", "perfetto"),
    ("perfetto", "json"),
    ("perfetto", "speedscope"),
)
SUFFIXES = {
    "json": ".json",
    "foreign": ".json",
    "perfetto": ".pftrace",
    "speedscope": ".speedscope.json",
    "firefox": ".firefox.json",
    "pprof": ".pb.gz",
}


class Long(Bare):
    """
    A drawing of so many slices, made while they are asked for.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        end = length * 1007
        self.tracks = [
            Track(kind="thread", id=n, name=f"thread {n}", tid=n + 1, pid=1, end=end) for n in range(TRACKS)
        ]
        self._frames = [Frame(f"module.f_{n}", "python", f"src/module_{n}.py", n) for n in range(FRAMES)]

    def slices(self) -> Iterator[Slice]:
        for number in range(self._length):
            stack, depth = divmod(number, DEPTH)
            start = stack * DEPTH * 1007 + depth
            frame = self._frames[number * 7 % FRAMES]
            yield Slice(self.tracks[stack % TRACKS], start, start + 2900 - 2 * depth, depth, frame)

    def begins_and_ends(self) -> Iterator[BeginEnd]:
        return begins_and_ends(self.slices())


def foreign(drawing: Drawing) -> Iterator[bytes]:
    before = b'{"traceEvents": ['
    for track, start, end, _, frame in drawing.slices():
        event = {
            "ph": "X", "pid": track.pid, "tid": track.tid, "ts": start / 1000, "dur": (end - start) / 1000,
            "name": frame.name, "cat": "fee", "args": {"file": frame.file, "line": frame.line},
        }  # fmt: skip
        yield before + orjson.dumps(event)
        before = b", "
    yield b"]}"


def write(name: str, drawing: Drawing, path: Path) -> None:
    chunks = foreign(drawing) if name == "foreign" else encoder_of(name)(drawing, {})
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)


def convert(source: Path, target: Path, name: str) -> tuple[float, float]:
    """
    Seconds of processor time, and MiB of resident memory at most.
    """
    words = [sys.executable, "-m", "fgtrace", "convert", "-q", str(source), str(target), "--format", name]
    child = os.spawnv(os.P_NOWAIT, sys.executable, words)  # noqa: S606 -- no shell is wanted
    _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(f"convert failed: {status}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def rows(count: int, lengths: tuple[int, ...] = LENGTHS) -> list[list[str]]:
    """
    The table: from, to, slices, seconds of processor time, slices a second, peak memory.
    """
    found = [["from", "to", "slices", "seconds", "slices a second", "peak memory"]]
    with tempfile.TemporaryDirectory(prefix="fgtrace-bench-") as folder:
        for length in lengths:
            sources = {name: Path(folder, f"{name}{SUFFIXES[name]}") for name, _ in WAYS}
            for name, path in sources.items():
                write(name, Long(length), path)
            for name, other in WAYS:
                target = Path(folder, "out")
                taken = [convert(sources[name], target, other) for _ in range(count)]
                seconds, peak = sorted(taken)[count // 2][0], max(memory for _, memory in taken)
                size = sources[name].stat().st_size / 1e6
                row = [
                    f"{'JSON of another tool' if name == 'foreign' else f'`{name}`'} ({size:.0f} MB)",
                    f"`{other}`",
                    f"{length:,}",
                    f"{seconds:.1f} s",
                    f"{length / seconds:,.0f}",
                    f"{peak:.0f} MiB",
                ]
                print(*row, sep=" | ", file=sys.stderr, flush=True)
                found.append(row)
    return found


if __name__ == "__main__":
    for row in rows(1, tuple(map(int, sys.argv[1:])) or LENGTHS):
        print(*row, sep=" | ", flush=True)
