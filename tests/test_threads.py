"""
Thread tracks against real threads: the state, the native call at the leaf, the CPU clock.
"""

from __future__ import annotations

import _thread
import asyncio
import hashlib
import os
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import ExitStack
from functools import partial
from itertools import groupby

import pytest

import fgtrace
from blocking import corpus
from fgtrace._recording.recording import Recording
from fgtrace._sampling.collect import threads as threads_collector
from fgtrace._sampling.collect.threads import ThreadCollector
from reading import Rows, Trace
from situations import HOLD, Situation, chains_in, check, in_order, read_file
from tick_count import wait_for_ticks, work_for_ticks
from trace_processor import Engine

pytestmark = pytest.mark.usefixtures("core")

Traced = Callable[..., Trace]
CHUNK = bytes(64_000_000)
COMPUTES = {"running", "GIL wait"}
#: Ticks so long that a busy machine lets every thread run in each.
RARELY = 40
GAPS = {"tracer"}


@pytest.fixture(scope="module")
def blocked(core: str, trace_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """
    One trace of all the blocking calls at once.
    """
    path = tmp_path_factory.mktemp("blocked") / "t.json"
    with fgtrace.trace(path, hz=200, max_overhead=1.0):
        all_at_once()
    return read_file(trace_engine, path)


def all_at_once() -> None:
    """
    Every blocking call in a thread of its own, and an executor without work.
    """
    with ExitStack() as later:
        threads = [threading.Thread(target=each.work, args=(later,), name=each.name) for each in corpus]
        for each in threads:
            each.start()
        pool = later.enter_context(futures.ThreadPoolExecutor(1, "worker"))
        pool.submit(int).result()
        time.sleep(HOLD)
    for each in threads:
        each.join()


@pytest.mark.parametrize("situation", [pytest.param(each, id=each.name.replace(" ", "-")) for each in corpus])
def test_blocked(blocked: Trace, situation: Situation) -> None:
    """
    A blocked thread shows its state, what it waits on, the line, and the native call innermost.
    """
    check(blocked, situation)


def test_idle_worker(blocked: Trace) -> None:
    """
    An executor's worker without work is idle, but for the moment in which it hands over a result.
    """
    worker = blocked.track("worker_0")
    assert set(worker.states()) - COMPUTES - {"lock wait"} == {"idle"}


def nap() -> None:
    """
    Sleep until a trace has looked a few times meanwhile.
    """
    wait_for_ticks(4)


def blink() -> None:
    time.sleep(0.001)


def sha1() -> object:
    return hashlib.sha1(CHUNK)  # noqa: S324


def crc() -> object:
    return zlib.crc32(CHUNK)


@pytest.mark.parametrize(("work", "leaf"), [(sha1, "hashlib.sha1"), (crc, "zlib.crc32")], ids=["sha", "crc"])
def test_native_work(traced: Traced, work: Callable[[], object], leaf: str) -> None:
    """
    A thread that computes in C without the GIL runs, and the call is its leaf.
    """

    def main() -> None:
        busy = threading.Thread(target=work_for_ticks, args=(10, work), name="busy")
        busy.start()
        busy.join()

    trace = traced(main, hz=RARELY)
    busy = trace.track("busy")
    assert set(busy.states()) <= COMPUTES
    assert any(chain[-1] == leaf for chain in every_chain(busy, "running"))
    assert "thread wait" in trace.track("MainThread").states()


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="needs a thread that Linux does not let run")
def test_crowded_out(traced: Traced) -> None:
    """
    A thread that computes, but whose processor the system gives to others, does not wait.
    """
    processor = {min(os.sched_getaffinity(0))}

    def main() -> None:
        def work() -> None:
            os.sched_setaffinity(0, processor)
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            work_for_ticks(40, sha1)

        with subprocess.Popen((sys.executable, "-c", "while True: pass")) as other:
            os.sched_setaffinity(other.pid, processor)
            busy = threading.Thread(target=work, name="busy")
            busy.start()
            wait_for_ticks(30)
            other.kill()
            os.sched_setscheduler(busy.native_id or 0, os.SCHED_OTHER, os.sched_param(0))
            busy.join()

    busy = traced(main).track("busy")
    assert set(busy.states()) <= COMPUTES
    assert busy.named("hashlib.sha1")


