"""
Exact awaits: every step of every task with its true start and end, and who woke it.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import os
import socket
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import fgtrace
from fgtrace._sampling.exact import collector
from forking import fork
from reading import Row, Rows, Trace
from tick_count import wait_for_ticks

pytestmark = pytest.mark.usefixtures("core")

Reader = Callable[..., Trace]
Traced = Callable[..., Trace]
run = asyncio.events.Handle.__dict__["_run"]
call_soon = asyncio.BaseEventLoop.__dict__["_call_soon"]


@pytest.fixture
def exact(traced: Traced) -> Traced:
    """
    Runs something under an exact trace, and reads what was written.
    """
    return partial(traced, awaits="exact")


def states(rows: Rows, name: str = "*") -> list[Row]:
    """
    The states of a task, one after the other.
    """
    return [row for row in rows.named(name) if row.category == "state" and row.depth == 0]


def tasks(trace: Trace) -> Iterator[tuple[Rows, list[int]]]:
    """
    Each task's slices, and its life.
    """
    for event in trace.events("M"):
        args = event["args"]
        if event["name"] == "thread_name" and args["kind"] == "task":
            yield trace.track(args["name"].replace("└ ", "")), args["life"]


def track_names(trace: Trace) -> dict[tuple[int, int], str]:
    """
    (pid, tid) -> the name of the track.
    """
    return {
        (e["pid"], e["tid"]): e["args"]["name"].replace("└ ", "")
        for e in trace.events("M")
        if e["name"] == "thread_name"
    }


def arrows(trace: Trace) -> list[tuple[str, str, str]]:
    """
    (name, from, to) of each arrow, tracks by name.
    """
    names = track_names(trace)
    ends = {event["id"]: event for event in trace.events("f")}
    return [
        (e["name"], names[e["pid"], e["tid"]], names[ends[e["id"]]["pid"], ends[e["id"]]["tid"]])
        for e in trace.events("s")
    ]


def assert_contiguous(trace: Trace) -> None:
    """
    Each task's states follow one another, and add up to its life.
    """
    found = list(tasks(trace))
    assert found
    for rows, (start, end) in found:
        line = states(rows)
        assert [row.end for row in line[:-1]] == [row.ts for row in line[1:]], rows.name
        assert sum(row.dur for row in line) == end - start, rows.name


@pytest.mark.parametrize("hz", [1, 99])
@pytest.mark.parametrize("where", ["outside", "inside"])
def test_ten_sleeps(hz: float, where: str, exact: Traced, tmp_path: Path, read_trace: Reader) -> None:
    """
    Ten sleeps in a row are ten slices with nine steps between them, at any rate.
    """

    async def sleeps() -> None:
        for _ in range(10):
            await asyncio.sleep(0.01)

    async def main() -> None:
        with fgtrace.trace(tmp_path / "t.json", awaits="exact", hz=hz):
            await sleeps()

    if where == "inside":
        asyncio.run(main())
        trace = read_trace()
    else:
        trace = exact(sleeps, hz=hz)
    track = next(rows for rows in trace.all("Task-*") if rows.named("sleep"))
    line = [row for row in states(track) if row.name != "runnable"]
    first = next(place for place, row in enumerate(line) if row.name == "sleep")
    assert [row.name for row in line[first : first + 19]] == ["sleep", "running"] * 9 + ["sleep"]
    assert len(states(track, "sleep")) == 10
    for step, sleep in pairwise(line[first - 1 : first + 19]):
        if sleep.name == "sleep":  # its timer was set within the step before
            assert sleep.end - step.ts >= 10_000_000
            assert sleep.dur >= 9_500_000
    assert_contiguous(trace)
    assert trace.metadata["awaits"] == "exact"


def test_a_lock_to_and_fro(exact: Traced) -> None:
    """
    Two tasks that hand a lock to and fro 1,000 times wait for it 1,000 times each, woken by the other.
    """

    async def player(lock: asyncio.Lock) -> None:
        for _ in range(1000):
            async with lock:
                pass

    async def main() -> None:
        lock = asyncio.Lock()
        await lock.acquire()
        players = [asyncio.create_task(player(lock), name=name) for name in ("ping", "pong")]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        lock.release()
        await asyncio.wait(players)

    trace = exact(main)
    made_by = {"ping": ["main"] + ["pong"] * 999, "pong": ["ping"] * 1000}
    drawn = arrows(trace)
    for name, wakers in made_by.items():
        line = states(trace.track(f"{name} player"))
        waits = [place for place, row in enumerate(line) if row.name == "lock wait"]
        assert [line[place + 1].name for place in waits] == ["runnable"] * 1000
        found = [line[place + 1].args["woken by"] for place in waits]
        assert [waker.partition(" ")[0] for waker in found[1:]] == wakers[1:]
        assert sum(arrow == ("wakes", f"{other(name)} player", f"{name} player") for arrow in drawn) == (
            wakers.count(other(name))
        )
    assert_contiguous(trace)


def other(name: str) -> str:
    return {"ping": "pong", "pong": "ping"}[name]


def test_a_loops_time_is_accounted_for(tmp_path: Path, read_trace: Reader) -> None:
    """
    Steps and callbacks of a loop never overlap, and with its selector they are nearly all of the trace.
    """

    async def worker() -> None:
        for _ in range(20):
            await asyncio.sleep(0.005)
            sum(range(20_000))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with fgtrace.trace(tmp_path / "t.json", awaits="exact"):
            for number in range(50):
                loop.call_later(number / 500, sum, range(5000))
            await asyncio.gather(*(worker() for _ in range(4)))

    asyncio.run(main())
    trace = read_trace()
    callbacks, loop = trace.track("callbacks"), trace.track("event loop")
    running = [row for rows, _ in tasks(trace) for row in states(rows, "running")]
    line = sorted([*running, *callbacks])
    assert all(before.end <= after.ts for before, after in pairwise(line))
    accounted = sum(row.dur for row in line) + sum(row.dur for row in loop.named("select"))
    assert accounted >= 0.97 * max(row.end for row in loop)
    assert [row.ts for row in loop[1:]] == [row.end for row in loop[:-1]]
    assert len([row for row in callbacks if row.name.endswith("sum")]) == 50


# wakers


async def by_timer() -> None:
    await asyncio.sleep(0.001)


async def by_socket() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        asyncio.get_running_loop().call_later(0.001, theirs.send, b"x")
        await asyncio.get_running_loop().sock_recv(ours, 1)


async def waker(event: Callable[[], Any]) -> None:
    await asyncio.sleep(0.001)
    event()


async def by_queue() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue()
    helper = asyncio.create_task(waker(lambda: queue.put_nowait(1)), name="helper")
    await queue.get()
    await helper


async def by_lock() -> None:
    lock = asyncio.Lock()
    await lock.acquire()
    helper = asyncio.create_task(waker(lock.release), name="helper")
    await lock.acquire()
    await helper


async def by_future() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    helper = asyncio.create_task(waker(lambda: future.set_result(1)), name="helper")
    await future
    await helper


async def by_child() -> None:
    await asyncio.create_task(waker(int), name="helper")


async def by_thread() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()
    threading.Thread(target=lambda: loop.call_soon_threadsafe(future.set_result, 1)).start()
    await future


async def by_callback() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, 1)
    await future


WAKERS: dict[str, tuple[Callable[[], Awaitable[None]], str, str]] = {
    "timer": (by_timer, "timer", "timer"),
    "selector": (by_socket, "selector", "selector"),
    "queue": (by_queue, "helper", "wakes"),
    "lock": (by_lock, "helper", "wakes"),
    "future": (by_future, "helper", "wakes"),
    "child": (by_child, "helper", "wakes"),
    "thread": (by_thread, "thread", "thread"),
    "callback": (by_callback, "callback _asyncio.Future.set_result", "callback"),
}


@pytest.mark.parametrize(("work", "by", "arrow"), WAKERS.values(), ids=WAKERS.keys())
def test_wakers(work: Callable[[], Awaitable[None]], by: str, arrow: str, exact: Traced) -> None:
    """
    What made a task runnable is named, and has an arrow to the step that followed.
    """

    async def main() -> None:
        await asyncio.create_task(work(), name="woken")  # type: ignore[arg-type]  # they are coroutines

    trace = exact(main)
    line = states(trace.track("woken *"))
    assert by in {row.args.get("woken by") for row in line if row.name == "runnable"}
    source = "helper waker" if by == "helper" else "callbacks"
    assert (arrow, source) in {(name, start) for name, start, end in arrows(trace) if end.startswith("woken")}


def test_woken_by_nobody(tmp_path: Path, read_trace: Reader) -> None:
    """
    A task that was made outside of any loop that runs has no waker, and no arrow.
    """

    async def child() -> None:
        await asyncio.sleep(0)

    with fgtrace.trace(tmp_path / "t.json", awaits="exact"):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(loop.create_task(child(), name="child"))
        loop.close()
    trace = read_trace()
    (first, *_) = states(trace.track("child *"))
    assert first.name == "runnable"
    assert "woken by" not in first.args
    assert not [each for each in arrows(trace) if each[0] == "create_task"]


def test_creation(exact: Traced) -> None:
    """
    A task's life begins when it is made, with an arrow from the step that made it: that is its parent.
    """

    async def child() -> None:
        await asyncio.sleep(0)

    async def main() -> None:
        task = asyncio.create_task(child(), name="child")
        sum(range(100_000))
        await task

    trace = exact(main)
    line = states(trace.track("child *"))
    assert line[0].name == "runnable"
    maker_name = trace.track("Task-* main").name
    assert line[0].args["woken by"] == maker_name.partition(" ")[0]
    assert ("create_task", maker_name, "child child") in arrows(trace)
    (maker,) = [
        row for row in states(trace.track("Task-* main"), "running") if row.ts <= line[0].ts < row.end
    ]
    assert line[1].ts >= maker.end
    parent = {e["args"]["name"]: e["args"]["parent"] for e in trace.events("M") if "parent" in e["args"]}
    assert parent["└ child child"] >= 0


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_eager_tasks(exact: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    An eager task's first step is within its creator's; its own track begins where it waits.
    """
    monkeypatch.setattr(collector, "LONGEST_SEARCH", 1 << 62)  # however long a busy machine takes for one

    async def eager() -> None:
        sum(range(10_000))
        await asyncio.sleep(0.01)

    async def at_once() -> None:
        pass

    async def main() -> None:
        factory: Any = asyncio.eager_task_factory  # type: ignore[attr-defined]  # 3.12
        asyncio.get_running_loop().set_task_factory(factory)
        await asyncio.sleep(0)
        async with asyncio.TaskGroup() as group:
            group.create_task(at_once(), name="at once")
            group.create_task(eager(), name="eager")
            await asyncio.sleep(0)

    trace = exact(main)
    line = states(trace.track("eager *"))
    assert [row.name for row in line] == ["sleep", "runnable", "running"]
    (maker,) = [
        row for row in states(trace.track("Task-* main"), "running") if row.ts < line[0].ts <= row.end
    ]
    assert maker.dur > 0
    assert not list(trace.all("at once*"))
    assert_contiguous(trace)


