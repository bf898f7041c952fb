"""
What a report of a million slices takes: reading the file, then the answers.

    python bench/reports.py [SLICES]

A program of a thousand tasks that wait for locks and sockets, and wake each other. Times are the process's
own (CPU seconds); the memory is the most that it ever had.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bare import Bare
from fgtrace._formats.write import encoder_of
from fgtrace._model.drawing import BeginEnd, begins_and_ends
from fgtrace._model.values import Flow, Frame, Slice, Track
from fgtrace.reports import Ask, report

TASKS = 1000
#: Slices of one stretch: a state and four functions.
DEPTH = 5
STRETCH = 100_000
METADATA = {"fgtrace": {"awaits": "exact", "stats": {"hz": 99}}}
STATES = (
    Frame("running", "state"),
    Frame("lock wait", "state", "app.py", 10, (("on", "asyncio.Lock"),)),
    Frame("runnable", "state", args=(("woken by", "Task-3"),)),
    Frame("I/O wait", "state", "app.py", 20, (("on", "asyncio.StreamReader"),)),
)
FRAMES = tuple(Frame(f"app.f{number}", "python", "app.py", number) for number in range(20))


class Million(Bare):
    """
    So many slices, made when they are asked for.
    """

    def __init__(self, slices: int) -> None:
        self._stretches = slices // TASKS // DEPTH
        end = self._stretches * STRETCH
        self.tracks = [
            Track("task", number, f"Task-{number} h{number % 20}", "loop 1", number + 1, 4_194_304, end=end)
            for number in range(TASKS)
        ]

    def slices(self) -> Iterator[Slice]:
        for track in self.tracks:
            for number in range(self._stretches):
                start, end = number * STRETCH, (number + 1) * STRETCH
                kind = (number + track.id) % len(STATES)
                yield Slice(track, start, end, 0, STATES[kind])
                for depth in range(1, DEPTH):
                    yield Slice(
                        track, start, end, depth, FRAMES[4 * (depth - 1) + (kind if depth > 1 else 0)]
                    )

    def begins_and_ends(self) -> Iterator[BeginEnd]:
        return begins_and_ends(self.slices())

    def flows(self) -> Iterator[Flow]:
        for number in range(TASKS * self._stretches // 4):
            target = self.tracks[number % TASKS]
            time_ = number % self._stretches * STRETCH
            yield Flow("wakes", self.tracks[number * 7 % TASKS], time_, target, time_)


def main() -> None:
    """
    Write a trace of each format, and report on it.
    """
    slices = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    for format_ in ("json", "perfetto"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "trace")
            with path.open("wb") as file:
                file.writelines(encoder_of(format_)(Million(slices), METADATA))
            whole, answers = measure(path)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{format_}: {slices} slices: {whole:.1f} s, the answers {answers:.1f} s of it; {peak:.0f} MiB")


def measure(path: Path) -> tuple[float, float]:
    """
    The seconds that a report takes, and those of them that came when all slices were read.
    """
    marks: list[float] = []
    start = time.process_time()
    report(path, Ask(task="Task-5"), progress=lambda *_: marks.append(time.process_time()))
    end = time.process_time()
    return end - start, end - marks[-1]


if __name__ == "__main__":
    main()
