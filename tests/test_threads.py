"""
Thread tracks against real blocking calls: the state, the native call at the leaf, the CPU clock.
"""

from __future__ import annotations

import _thread
import asyncio
import hashlib
import multiprocessing
import os
import queue
import select
import selectors
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import zlib
from collections.abc import Callable
from concurrent import futures
from contextlib import ExitStack
from functools import partial
from typing import Any

import fgtrace
import pytest
from reading import Rows, Trace
from situations import HOLD, Corpus, Situation, chains_in, check, in_order, read_file
from stalls import busy_port, mute_port, socket_pair
from trace_processor import Engine

corpus = Corpus()
blocks = partial(corpus, loops="")
Traced = Callable[..., Trace]
ANY = "127.0.0.1"
SLEEP = ("sleep", "60")
CHUNK = bytes(64_000_000)
COMPUTES = {"running", "GIL wait"}
#: Ticks so long that a busy machine lets every thread run in each.
RARELY = 40


@blocks("sleep", "time.sleep", "time.sleep")
def sleep(later: ExitStack) -> None:
    time.sleep(HOLD)  # waits


@blocks("sleep", "time.sleep", "time.sleep")
def sleep_by_star(later: ExitStack) -> None:
    given = (HOLD,)
    time.sleep(*given)  # waits


@blocks("lock wait", "taken.acquire", "taken.acquire")
def lock(later: ExitStack) -> None:
    taken = threading.Lock()
    taken.acquire()
    taken.acquire(timeout=HOLD)  # waits


@blocks("lock wait", "taken.__enter__", "taken.__enter__")
def with_lock(later: ExitStack) -> None:
    taken = threading.Lock()
    taken.acquire()
    later.callback(taken.release)
    with taken:  # waits
        pass


@blocks("lock wait", "taken.acquire", "taken.acquire")
def reentrant_lock(later: ExitStack) -> None:
    taken = threading.RLock()
    later.enter_context(futures.ThreadPoolExecutor(1)).submit(taken.acquire).result()
    taken.acquire(timeout=HOLD)  # waits


@blocks("lock wait", "threading.Semaphore", "Semaphore.acquire", "Condition.wait", "waiter.acquire")
def semaphore(later: ExitStack) -> None:
    threading.Semaphore(0).acquire(timeout=HOLD)  # waits


@blocks("event wait", "threading.Event", "Event.wait", "Condition.wait", "waiter.acquire")
def event(later: ExitStack) -> None:
    threading.Event().wait(HOLD)  # waits


@blocks("event wait", "threading.Condition", "Condition.wait", "waiter.acquire")
def condition(later: ExitStack) -> None:
    held = threading.Condition()
    with held:
        held.wait(HOLD)  # waits


@blocks("event wait", "threading.Barrier", "Barrier.wait", "Condition.wait", "waiter.acquire")
def barrier(later: ExitStack) -> None:
    one_of_two = threading.Barrier(2)
    later.callback(one_of_two.wait)
    one_of_two.wait()  # waits


@blocks("queue wait", "queue.Queue", "Queue.get", "Condition.wait", "waiter.acquire")
def queue_get(later: ExitStack) -> None:
    empty = queue.Queue[int]()
    later.callback(empty.put, 1)
    empty.get()  # waits


@blocks("queue wait", "queue.Queue", "Queue.put", "Condition.wait", "waiter.acquire")
def queue_put(later: ExitStack) -> None:
    full = queue.Queue[int](1)
    full.put(1)
    later.callback(full.get)
    full.put(2)  # waits


@blocks("queue wait", "queue.Queue", "Queue.join", "Condition.wait", "waiter.acquire")
def queue_join(later: ExitStack) -> None:
    full = queue.PriorityQueue[int]()
    full.put(1)
    later.callback(full.task_done)
    full.join()  # waits


@blocks("queue wait", "empty.get", "empty.get")
def simple_queue(later: ExitStack) -> None:
    empty = queue.SimpleQueue[int]()
    later.callback(empty.put, 1)
    empty.get()  # waits


@blocks("I/O wait", "multiprocessing.connection", "Queue.get", "*.poll", "...")
def process_queue(later: ExitStack) -> None:
    empty: Any = multiprocessing.Queue()
    later.callback(empty.put, 1)
    empty.get(timeout=60)  # waits
    empty.close()
    empty.join_thread()