def test_python_work(traced: Traced) -> None:
    """
    A thread that computes in Python runs, and shows its functions in the order of their calls.
    """

    def inner() -> int:
        return sum(number * number for number in range(1000))

    trace = traced(partial(work_for_ticks, 10, inner), hz=RARELY)
    main = trace.track("MainThread")
    assert set(main.states()) <= COMPUTES
    assert any(
        in_order(chain, ["work_for_ticks", "inner", "*<genexpr>"]) for chain in every_chain(main, "running")
    )


def every_chain(track: Rows, state: str) -> list[list[str]]:
    return [chain for row in track.named(state) for chain in chains_in(track, row)]


def test_gil(traced: Traced) -> None:
    """
    Threads that compute in Python side by side run or wait for the GIL.

    A machine that lets none of them run in a whole tick looks like a wait: that is rare.
    """

    def main() -> None:
        busy = [threading.Thread(target=work_for_ticks, args=(80,), name=f"busy {each}") for each in range(4)]
        for each in busy:
            each.start()
        for each in busy:
            each.join()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.01)  # longer than a tick: then a tick sees one that did not run at all
    try:
        trace = traced(main)
    finally:
        sys.setswitchinterval(interval)
    states = [row for track in trace.all("busy *") for row in track if row.category == "state"]
    assert {row.name for row in states} >= COMPUTES
    elsewhere = [row.dur for row in states if row.name not in COMPUTES]
    assert sum(elsewhere) < 0.1 * sum(row.dur for row in states)


def test_succession(traced: Traced) -> None:
    """
    A thread that takes the place of a dead one has a track of its own, which begins later.
    """

    def main() -> None:
        for name in ("first", "second"):
            each = threading.Thread(target=nap, name=name)
            each.start()
            each.join()

    trace = traced(main)
    first, second = trace.track("first"), trace.track("second")
    assert "sleep" in first.states()
    assert "sleep" in second.states()
    assert max(row.end for row in first) <= min(row.ts for row in second)


def test_short_lives(traced: Traced) -> None:
    """
    Each of many threads that come and go has one track, however early or late it was seen.
    """

    def main() -> None:
        for number in range(300):
            each = threading.Thread(target=blink, name=f"short {number}")
            each.start()
            each.join()

    trace = traced(main, hz=2000)
    assert {len(found) for found in trace.tracks.values()} == {1}
    assert list(trace.all("short *"))


def test_renamed(traced: Traced) -> None:
    """
    A thread that is renamed in flight has its last name, and tells the former one.
    """

    def work() -> None:
        nap()
        threading.current_thread().name = "after"
        nap()

    def main() -> None:
        each = threading.Thread(target=work, name="before")
        each.start()
        each.join()

    trace = traced(main)
    assert "sleep" in trace.track("after").states()
    assert not list(trace.all("before"))
    assert "before" in [event["args"].get("former name") for event in trace.events("M")]


def test_foreign(traced: Traced) -> None:
    """
    Threads that ``threading`` does not know are told apart, also where one has another's ident.
    """
    native, idents = [], []

    def work() -> None:
        native.append(_thread.get_native_id())
        idents.append(_thread.get_ident())
        nap()
        ended.set()

    ended = threading.Event()

    def main() -> None:
        for _ in range(3):
            ended.clear()
            _thread.start_new_thread(work, ())
            ended.wait()

    trace = traced(main)
    assert len(set(native)) == 3
    assert all("sleep" in trace.track(f"thread {number}").states() for number in native)


def test_foreign_named(traced: Traced) -> None:
    """
    A foreign thread that becomes known to ``threading`` keeps its track, and gets the name.
    """
    ended = threading.Event()

    def unknown() -> None:
        nap()

    def known() -> None:
        nap()

    def work() -> None:
        unknown()
        threading.current_thread()
        known()
        ended.set()

    def main() -> None:
        _thread.start_new_thread(work, ())
        ended.wait()

    trace = traced(main)
    # a slice of a function ends where the state of its thread changes, and a nap is looked at while it wakes
    functions = [row.name.rpartition(".")[2] for row in trace.track("Dummy-*").named("*known")]
    assert [function for function, _ in groupby(functions)] == ["unknown", "known"]
    # a worker of pytest has such a thread of its own
    assert not [rows for rows in trace.all("thread *") if rows.named("*.work")]


