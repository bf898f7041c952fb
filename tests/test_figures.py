"""
What a trace says of itself, held against meters of another kind: the machine's clock, the kernel's count of
processor time, a clock that the test moves, and the trace's own slices.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

import fgtrace
from fgtrace._options.options import Options
from fgtrace._sampling.python_sampler import PythonSampler
from fgtrace.testing import FakeClock
from reading import Trace
from tick_count import wait_for_ticks

Reader = Callable[..., Trace]

MS = 1_000_000
HZ = 200
PERIOD = 1_000_000_000 // HZ
#: For how long a call keeps the interpreter (ns).
HELD = 40 * PERIOD
#: Threads that a costly tick looks at.
MANY = 300


def hold_interpreter(ns: int) -> None:
    """
    Sleep in a C call that keeps the interpreter, at least for so long.
    """
    ctypes.PyDLL(None).usleep(ns // 1000)  # a PyDLL's functions are called with the GIL


@pytest.mark.usefixtures("core")
def test_ticks(tmp_path: Path, read_trace: Reader) -> None:
    """
    Every tick of the grid was taken or missed: those within a call that keeps the interpreter were missed,
    and they are in the gaps of the trace.
    """
    path = tmp_path / "t.json"
    trace = fgtrace.trace(path, hz=HZ, max_overhead=1.0)
    outer = time.perf_counter_ns()
    trace.start()
    inner = time.perf_counter_ns()
    wait_for_ticks(3)
    hold_interpreter(HELD)
    wait_for_ticks(3)
    sampler = trace._sampler
    assert sampler is not None
    before = sampler.taken
    inner = time.perf_counter_ns() - inner
    trace.stop()
    outer = time.perf_counter_ns() - outer
    stats = read_trace().metadata["stats"]
    # the last one in the call is not missed, but late; the trace's last one is off the grid
    assert stats["ticks_missed"] >= HELD // PERIOD - 1
    assert inner // PERIOD <= stats["ticks_asked"] <= outer // PERIOD + 2
    assert stats["ticks_asked"] == stats["ticks_taken"] + stats["ticks_missed"]
    assert before <= stats["ticks_taken"] <= outer // PERIOD + 2 - stats["ticks_missed"]
    gaps = [each for each in fgtrace.load(path) if each.frame.category == "gap"]
    assert sum(int(dict(each.frame.args)["ticks"]) for each in gaps) == stats["ticks_missed"]
    assert all(each.end - each.start >= PERIOD for each in gaps)
    assert max(each.end - each.start for each in gaps) >= HELD - 2 * PERIOD
    assert stats["hz"] == pytest.approx(stats["ticks_taken"] / (duration(path) / 1e9))


def duration(path: Path) -> int:
    """
    How long a trace was, ns: its main thread lived until the end.
    """
    return max(each.track.end for each in fgtrace.load(path) if each.track.kind == "thread")


@pytest.mark.usefixtures("core")
def test_overhead(tmp_path: Path, read_trace: Reader) -> None:
    """
    What the ticks took, in all and at most, is what the process took while its threads only waited.

    What waits for ticks and wakes costs a small part of what a look at hundreds of threads costs.
    """
    path, end = tmp_path / "t.json", threading.Event()
    threads = [threading.Thread(target=end.wait, name=f"waits {number}") for number in range(MANY)]
    for thread in threads:
        thread.start()
    with fgtrace.trace(path, hz=HZ, max_overhead=1.0) as trace:
        wait_for_ticks(5)  # the first looks at threads that it does not know
        said, spent = spent_so_far(trace), time.process_time_ns()
        wait_for_ticks(60)
        said, spent = spent_so_far(trace) - said, time.process_time_ns() - spent
        least = spent_so_far(trace)
    end.set()
    for thread in threads:
        thread.join()
    assert 0.7 * spent < said < 1.1 * spent
    stats = read_trace().metadata["stats"]
    whole = stats["overhead"] * duration(path)
    assert 0.999 * least < whole < 2 * least  # a share times a duration is no whole number of ns
    assert whole / stats["ticks_taken"] <= stats["pause_max"] * 1e9 < whole


def spent_so_far(trace: fgtrace.Trace) -> int:
    """
    What the ticks have cost until now, as the trace has it, ns.
    """
    assert trace._sampler is not None
    return trace._sampler._figures().spent


def test_cost_by_a_clock_that_is_told(tmp_path: Path) -> None:
    """
    The overhead is the sum of what the ticks cost, of the whole time; the longest pause is the dearest tick.
    """
    costs = [number * 10_000 for number in range(1, 20)]
    clock = FakeClock(costs=costs, late=[0, 0, 25 * MS, 0, 12 * MS], stop_at=300 * MS)
    sampler = PythonSampler(Options(hz=100, max_overhead=1.0), clock=clock)
    sampler.start()
    sampler._thread.join()
    sampler.stop()
    stats = sampler.stats
    assert stats.ticks_taken == len(clock.waits) + 1  # the last one is taken at once
    assert stats.ticks_missed == len(set(range(0, clock.waits[-1] + 1, 10 * MS)) - set(clock.waits)) == 3
    assert stats.overhead == pytest.approx(sum(costs) / clock.time)
    assert stats.pause_max == pytest.approx(max(costs) / 1e9)
    assert stats.hz == pytest.approx(stats.ticks_taken / (clock.time / 1e9))


@pytest.mark.usefixtures("core")
def test_sizes(tmp_path: Path, read_trace: Reader) -> None:
    """
    The tracks are those in the file; an observation is noted where one changed.
    """
    end = threading.Event()
    threads = [threading.Thread(target=end.wait, name=f"waits {number}") for number in range(20)]
    for thread in threads:
        thread.start()
    with fgtrace.trace(tmp_path / "t.json", hz=HZ, max_overhead=1.0):
        wait_for_ticks(10)
    end.set()
    for thread in threads:
        thread.join()
    found = read_trace()
    stats, kinds = found.metadata["stats"], {"thread", "task"}
    tracks = [each for each in found.events("M") if each["args"].get("kind") in kinds]
    assert stats["tracks"] == len(tracks) >= 21
    changes = {(event["pid"], event["tid"], event["ts"]) for event in found.events("X")}
    assert len(changes) <= stats["observations"] <= stats["tracks"] * stats["ticks_taken"]
    assert (stats["cut"], stats["failed"], stats["steps"]) == (0, {}, 0)


@pytest.mark.parametrize("awaits", ["sampled", "exact"])
def test_late_tick(awaits: Literal["sampled", "exact"]) -> None:
    """
    A late tick holds from when it was due; with exact awaits from when it was taken: steps tell the rest.
    """
    clock = FakeClock(late=[0, 25 * MS], stop_at=45 * MS)
    sampler = PythonSampler(Options(hz=100, max_overhead=1.0, awaits=awaits), clock=clock)
    times: list[int] = []

    class Times:
        name = "times"

        def sample(self, now: int, frames: object) -> None:
            times.append(now // MS)

        def conclude(self, now: int) -> None:
            """
            Nothing is left to judge.
            """

        def close(self, now: int) -> None:
            """
            Nothing is left to note.
            """

    sampler._collectors[:] = [Times()]
    sampler.start()
    sampler._thread.join()
    sampler.stop()
    assert times == [0, 10 if awaits == "sampled" else 35, 40, 40]