@blocks("thread wait", "threading.Thread", "Thread.join", "...")
def join(later: ExitStack) -> None:
    other = threading.Thread(target=time.sleep, args=(HOLD,), name="joined")
    other.start()
    other.join()  # waits


@blocks("thread wait", "concurrent.futures.Future", "Future.result", "Condition.wait", "waiter.acquire")
def future(later: ExitStack) -> None:
    pending = futures.Future[int]()
    later.callback(pending.set_result, 1)
    pending.result()  # waits


@blocks("thread wait", "concurrent.futures.*", "_base.wait", "...")
def future_wait(later: ExitStack) -> None:
    futures.wait([futures.Future[int]()], timeout=HOLD)  # waits


@blocks("I/O wait", "here.recv", "here.recv")
def recv(later: ExitStack) -> None:
    here, there = socket.socketpair()
    with here:
        later.callback(there.close)
        here.recv(1)  # waits


@blocks("I/O wait", "here.sendall", "here.sendall")
def sendall(later: ExitStack) -> None:
    here, there = socket.socketpair()
    with here, there:
        here.settimeout(HOLD)
        try:
            here.sendall(CHUNK)  # waits
        except TimeoutError:
            return


@blocks("I/O wait", "socket.*", "socket.accept", "self._accept")
def accept(later: ExitStack) -> None:
    server = later.enter_context(socket.create_server((ANY, 0)))
    later.callback(lambda: socket.create_connection(server.getsockname()).close())
    server.accept()[0].close()  # waits


@blocks("I/O wait", "socket.create_connection", "create_connection", "sock.connect")
def connect(later: ExitStack) -> None:
    with busy_port() as port:
        try:
            socket.create_connection((ANY, port), HOLD)  # waits
        except TimeoutError:
            return


@blocks("I/O wait", "select.select", "select.select")
def select_call(later: ExitStack) -> None:
    select.select([], [], [], HOLD)  # waits


@blocks("I/O wait", "selectors.*", "*Selector.select", "self._selector.poll")
def selector(later: ExitStack) -> None:
    with socket_pair() as (one, _), selectors.DefaultSelector() as chosen:
        chosen.register(one, selectors.EVENT_READ)
        chosen.select(HOLD)  # waits


@blocks("I/O wait", "os.read", "os.read")
def pipe_read(later: ExitStack) -> None:
    there, here = os.pipe()
    later.callback(os.close, here)
    os.read(there, 1)  # waits
    os.close(there)


@blocks("I/O wait", "answer.readline", "answer.readline")
def file_read(later: ExitStack) -> None:
    there, here = os.pipe()
    later.callback(os.close, here)
    with os.fdopen(there) as answer:
        answer.readline()  # waits


@blocks(
    "I/O wait",
    "socket.*",
    "urllib.request.urlopen",
    "SocketIO.readinto",
    "self._sock.recv_into",
)
def http(later: ExitStack) -> None:
    port = later.enter_context(mute_port())
    try:
        urllib.request.urlopen(f"http://{ANY}:{port}", timeout=HOLD)  # waits
    except OSError:
        return


@blocks("subprocess wait", "subprocess.Popen", "Popen.wait", "Popen._wait", "Popen._try_wait", "os.waitpid")
def subprocess_wait(later: ExitStack) -> None:
    with subprocess.Popen(SLEEP) as child:
        later.callback(child.kill)
        child.wait()  # waits


@blocks("subprocess wait", "subprocess.Popen", "subprocess.run", "Popen.communicate", "...")
def subprocess_run(later: ExitStack) -> None:
    subprocess.run(("sleep", str(HOLD)), capture_output=True, check=False)  # waits


@blocks("subprocess wait", "os.system", "os.system")
def system(later: ExitStack) -> None:
    os.system(f"sleep {HOLD}")  # waits


@blocks("select", "event loop", "run", "*._run_once", "*.select", "self._selector.poll")
def loop(later: ExitStack) -> None:
    asyncio.run(asyncio.sleep(HOLD))  # waits