def test_executor(traced: Traced) -> None:
    """
    An executor's worker is idle, works, and is idle again.
    """

    def main() -> None:
        with futures.ThreadPoolExecutor(1, "pool") as pool:
            pool.submit(int).result()
            nap()
            pool.submit(nap).result()
            nap()

    handing_over = COMPUTES | {"lock wait"}
    states = [state for state in traced(main).track("pool_0").states() if state not in handing_over]
    assert [state for state, _ in groupby(states)] == ["idle", "sleep", "idle"]


def test_no_threads(traced: Traced) -> None:
    """
    Without threads there are tracks of tasks only.
    """
    trace = traced(partial(asyncio.sleep, 0.05), threads=False)
    assert {
        event["args"]["kind"] for event in trace.events("M") if event["name"] == "thread_name"
    } - GAPS == {"task"}


def test_no_tasks(traced: Traced) -> None:
    """
    Without tasks there are tracks of threads only.
    """
    trace = traced(partial(asyncio.sleep, 0.05), tasks=False)
    assert {
        event["args"]["kind"] for event in trace.events("M") if event["name"] == "thread_name"
    } - GAPS == {"thread"}


class Clocks:
    """
    Threads whose CPU clocks a test moves, under a collector.
    """

    def __init__(self, threads: dict[str, threading.Thread]) -> None:
        self.recording = Recording()
        self.time = 0
        self._threads = threads
        self._cpu = {thread.native_id: 0 for thread in threads.values()}
        self._collector = ThreadCollector(
            self.recording,
            clock_of=lambda native: partial(self._cpu.__getitem__, native),
            clock=lambda: self.time,
        )

    def after(self, ns: int, **used: int) -> dict[str, str]:
        """
        Sample after some time, of which each thread has used so much; what is noted of each since the start.
        """
        self.time += ns
        for name, cpu in used.items():
            native = self._threads[name].native_id
            assert native is not None
            self._cpu[native] += cpu
        frames = sys._current_frames()
        self._collector.sample(self.time, {each.ident: frames[each.ident] for each in self._threads.values()})  # type: ignore[index, misc]
        self._collector.conclude(self.time)
        return {
            self.recording.tracks[track].name: self.recording.thread_samples[detail].cpu
            for _, track, _, detail in self.recording.read()
        }


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clocks]:
    """
    Two threads that wait, as the system says; the switch interval is 1 ms.
    """
    monkeypatch.setattr(threads_collector, "_wants_to_run", lambda _: False)
    end = threading.Event()
    threads = {name: threading.Thread(target=end.wait, name=name) for name in ("one", "two")}
    for thread in threads.values():
        thread.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.001)
    try:
        yield Clocks(threads)
    finally:
        sys.setswitchinterval(interval)
        end.set()
        for thread in threads.values():
            thread.join()


MS = 1_000_000
JUDGED = {
    "both-ran": (5 * MS, 5 * MS, 5 * MS, ("busy", "busy")),
    "in-part": (5 * MS, 2 * MS, 5 * MS, ("some", "busy")),
    "just-busy": (100 * MS, 90 * MS, 100 * MS, ("busy", "busy")),
    "not-quite-busy": (100 * MS, 90 * MS - 1, 100 * MS, ("some", "busy")),
    "hardly": (100 * MS, 2 * MS, 100 * MS, ("some", "busy")),
    "starved": (100 * MS, 2 * MS - 1, 100 * MS, ("starved", "busy")),
    "waits-for-the-gil": (2 * MS - 1, 0, 2 * MS - 1, ("starved", "busy")),
    "waits-for-something-else": (2 * MS, 0, 2 * MS, ("still", "busy")),
    "nobody": (MS, 0, 0, ("still", "still")),
    "nobody-for-long": (5 * MS, 0, 0, ("still", "still")),
    "too-soon": (499_999, 0, 499_999, ("unknown", "unknown")),
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="CPU clocks of threads are Linux's")
@pytest.mark.parametrize("case", JUDGED.values(), ids=JUDGED.keys())
def test_cpu_clocks(clocks: Clocks, case: tuple[int, int, int, tuple[str, str]]) -> None:
    """
    What the clocks of two threads say together: who ran, who waited for its turn, and who for something else.
    """
    ns, one, two, said = case
    assert clocks.after(MS) == {"one": "unknown", "two": "unknown"}
    found = clocks.after(ns, one=one, two=two)
    assert (found["one"], found["two"]) == said
