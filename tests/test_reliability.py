"""
The observer is a guest: what happens to the program, whatever happens to the trace.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fgtrace
from fgtrace._model.values import ThreadSample
from fgtrace._options.options import Options
from fgtrace._recording.recording import Recording, TrackEntry
from fgtrace._sampling.python_sampler import PythonSampler
from fgtrace._timeline.timeline import Timeline
from fgtrace.testing import FakeClock
from reading import Trace
from tick_count import work_for_ticks

pytestmark = pytest.mark.usefixtures("core")

Reader = Callable[..., Trace]
HEAD = """
import fgtrace, os, sys, time, threading, signal
trace = fgtrace.trace('t.json', hz=200).start()
time.sleep(0.05)
"""


def run(code: str, tmp_path: Path, *, end: int = 0) -> subprocess.CompletedProcess[str]:
    """
    Run a program that has a trace under way.
    """
    found = subprocess.run(
        [sys.executable, "-c", HEAD + textwrap.dedent(code)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == end, found.stderr
    return found


def is_complete(tmp_path: Path, name: str = "t.json") -> bool:
    return bool(json.loads((tmp_path / name).read_bytes())["metadata"]["fgtrace"]["complete"])


ENDS: dict[str, tuple[str, int, str]] = {
    "falls-off-the-end": ("", 0, ""),
    "sys-exit": ("sys.exit(7)", 7, ""),
    "exception": ("1/0", 1, "ZeroDivisionError"),
    "thread-outlives-main": ("threading.Thread(target=time.sleep, args=(0.2,)).start()", 0, ""),
    "stopped-in-atexit": ("import atexit; atexit.register(trace.stop)", 0, ""),
}


@pytest.mark.parametrize(("code", "end", "says"), ENDS.values(), ids=ENDS.keys())
def test_interpreter_ends(code: str, end: int, says: str, tmp_path: Path) -> None:
    """
    The interpreter ends in mid-trace: the trace is written, and the program ends as it would have.
    """
    found = run(code, tmp_path, end=end)
    assert says in found.stderr
    assert found.stdout == ""
    assert says or found.stderr == ""
    assert is_complete(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["t.json"]


KILLS = {
    "os-exit": ("os._exit(3)", 3),
    "sigterm": ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(5)", -signal.SIGTERM),
    "sigkill": ("os.kill(os.getpid(), signal.SIGKILL); time.sleep(5)", -signal.SIGKILL),
}


@pytest.mark.parametrize(("code", "end"), KILLS.values(), ids=KILLS.keys())
def test_killed(code: str, end: int, tmp_path: Path) -> None:
    """
    A program killed in mid-trace leaves the last whole file, and a partial one that says so.
    """
    (tmp_path / "t.json").write_text("the last whole one")
    run(code, tmp_path, end=end)
    assert (tmp_path / "t.json").read_text() == "the last whole one"
    assert not is_complete(tmp_path, "t.json.partial")


def test_signal_handlers_are_the_programs(tmp_path: Path) -> None:
    """
    A handler of the program's runs as ever.
    """
    code = """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(5)
    """
    run(code, tmp_path, end=9)
    assert is_complete(tmp_path)


FORKS = {
    "child-exits": "sys.exit(0)",
    "child-stops-the-trace": "trace.stop(); sys.exit(0)",
    "child-traces-itself": "fgtrace.trace('child.json').start(); time.sleep(0.03); sys.exit(0)",
    "child-falls-through": "pass",
    "child-has-its-interval": "assert sys.getswitchinterval() > 0.004; sys.exit(0)",
}


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("child", FORKS.values(), ids=FORKS.keys())
def test_fork(child: str, tmp_path: Path) -> None:
    """
    The child of a fork is not traced and not harmed; the parent's trace is its own.
    """
    code = f"""
    import warnings; warnings.simplefilter("ignore")
    pid = os.fork()
    if pid == 0:
        {child}
    else:
        assert os.waitpid(pid, 0)[1] == 0
        time.sleep(0.03)
        trace.stop()
        print("parent done")
    """
    assert run(code, tmp_path).stdout == "parent done\n"
    assert is_complete(tmp_path)
    assert json.loads((tmp_path / "t.json").read_bytes())["metadata"]["fgtrace"]["stats"]["ticks_taken"] > 3
    assert not list(tmp_path.glob("*.partial"))


def test_leaving_at_exit_waits_for_the_writer(tmp_path: Path) -> None:
    """
    A task cancelled while its trace is written leaves at once; the file becomes whole all the same.
    """
    code = """
    import asyncio
    trace.stop()
    async def main():
        async def traced():
            async with fgtrace.trace("late.json"):
                for _ in range(300):
                    await asyncio.gather(*(asyncio.sleep(0.001) for _ in range(30)))
                task.get_loop().call_soon(task.cancel)
        task = asyncio.create_task(traced())
        try:
            await task
        except asyncio.CancelledError:
            print("cancelled")
    asyncio.run(main())
    """
    assert run(code, tmp_path).stdout == "cancelled\n"
    assert is_complete(tmp_path, "late.json")
    assert not list(tmp_path.glob("*.partial"))


def test_switch_interval_that_the_program_sets(tmp_path: Path, python_core: str) -> None:
    """
    The interval is short while traces run; what the program sets meanwhile stays.
    """
    before = sys.getswitchinterval()
    with fgtrace.trace(tmp_path / "t.json"):
        with fgtrace.trace(tmp_path / "u.json"):
            assert sys.getswitchinterval() == pytest.approx(0.001)
        assert sys.getswitchinterval() == pytest.approx(0.001)
    assert sys.getswitchinterval() == before
    try:
        with fgtrace.trace(tmp_path / "t.json"):
            sys.setswitchinterval(0.002)
        assert sys.getswitchinterval() == pytest.approx(0.002)
    finally:
        sys.setswitchinterval(before)


# results


async def _outcomes() -> list[Any]:
    """
    Results, errors, cancellations and time-outs of many kinds of task.
    """

    async def result(value: int) -> int:
        await asyncio.sleep(0.01 * (value % 3))
        return value

    async def fails() -> None:
        await asyncio.sleep(0.01)
        raise KeyError("no")

    async def times_out() -> str:
        try:
            async with asyncio.timeout(0.02):
                await asyncio.sleep(5)
        except TimeoutError:
            return "timed out"
        return "no"

    cancelled = asyncio.create_task(asyncio.sleep(5))
    asyncio.get_running_loop().call_later(0.02, cancelled.cancel, "enough")
    waited = asyncio.wait_for(asyncio.Event().wait(), 0.02)
    found = await asyncio.gather(
        *map(result, range(20)), fails(), times_out(), cancelled, waited, return_exceptions=True
    )
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
            group.create_task(asyncio.sleep(5))
    except* KeyError as caught:
        found.append(repr(caught.exceptions))
    return [repr(each) for each in found]


def test_results_are_unchanged(tmp_path: Path) -> None:
    """
    Results, exceptions, cancellation and time-outs are those of the untraced program.
    """
    untraced = asyncio.run(_outcomes())
    with fgtrace.trace(tmp_path / "t.json", hz=1000, max_overhead=1.0):
        assert asyncio.run(_outcomes()) == untraced


def test_orphans_are_collected(tmp_path: Path) -> None:
    """
    What nobody but the tracer could hold is collected: a lost task, its future, a frame's locals.
    """

    class Precious:
        pass

    async def main() -> list[weakref.ref[Any]]:
        precious = Precious()
        future = asyncio.get_running_loop().create_future()

        async def lost(held: Precious, future: asyncio.Future[None]) -> None:
            await future

        task = asyncio.create_task(lost(precious, future))
        asyncio.get_running_loop().set_exception_handler(
            lambda *_: None
        )  # "Task was destroyed but it is pending!"
        references = [weakref.ref(each) for each in (precious, future, task)]
        await asyncio.sleep(0.05)
        del precious, future, task
        await asyncio.sleep(0.02)
        gc.collect()
        return [reference for reference in references if reference() is not None]

    with fgtrace.trace(tmp_path / "t.json", hz=500, max_overhead=1.0):
        assert asyncio.run(main()) == []


def test_nothing_keeps_a_trace(tmp_path: Path) -> None:
    """
    A trace that was stopped is garbage like anything else: no exit callback holds it.
    """
    trace = fgtrace.trace(tmp_path / "t.json").start()
    trace.stop()
    reference = weakref.ref(trace)
    del trace
    gc.collect()
    assert reference() is None


def test_leaving_does_not_block_the_loop(tmp_path: Path, python_core: str) -> None:
    """
    While a large trace is written, the loop goes on turning, and no full garbage collection starts.

    How long it is without the interpreter at most is a matter of seconds, and so of bench/leaving.py.
    """
    script = _large_recording()
    turns = 0
    full: list[str] = []

    async def main() -> float:
        trace = fgtrace.trace(tmp_path / "t.json").start()
        assert trace._sampler is not None
        trace._sampler.recording = script
        await asyncio.sleep(0.02)  # longer than the recording, whose last time is 5 ms
        watcher = asyncio.create_task(watch())
        await asyncio.sleep(0)
        gc.callbacks.append(count)
        began = time.perf_counter()
        await trace.__aexit__(None, None, None)
        gc.callbacks.remove(count)
        watcher.cancel()
        return time.perf_counter() - began

    async def watch() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    def count(phase: str, info: dict[str, int]) -> None:
        if phase == "start" and info["generation"] == 2:
            full.append(threading.current_thread().name)

    gc.collect()
    seconds = asyncio.run(main())
    assert (tmp_path / "t.json").stat().st_size > 3_000_000
    assert turns > seconds / 0.02
    assert "fgtrace writer" not in full


def _large_recording() -> Recording:
    """
    Thirty thousand changes of forty tracks.
    """
    from scripted import Script

    script = Script()
    stacks = ["abc", "abd", "aef", "abcdefgh", "xyz"]
    for time_ in range(30_000):
        script.at(time_ * 150, f"thread {time_ % 40}", stacks[(time_ + time_ // 40) % 5])
    return script.recording


# the tracer's own trouble


class Broken:
    """
    A collector that fails.
    """

    name = "broken"

    def sample(self, now: int, frames: object) -> None:
        raise RuntimeError("cannot look")

    def conclude(self, now: int) -> None:
        raise AssertionError("it was unplugged")

    def close(self, now: int) -> None:
        raise AssertionError("it was unplugged")


class Counting:
    """
    A collector that counts its looks.
    """

    name = "counting"

    def __init__(self) -> None:
        self.looks: list[int] = []
        self.concluded = -1
        self.closed = False

    def sample(self, now: int, frames: object) -> None:
        self.looks.append(now)

    def conclude(self, now: int) -> None:
        self.concluded = now

    def close(self, now: int) -> None:
        self.closed = True


def test_failing_collector_is_unplugged(caplog: pytest.LogCaptureFixture) -> None:
    """
    A collector that fails is left out from then on, logged once, and noted.
    """
    counting = Counting()
    clock = FakeClock(stop_at=50_000_000)
    sampler = PythonSampler(Options(hz=100), clock=clock, collectors=[Broken(), counting])
    with caplog.at_level(logging.WARNING, "fgtrace"):
        sampler.start()
        sampler._thread.join()
        sampler.stop()
    assert sampler.stats.failed == {"broken": "RuntimeError: cannot look"}
    assert [record.name for record in caplog.records] == ["fgtrace"]
    assert counting.looks == [0, 10_000_000, 20_000_000, 30_000_000, 40_000_000, 40_000_000]
    assert counting.concluded == counting.looks[-1]
    assert counting.closed


def test_collector_that_fails_to_conclude() -> None:
    """
    It is left out, too, and the others go on.
    """

    class Doubtful(Counting):
        name = "doubtful"

        def conclude(self, now: int) -> None:
            raise OSError("the system does not say")

    doubtful, counting = Doubtful(), Counting()
    clock = FakeClock(stop_at=30_000_000)
    sampler = PythonSampler(Options(hz=100), clock=clock, collectors=[doubtful, counting])
    sampler.start()
    sampler._thread.join()
    sampler.stop()
    assert sampler.stats.failed == {"doubtful": "OSError: the system does not say"}
    assert (doubtful.looks, doubtful.closed) == ([0], False)
    assert counting.looks == [0, 10_000_000, 20_000_000, 20_000_000]
    assert counting.concluded == counting.looks[-1]


def test_failure_prints_nothing(tmp_path: Path, python_core: str) -> None:
    """
    Where the program has not configured logging, a failure does not reach its stderr.
    """
    code = """
    trace._sampler._collectors[0].sample = None
    time.sleep(0.05)
    trace.stop()
    assert "tasks" in trace.stats.failed, trace.stats
    """
    assert run(code, tmp_path).stderr == ""
    assert is_complete(tmp_path)


def test_late_tick_holds_from_when_it_was_due() -> None:
    """
    What a late tick sees is drawn from when the tick was due, and the stretch is marked.
    """
    recording = Recording()

    class Script:
        name = "script"

        def __init__(self) -> None:
            self.stacks = iter([1, 2, 2, 2, 2])
            self.track = recording.add_track(TrackEntry("thread", "main", 0, tid=1))
            codes = {1: _wriggle.__code__, 2: _here.__code__}
            self.nodes = {
                number: recording.intern_stack([recording.intern_code(code, "m") << 24])
                for number, code in codes.items()
            }

        def sample(self, now: int, frames: object) -> None:
            recording.observe(
                now,
                self.track,
                self.nodes[next(self.stacks)],
                recording.intern_thread_sample(ThreadSample("busy")),
            )

        def conclude(self, now: int) -> None:
            pass

        def close(self, now: int) -> None:
            pass

    clock = FakeClock(late=[0, 55_000_000], stop_at=75_000_000)
    sampler = PythonSampler(Options(hz=100), clock=clock, recording=recording, collectors=[Script()])
    sampler.start()
    sampler._thread.join()
    sampler.stop()
    timeline = Timeline(recording, fgtrace.Config(state_frames="no"), sampler.end, 1)
    drawn = [
        (s.track.name, s.start // 1_000_000, s.end // 1_000_000, s.frame.name) for s in timeline.slices()
    ]
    assert ("main", 0, 10, "m._wriggle") in drawn
    assert ("main", 10, 70, "m._here") in drawn
    assert ("fgtrace: gaps", 10, 65, "late ticks") in drawn
    assert sampler.stats.ticks_missed == 5


@pytest.mark.parametrize("hz", [10, 100, 200])
def test_calls_of_one_period_each(hz: int, tmp_path: Path, read_trace: Reader) -> None:
    """
    Of two functions called in turn, each for one tick, the slices are as many as the calls.

    That is the limit of what a sampler can tell apart (after fgtrace for Go).
    """

    def one() -> None:
        work_for_ticks(1)

    def two() -> None:
        work_for_ticks(1)

    calls = 20
    with fgtrace.trace(tmp_path / "t.json", hz=hz):
        for _ in range(calls // 2):
            one()
            two()
    rows = read_trace().track("MainThread")
    slices = [row for row in rows if row.name.endswith(("<locals>.one", "<locals>.two"))]
    assert [row.name.rpartition(".")[2] for row in slices] == ["one", "two"] * (calls // 2)


def test_memory_is_bounded_and_nothing_lost(tmp_path: Path, read_trace: Reader) -> None:
    """
    A trace that outgrows its memory goes on in a temporary file, which is gone afterwards.
    """
    with fgtrace.trace(tmp_path / "t.json", hz=2000, max_memory=1024 * 1024, max_overhead=1.0) as trace:
        assert trace._sampler is not None
        recording = trace._sampler.recording
        end = time.monotonic() + 60  # else nothing is ever spilled
        threads = [threading.Thread(target=_wriggle, args=(recording, end)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert recording.spilled > 0
    assert trace.stats.failed == {}
    found = read_trace()
    assert sum(len(rows) for rows in found.all("Thread-*")) > 1000


def _wriggle(recording: Recording, end: float) -> None:
    while not recording.spilled and time.monotonic() < end:
        time.sleep(0.0003)
        _here()


def _here() -> None:
    time.sleep(0.0003)