@pytest.fixture(scope="module")
def blocked(trace_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Trace:
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
    An executor's worker without work is idle.
    """
    worker = blocked.track("worker_0")
    assert set(worker.states()) - COMPUTES == {"idle"}


def nap() -> None:
    time.sleep(0.05)


def blink() -> None:
    time.sleep(0.001)


def sha1() -> object:
    return hashlib.sha1(CHUNK)  # noqa: S324


def crc() -> object:
    return zlib.crc32(CHUNK)


def for_a_while(work: Callable[[], object], seconds: float = 0.2) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        work()


@pytest.mark.parametrize(("work", "leaf"), [(sha1, "hashlib.sha1"), (crc, "zlib.crc32")], ids=["sha", "crc"])
def test_native_work(traced: Traced, work: Callable[[], object], leaf: str) -> None:
    """
    A thread that computes in C without the GIL runs, and the call is its leaf.
    """

    def main() -> None:
        busy = threading.Thread(target=for_a_while, args=(work,), name="busy")
        busy.start()
        busy.join()

    trace = traced(main, hz=RARELY)
    busy = trace.track("busy")
    assert set(busy.states()) <= COMPUTES
    assert "running" in busy.states()
    assert any(chain[-1] == leaf for chain in busy.chains("running"))
    assert "thread wait" in trace.track("MainThread").states()


def test_python_work(traced: Traced) -> None:
    """
    A thread that computes in Python runs, and shows its functions in the order of their calls.
    """

    def inner() -> int:
        return sum(number * number for number in range(1000))

    trace = traced(lambda: for_a_while(inner), hz=RARELY)
    main = trace.track("MainThread")
    assert set(main.states()) <= COMPUTES
    assert any(in_order(chain, ["for_a_while", "inner", "*<genexpr>"]) for chain in every_chain(main, "running"))


def every_chain(track: Rows, state: str) -> list[list[str]]:
    return [chain for row in track.named(state) for chain in chains_in(track, row)]


def test_gil(traced: Traced) -> None:
    """
    Of two threads that compute in Python each runs or waits for the GIL, and does nothing else.
    """

    def main() -> None:
        busy = [threading.Thread(target=for_a_while, args=(int, 0.3), name=name) for name in ("one", "two")]
        for each in busy:
            each.start()
        for each in busy:
            each.join()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.03)  # longer than a tick: then a tick sees one that did not run at all
    try:
        trace = traced(main)
    finally:
        sys.setswitchinterval(interval)
    states = [state for name in ("one", "two") for state in trace.track(name).states()]
    assert set(states) == COMPUTES


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
    assert first.states()[-1] == second.states()[-1] == "sleep"
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
    assert trace.track("after").states()[-1] == "sleep"
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
        time.sleep(0.05)
        ended.set()

    ended = threading.Event()

    def main() -> None:
        for _ in range(3):
            ended.clear()
            _thread.start_new_thread(work, ())
            ended.wait()

    trace = traced(main)
    assert [trace.track(f"thread {number}").states()[-1] for number in native] == ["sleep"] * 3


def test_foreign_named(traced: Traced) -> None:
    """
    A foreign thread that becomes known to ``threading`` keeps its track, and gets the name.
    """
    ended = threading.Event()

    def work() -> None:
        time.sleep(0.05)
        threading.current_thread()
        time.sleep(0.05)
        ended.set()

    def main() -> None:
        _thread.start_new_thread(work, ())
        ended.wait()

    trace = traced(main)
    assert len(trace.track("Dummy-*").named("time.sleep")) == 2
    assert not list(trace.all("thread *"))


def test_executor(traced: Traced) -> None:
    """
    An executor's worker is idle, works, and is idle again.
    """

    def main() -> None:
        with futures.ThreadPoolExecutor(1, "pool") as pool:
            pool.submit(int).result()
            time.sleep(0.05)
            pool.submit(nap).result()
            time.sleep(0.05)

    states = [state for state in traced(main).track("pool_0").states() if state not in COMPUTES]
    assert states == ["idle", "sleep", "idle"]


def test_no_threads(traced: Traced) -> None:
    """
    Without threads there are tracks of tasks only.
    """
    trace = traced(partial(asyncio.sleep, 0.05), threads=False)
    assert {event["args"]["kind"] for event in trace.events("M") if event["name"] == "thread_name"} == {"task"}


def test_no_tasks(traced: Traced) -> None:
    """
    Without tasks there are tracks of threads only.
    """
    trace = traced(partial(asyncio.sleep, 0.05), tasks=False)
    assert {event["args"]["kind"] for event in trace.events("M") if event["name"] == "thread_name"} == {"thread"}