# the program is as without


def failing(said: list[Any], *, debug: bool) -> Callable[[], None]:
    """
    A program whose callbacks and tasks fail in all ways that a loop reports.
    """

    def note(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context["exception"]
        names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        said.append((context["message"], type(error), names, sorted(context)))

    def fail(error: type[BaseException]) -> None:
        raise error("on purpose")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(note)
        loop.call_soon(fail, LookupError)
        loop.call_later(0, fail, asyncio.CancelledError)
        loop.call_soon(partial(fail, OSError))
        await asyncio.sleep(0.01)

    return lambda: asyncio.run(main(), debug=debug)


@pytest.mark.parametrize("debug", [False, True], ids=["plain", "debug"])
def test_exception_handler(debug: bool, exact: Traced) -> None:
    """
    The loop's exception handler hears the same as without a trace.
    """
    without: list[Any] = []
    failing(without, debug=debug)()
    within: list[Any] = []
    exact(failing(within, debug=debug))
    assert within == without
    assert len(within) == 3


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_what_ends_a_loop(error: type[BaseException], tmp_path: Path, read_trace: Reader) -> None:
    """
    SystemExit and KeyboardInterrupt end the loop, from a callback and from a task; the trace is whole.
    """

    def fail() -> None:
        raise error

    async def by_callback() -> None:
        asyncio.get_running_loop().call_soon(fail)
        await asyncio.sleep(60)

    async def by_task() -> None:
        fail()

    for number, main in enumerate((by_callback, by_task)):
        with fgtrace.trace(tmp_path / f"{number}.json", awaits="exact"), pytest.raises(error):
            asyncio.run(main())
        trace = read_trace(tmp_path / f"{number}.json")
        assert trace.metadata["stats"]["failed"] == {}
        assert_contiguous(trace)


def test_context(exact: Traced) -> None:
    """
    Callbacks and tasks run in their contexts.
    """
    number = contextvars.ContextVar[int]("number", default=0)
    found = []

    async def child() -> None:
        found.append(number.get())
        number.set(3)
        await asyncio.sleep(0)
        found.append(number.get())

    async def main() -> None:
        number.set(1)
        asyncio.get_running_loop().call_soon(lambda: found.append(number.get()))
        task = asyncio.create_task(child())
        number.set(2)
        await task
        found.append(number.get())

    exact(main)
    assert found == [1, 1, 3, 2]


def test_debug_mode(exact: Traced, caplog: pytest.LogCaptureFixture) -> None:
    """
    Debug mode warns of slow callbacks, and tells where a callback was scheduled, just as without.
    """
    made: list[str] = []

    def slow() -> None:
        time.sleep(0.01)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 0.005
        handle: Any = loop.call_soon(slow)
        made.extend(frame.name for frame in handle._source_traceback[-2:])
        await asyncio.sleep(0)

    with caplog.at_level(logging.WARNING, logger="asyncio"):
        exact(lambda: asyncio.run(main(), debug=True))
    assert any("slow()" in text and "took" in text for text in caplog.messages)
    assert made[-1] == "main"


def test_stock_methods_are_back(tmp_path: Path) -> None:
    """
    With the last exact trace the methods are asyncio's own again, however traces overlap.
    """

    def made() -> fgtrace.Trace:
        return fgtrace.trace(tmp_path / f"{time.perf_counter_ns()}.json", awaits="exact")

    async def main() -> None:
        first, second = made().start(), made().start()
        assert asyncio.events.Handle.__dict__["_run"] is not run
        await asyncio.sleep(0.001)
        first.stop()
        await asyncio.sleep(0.001)
        assert asyncio.events.Handle.__dict__["_run"] is not run
        with made() as third:
            await asyncio.sleep(0.001)
        second.stop()
        assert asyncio.events.Handle.__dict__["_run"] is run
        assert asyncio.BaseEventLoop.__dict__["_call_soon"] is call_soon
        assert all(trace.stats.steps > 2 and not trace.stats.failed for trace in (first, second, third))

    asyncio.run(main())


def test_sampled_traces_wrap_nothing(tmp_path: Path) -> None:
    """
    Without exact awaits nothing is exchanged.
    """
    with fgtrace.trace(tmp_path / "t.json"):
        assert asyncio.events.Handle.__dict__["_run"] is run


def test_wrapped_before(exact: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What another tool put there before is called, and is there afterwards.
    """
    counted = 0

    def theirs(self: asyncio.Handle) -> None:
        nonlocal counted
        counted += 1
        run(self)

    monkeypatch.setattr(asyncio.events.Handle, "_run", theirs)
    trace = exact(by_timer)
    assert asyncio.events.Handle.__dict__["_run"] is theirs
    assert counted >= 3
    assert trace.metadata["awaits"] == "exact"
    assert states(trace.track("Task-* by_timer"), "sleep")


def test_wrapped_meanwhile(tmp_path: Path, read_trace: Reader) -> None:
    """
    What another tool puts over our wrapper stays and works; the next trace stays out, and says so.
    """
    counted = 0

    async def main() -> None:
        with fgtrace.trace(tmp_path / "t.json", awaits="exact") as trace:
            ours = asyncio.events.Handle.__dict__["_run"]

            def theirs(self: asyncio.Handle) -> None:
                nonlocal counted
                counted += 1
                ours(self)

            asyncio.events.Handle._run = theirs  # type: ignore[method-assign]
            await asyncio.sleep(0.01)
        assert trace.stats.steps > 2
        before = counted
        with fgtrace.trace(tmp_path / "u.json", awaits="exact") as trace:
            await asyncio.sleep(0.01)
        assert counted > before
        assert "another tool" in trace.stats.failed["awaits"]

    try:
        asyncio.run(main())
    finally:
        asyncio.events.Handle._run = run  # type: ignore[method-assign]
    assert read_trace().metadata["awaits"] == "exact"
    assert read_trace(tmp_path / "u.json").metadata["awaits"] == "sampled (asyncio)"
    with fgtrace.trace(tmp_path / "v.json", awaits="exact") as again:
        asyncio.run(by_timer())
    assert again.stats.steps > 2
    assert asyncio.events.Handle.__dict__["_run"] is run


@pytest.mark.parametrize("core", ["python"], indirect=True)
def test_failure_unplugs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_trace: Reader) -> None:
    """
    What fails of ours is unplugged and noted; the program does not notice.
    """
    from fgtrace._sampling.collect.await_chain import Walker

    async def main() -> str:
        with fgtrace.trace(tmp_path / "t.json", awaits="exact") as trace:
            monkeypatch.setattr(Walker, "chain", lambda *_: 1 / 0)
            await asyncio.sleep(0.01)
            await asyncio.sleep(0.01)
            monkeypatch.undo()
        return trace.stats.failed["awaits"]

    assert "ZeroDivisionError" in asyncio.run(main())
    assert asyncio.events.Handle.__dict__["_run"] is run
    assert read_trace().tracks


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork(tmp_path: Path, read_trace: Reader) -> None:
    """
    In the child of a fork the methods are asyncio's own; the parent's trace goes on.
    """

    async def main() -> None:
        pid = fork()
        if not pid:
            stock = asyncio.events.Handle.__dict__["_run"] is run
            os._exit(0 if stock and not [each for each in gc.callbacks if "fgtrace" in repr(each)] else 1)
        assert os.waitpid(pid, 0)[1] == 0
        await asyncio.sleep(0.01)

    with fgtrace.trace(tmp_path / "t.json", awaits="exact"):
        asyncio.run(main())
    assert len(states(read_trace().track("Task-* main"), "sleep")) == 1


# the loop's truth


def block(trace: fgtrace.Trace) -> None:
    """
    Keep the loop until the sampler has looked a few times.
    """
    sampler = trace._sampler
    assert sampler is not None
    until = sampler.taken + 5
    while sampler.taken < until:
        sum(range(1000))


def test_loop_blocked(tmp_path: Path, read_trace: Reader) -> None:
    """
    A step or callback that blocks the loop has a flag, with the stack that was seen in it.
    """

    async def main() -> None:
        with fgtrace.trace(
            tmp_path / "t.json", awaits="exact", hz=500, max_overhead=1.0, slow_callback_duration=0.002
        ) as trace:
            await asyncio.sleep(0)
            block(trace)
            asyncio.get_running_loop().call_soon(block, trace)
            await asyncio.sleep(0.01)

    asyncio.run(main())
    trace = read_trace()
    flags = [event for event in trace.events("i") if "block" in event["args"].get("stack", "")]
    names = track_names(trace)
    found = {names[event["pid"], event["tid"]]: event["args"] for event in flags}
    assert len(found) == 2
    assert all(args["duration (ms)"] >= 2 for args in found.values())
    assert "test_exact.block" in found["callbacks"]["stack"]
    assert "_run_once" not in found["callbacks"]["stack"]


def test_garbage_collection(exact: Traced) -> None:
    """
    The garbage collector's runs are slices of their thread, with generation and what was collected.
    """

    async def main() -> None:
        rings: list[Any] = [[], [], []]
        for each in rings:
            each.append(each)
        each = rings = []
        gc.collect()
        await asyncio.sleep(0.02)

    trace = exact(main, hz=1000)
    runs = trace.track("MainThread").named("garbage collection")
    assert any(row.args["generation"] == "2" and int(row.args["collected"]) >= 3 for row in runs)
    assert {row.category for row in runs} == {"gc"}


def test_spilling(exact: Traced) -> None:
    """
    More steps than fit into the memory come out all the same.
    """

    async def main() -> None:
        for _ in range(20_000):
            await asyncio.sleep(0)

    trace = exact(main, max_memory=1024 * 1024)
    assert trace.metadata["stats"]["steps"] >= 20_000
    assert len(states(trace.track("Task-* main"), "running")) >= 20_000
    assert_contiguous(trace)


def sees_uvloop(core: str) -> bool:
    """
    Whether the steps of a compiled loop's tasks can be seen: the C core is told of contexts from 3.14 on.
    """
    return core == "c" and sys.version_info >= (3, 14)


def test_uvloop(tmp_path: Path, read_trace: Reader, core: str) -> None:
    """
    A compiled loop's tasks are exact where the interpreter tells of contexts; else sampled, as is said.
    """
    uvloop = pytest.importorskip("uvloop")

    async def child() -> None:
        for _ in range(5):
            await asyncio.sleep(0.001)

    async def main(trace: fgtrace.Trace) -> None:
        await asyncio.create_task(child(), name="child")
        while trace._sampler is not None and trace._sampler.taken < 10:
            await asyncio.sleep(0.01)

    with fgtrace.trace(tmp_path / "t.json", awaits="exact") as trace:
        uvloop.run(main(trace))
    found = read_trace()
    if sees_uvloop(core):
        assert found.metadata["awaits"] == "exact"
        assert [row.name for row in states(found.track("child *"))].count("sleep") == 5
        assert_contiguous(found)
    else:
        assert found.metadata["awaits"] == "sampled (uvloop)"
        assert found.track("Task-* wrapper").time_in("sleep") > 0
        assert not list(found.all("event loop"))


def test_uvloop_beside_asyncio(tmp_path: Path, read_trace: Reader, core: str) -> None:
    """
    Where both kinds of loops are, the trace says which is which.
    """
    uvloop = pytest.importorskip("uvloop")

    async def main(trace: fgtrace.Trace) -> None:
        sampler = trace._sampler
        assert sampler is not None
        until = sampler.taken + 10
        while sampler.taken < until:
            await asyncio.sleep(0.01)

    with fgtrace.trace(tmp_path / "t.json", awaits="exact") as trace:
        uvloop.run(main(trace))
        asyncio.run(main(trace))
    assert read_trace().metadata["awaits"] == ("exact" if sees_uvloop(core) else "exact; sampled (uvloop)")


def test_stopped_within_a_step_on_uvloop(tmp_path: Path, read_trace: Reader) -> None:
    """
    The end of a step on uvloop in which a trace was stopped is told to nobody; the next trace is not misled.
    """
    uvloop = pytest.importorskip("uvloop")

    async def stopped() -> None:
        trace = fgtrace.trace(tmp_path / "u.json", awaits="exact").start()
        await asyncio.sleep(0.001)
        trace.abandon()

    async def main() -> None:
        with fgtrace.trace(tmp_path / "t.json", awaits="exact"):
            await asyncio.sleep(0.01)
            await asyncio.sleep(0.01)

    uvloop.run(stopped())
    asyncio.run(main())
    line = states(read_trace(tmp_path / "t.json").track("Task-* main"))
    assert [row.name for row in line if row.name != "runnable"][:4] == [
        "running",
        "sleep",
        "running",
        "sleep",
    ]


def test_loops_in_threads(exact: Traced) -> None:
    """
    Each loop of each thread has its own tracks, and what one loop woke in another has its waker.
    """

    async def waiter(ready: threading.Event, shared: list[Any]) -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        shared.append((loop, future))
        ready.set()
        await future

    async def main(ready: threading.Event, shared: list[Any]) -> None:
        while not ready.is_set():
            await asyncio.sleep(0.001)
        loop, future = shared[0]
        loop.call_soon_threadsafe(future.set_result, 1)
        await asyncio.sleep(0.001)

    def work() -> None:
        ready = threading.Event()
        shared: list[Any] = []
        thread = threading.Thread(target=lambda: asyncio.run(waiter(ready, shared)), name="other")
        thread.start()
        asyncio.run(main(ready, shared))
        thread.join()

    trace = exact(work)
    assert len(list(trace.all("event loop"))) == len(list(trace.all("callbacks"))) == 2
    line = states(trace.track("Task-* waiter"))
    assert "thread" in {row.args.get("woken by") for row in line}
    assert_contiguous(trace)


@pytest.mark.skipif(
    sys.version_info >= (3, 14), reason="from 3.14 on other threads have a queue of their own"
)
def test_run_before_it_is_told_of(python_core: str, tmp_path: Path, read_trace: Reader) -> None:
    """
    A loop that runs a handle before the thread that scheduled it goes on knows where it is from.
    """
    ran = threading.Event()

    class Eager(deque[Any]):
        def append(self, handle: Any) -> None:
            super().append(handle)
            if threading.current_thread().name == "other":
                loop._write_to_self()  # type: ignore[attr-defined]
                assert ran.wait(60)

    async def main() -> None:
        loop._ready = Eager(loop._ready)  # type: ignore[attr-defined]
        future = loop.create_future()

        def set_result() -> None:
            future.set_result(None)
            ran.set()

        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(set_result,), name="other")
        thread.start()
        await future
        thread.join()

    loop = asyncio.new_event_loop()
    with fgtrace.trace(tmp_path / "t.json", awaits="exact", hz=1):
        loop.run_until_complete(main())
        loop.close()
    trace = read_trace()
    sources = {row.name.rpartition(".")[2]: row.args["source"] for row in trace.track("callbacks")}
    assert sources["set_result"] == "thread"
    assert "selector" in sources.values()
    assert "thread" in {row.args.get("woken by") for row in states(trace.track("Task-* main"))}


def test_started_and_stopped_within_steps(tmp_path: Path, read_trace: Reader) -> None:
    """
    A trace that one task starts and another stops has the other tasks from its start to its end.
    """

    async def steady(done: asyncio.Event) -> None:
        while not done.is_set():
            await asyncio.sleep(0.001)

    async def main() -> None:
        done = asyncio.Event()
        task = asyncio.create_task(steady(done), name="steady")
        await asyncio.sleep(0.005)
        trace = fgtrace.trace(tmp_path / "t.json", awaits="exact").start()
        await asyncio.sleep(0.01)

        async def stop() -> None:
            await asyncio.sleep(0.005)
            trace.stop()

        await asyncio.create_task(stop(), name="stopper")
        done.set()
        await task

    asyncio.run(main())
    trace = read_trace()
    end = max(row.end for row in trace.track("event loop"))
    for name in ("steady *", "Task-* main"):
        line = states(trace.track(name))
        assert (line[0].ts, line[-1].end) == (0, end)
    assert states(trace.track("Task-* main"))[0].name == "running"
    assert states(trace.track("stopper *"))[-1].name == "running"
    assert_contiguous(trace)


def test_nobody_is_kept_alive(tmp_path: Path) -> None:
    """
    Tasks, futures and callbacks go when the program lets them go.
    """
    import weakref

    class Thing:
        def __call__(self) -> None:
            pass

    async def main() -> None:
        with fgtrace.trace(tmp_path / "t.json", awaits="exact"):
            thing = Thing()
            handle = asyncio.get_running_loop().call_soon(thing)
            handle.cancel()
            task = asyncio.create_task(asyncio.sleep(0.001))
            await task
            there = [weakref.ref(each) for each in (thing, handle, task)]
            del thing, handle, task
            await asyncio.sleep(0.001)
            gc.collect()
            assert [each() for each in there] == [None] * 3

    asyncio.run(main())


def test_labels_and_names(tmp_path: Path, read_trace: Reader) -> None:
    """
    A task that is renamed has its later name, and says its first: the one that it was given as it was made,
    whatever a tick saw meanwhile.
    """

    async def child() -> None:
        await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        task.set_name("later")

    async def main() -> None:
        task = asyncio.create_task(child())
        block(trace)
        task.set_name("first")
        block(trace)
        await task

    with fgtrace.trace(tmp_path / "t.json", awaits="exact", hz=500, max_overhead=1.0) as trace:
        asyncio.run(main())
    found = read_trace()
    names = {e["args"]["name"]: e["args"] for e in found.events("M") if e["name"] == "thread_name"}
    assert names["└ later child"]["former name"] == "first"


# in the midst of it


def test_a_tick_while_a_task_ends(tmp_path: Path, read_trace: Reader) -> None:
    """
    A tick that finds a task ended, while its last step goes on, leaves that step whole.
    """

    class Slow(asyncio.SelectorEventLoop):
        def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
            if args and isinstance(args[0], asyncio.Task) and args[0].done():  # within its last step
                wait_for_ticks(3)
            return super().call_soon(callback, *args, context=context)

    async def child() -> None:
        await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.create_task(child(), name="child")

    with (
        fgtrace.trace(tmp_path / "t.json", awaits="exact", hz=500, max_overhead=1.0),
        asyncio.Runner(loop_factory=Slow) as runner,
    ):
        runner.run(main())
    found = read_trace()
    assert states(found.track("child *"))[-1].name == "running"
    assert_contiguous(found)


def test_finalizers_that_schedule(exact: Traced) -> None:
    """
    Finalizers that run in the midst of our bookkeeping, and schedule callbacks and tasks, do no harm.
    """
    ran: list[int] = []

    class Ring:
        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            self.loop, self.me = loop, self

        def __del__(self) -> None:
            self.loop.call_soon_threadsafe(ran.append, 1)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        before = gc.get_threshold()
        gc.set_threshold(5, 1, 1)
        try:
            for _ in range(300):
                Ring(loop)
                await asyncio.create_task(asyncio.sleep(0))
        finally:
            gc.set_threshold(*before)
        gc.collect()
        await asyncio.sleep(0.01)

    trace = exact(main)
    assert len(ran) == 300
    assert trace.metadata["stats"]["failed"] == {}
    assert_contiguous(trace)


def test_a_loop_within_a_step(exact: Traced) -> None:
    """
    A callback that runs its loop (as some tools for notebooks do) has what ran within it beside it.
    """

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()

        def outer() -> None:
            loop.call_soon(sum, [1])
            loop._run_once()

        loop.call_soon(outer)
        await asyncio.sleep(0.01)

    trace = exact(main)
    names = {row.name.rpartition(".")[2] for row in trace.track("callbacks")}
    assert {"outer", "sum"} <= names
    assert_contiguous(trace)


def test_many_loops_at_once(exact: Traced) -> None:
    """
    Loops of several threads that make new tasks and new stacks all the time leave a sound recording.
    """

    async def leaf(depth: int) -> None:
        if depth:
            await leaf(depth - 1)
        else:
            await asyncio.sleep(0)

    async def main() -> None:
        for round_ in range(30):
            await asyncio.gather(*(leaf((round_ + number) % 17) for number in range(10)))

    def work() -> None:
        threads = [threading.Thread(target=lambda: asyncio.run(main()), name=f"loop {n}") for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    trace = exact(work, hz=1000, max_memory=1024 * 1024)
    assert trace.metadata["stats"]["failed"] == {}
    found = list(trace.all("*leaf"))
    assert len(found) == 4 * 30 * 10
    assert all(states(rows, "running") for rows in found)
