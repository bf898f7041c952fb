"""
With very many tasks the C core has their steps marked: what it sees is the same.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fgtrace
from fgtrace._sampling.core_calibration import CoreError, load_core
from fgtrace._sampling.core_sampler import CoreSampler
from reading import Rows, Trace
from situations import UNBLOCKED
from tick_count import pass_ticks, work_for_ticks

Reader = Callable[..., Trace]
CROWD = 2500
run = asyncio.events.Handle._run


@pytest.fixture(autouse=True)
def _c_core(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        core = load_core()
    except CoreError as error:
        pytest.skip(f"no C core: {error}")
    assert core.constants["MANY_TASKS"] < CROWD
    monkeypatch.setenv("FGTRACE_CORE", "c")


async def marked(trace: fgtrace.Trace) -> None:
    """
    Wait until the steps of tasks are marked, and a round has passed.
    """
    sampler = trace._sampler
    assert isinstance(sampler, CoreSampler)
    while asyncio.events.Handle._run is run:
        await asyncio.sleep(0.01)
    rounds = sampler._core.stats()["rounds"]
    while sampler._core.stats()["rounds"] < rounds + 3:
        await asyncio.sleep(0.01)


def stays(track: Rows) -> list[str]:
    """
    What a track did in turn: the states in which it waited, and ``block``; a tick may also meet a short step.
    """
    rows = [row for row in track if row.category == "state" or row.name.endswith(".block")]
    names = [row.name.rpartition(".")[2] for row in rows if row.name not in UNBLOCKED]
    return [name for name, _ in itertools.groupby(names)]


def block() -> None:
    """
    Keep the loop busy for some ticks.
    """
    work_for_ticks(20)


async def crowd(stack: asyncio.TaskGroup) -> asyncio.Event:
    """
    Very many tasks that wait for one event.
    """
    event = asyncio.Event()

    async def idle() -> None:
        await event.wait()

    for number in range(CROWD):
        stack.create_task(idle(), name=f"idle-{number}")
    await asyncio.sleep(0)
    return event


def test_states(tmp_path: Path, read_trace: Reader) -> None:
    """
    A task that sleeps, works, waits for a lock and ends shows just that, among thousands that stand still.
    """
    lock = asyncio.Lock()

    async def busy() -> None:
        await pass_ticks(20)
        block()
        async with lock:
            await pass_ticks(20)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            with fgtrace.trace(tmp_path / "t.json", hz=200, max_overhead=1.0, tracks="task") as trace:
                event = await crowd(group)
                await marked(trace)
                await lock.acquire()
                task = group.create_task(busy(), name="busy")
                while not lock._waiters:
                    await asyncio.sleep(0.01)
                await pass_ticks(20)
                lock.release()
                await task
            event.set()

    asyncio.run(main())
    trace = read_trace()
    assert stays(trace.track("busy *")) == ["sleep", "block", "lock wait", "sleep"]
    for number in (0, 1000, CROWD - 1):
        *first_step, last = trace.track(f"idle-{number} *").states()
        assert first_step in ([], ["runnable"], ["running"], ["runnable", "running"])
        assert last == "event wait"


def test_runnable(tmp_path: Path, read_trace: Reader) -> None:
    """
    Tasks that are woken while another one blocks the loop are runnable meanwhile.
    """

    async def woken(event: asyncio.Event) -> None:
        await event.wait()

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            with fgtrace.trace(tmp_path / "t.json", hz=200, max_overhead=1.0) as trace:
                crowded = await crowd(group)
                event = asyncio.Event()
                task = group.create_task(woken(event), name="woken")
                await marked(trace)
                event.set()
                block()
                await task
            crowded.set()

    asyncio.run(main())
    states = [state for state in read_trace().track("woken *").states() if state != "running"]
    assert states[-2:] == ["event wait", "runnable"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_eager_tasks(tmp_path: Path, read_trace: Reader) -> None:
    """
    An eager task's first step is nobody's handle: it is seen to run, and then to wait.
    """

    async def eager() -> None:
        block()
        await pass_ticks(20)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            with fgtrace.trace(tmp_path / "t.json", hz=200, max_overhead=1.0) as trace:
                event = await crowd(group)
                await marked(trace)
                factory: Any = asyncio.eager_task_factory  # type: ignore[attr-defined]  # 3.12
                asyncio.get_running_loop().set_task_factory(factory)
                await group.create_task(eager(), name="eager")
            event.set()

    asyncio.run(main())
    assert stays(read_trace().track("eager *")) == ["block", "sleep"]


def test_program_is_as_before(tmp_path: Path) -> None:
    """
    Callbacks that fail are reported with the same traceback, and afterwards the method is asyncio's own.
    """
    said: list[list[str]] = []

    def fail() -> None:
        raise LookupError("on purpose")

    def note(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        said.append([frame.name for frame in traceback.extract_tb(context["exception"].__traceback__)])

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(note)
        loop.call_soon(fail)
        async with asyncio.TaskGroup() as group:
            with fgtrace.trace(tmp_path / "t.json") as first, fgtrace.trace(tmp_path / "u.json") as second:
                event = await crowd(group)
                await marked(first)
                await marked(second)
                assert asyncio.events.Handle._run is not run
                loop.call_soon(fail)
                await asyncio.sleep(0)
            event.set()

    asyncio.run(main())
    assert asyncio.events.Handle._run is run
    assert said == [["_run", "fail"]] * 2


def test_somebody_else_wraps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What another tool puts over our wrapper stays, and goes on working.
    """
    counted = 0

    async def main() -> None:
        nonlocal counted
        async with asyncio.TaskGroup() as group:
            with fgtrace.trace(tmp_path / "t.json") as trace:
                event = await crowd(group)
                await marked(trace)
                ours = asyncio.events.Handle.__dict__["_run"]

                def theirs(self: asyncio.Handle) -> None:
                    nonlocal counted
                    counted += 1
                    ours(self)

                monkeypatch.setattr(asyncio.events.Handle, "_run", theirs)
            before = counted
            with fgtrace.trace(
                tmp_path / "u.json"
            ) as trace:  # without marks: it cannot know what is called when
                core: Any = trace._sampler._core  # type: ignore[union-attr]
                while core.stats()["tasks"] <= CROWD:
                    await asyncio.sleep(0.05)
            assert counted > before
            assert trace.stats.tracks > CROWD
            event.set()

    try:
        asyncio.run(main())
    finally:
        monkeypatch.undo()
        asyncio.events.Handle._run = run  # type: ignore[method-assign]  # the other tool has gone before us


@pytest.mark.skipif(sys.version_info < (3, 14), reason="switches of contexts are told from Python 3.14 on")
def test_uvloop_is_marked(tmp_path: Path, read_trace: Reader) -> None:
    """
    With very many tasks on uvloop, those that ran are known by their contexts, and shown as on asyncio.
    """
    uvloop = pytest.importorskip("uvloop")

    async def busy() -> None:
        for _ in range(3):
            await pass_ticks(20)
            block()

    async def main() -> bool:
        async with asyncio.TaskGroup() as group:
            with fgtrace.trace(tmp_path / "t.json", hz=200, max_overhead=1.0) as trace:
                event = await crowd(group)
                await marked(trace)
                await group.create_task(busy(), name="busy")
                sampler = trace._sampler
                assert isinstance(sampler, CoreSampler)
                found: bool = sampler._core.marks_suffice()
            event.set()
        return found

    assert uvloop.run(main())
    trace = read_trace()
    assert stays(trace.track("busy *")) == ["sleep", "block"] * 3
    assert asyncio.events.Handle._run is run
