"""
Task tracks against real tasks: every task of every loop, and the whole await chain.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from itertools import groupby
from typing import Any

import pytest

from fgtrace._recording.recording import Recording
from fgtrace._sampling.collect.tasks import TaskCollector
from kinds import corpus, nap
from reading import Rows, Trace
from situations import UNBLOCKED, Situation, chains_in, check, in_order, read_file, runner, stay, trace_all
from tick_count import Ticks, wait_for_ticks, work_for_ticks
from trace_processor import Engine

pytestmark = pytest.mark.usefixtures("core")

Traced = Callable[..., Trace]
PYTHON = sys.version_info[:2]
label: ContextVar[Any] = ContextVar("request", default=0)


@pytest.fixture(scope="module")
def kinds(
    core: str, trace_engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Trace]:
    """
    One trace for each kind of loop, with all kinds of coroutines at once.
    """
    made: dict[str, Trace] = {}

    def trace(loop: str) -> Trace:
        if loop not in made:
            path = tmp_path_factory.mktemp(loop) / "t.json"
            trace_all(path, lambda: stay(corpus), runner(loop))
            made[loop] = read_file(trace_engine, path)
        return made[loop]

    return trace


@pytest.mark.parametrize(("loop", "kind"), corpus.params("asyncio", "uvloop"))
def test_chain(loop: str, kind: Situation, kinds: Callable[[str], Trace]) -> None:
    """
    A suspended task shows its whole await chain, through every kind of awaitable.
    """
    trace = kinds(loop)
    check(trace, kind)
    assert waits(trace.tracks[kind.title][0]) == ["sleep", kind.state]


def waits(track: Rows) -> list[str]:
    """
    The states of a track in turn, without those between its waits.
    """
    return [state for state, _ in groupby(each for each in track.states() if each not in UNBLOCKED)]


def stacks(track: Rows, state: str) -> list[list[str]]:
    """
    All stacks that a track had in a state.
    """
    return [chain for row in track.named(state) for chain in chains_in(track, row)]


# Where a loop runs: in which thread, of which kind, and started how.


async def busy() -> None:
    """
    Sleep, and then work.
    """
    asyncio.current_task().set_name("busy")  # type: ignore[union-attr]
    await nap()
    await working()


async def working() -> None:
    work_for_ticks(20, squares)


def squares() -> int:
    return sum(number * number for number in range(500))


class Service:
    """
    Keeps its loop to itself.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    def run(self) -> None:
        self.loop.run_until_complete(busy())
        self.loop.close()


def by_run(module: Any) -> None:
    runner("uvloop" if module.__name__ == "uvloop" else "asyncio")(busy())


def by_loop(module: Any) -> None:
    loop = module.new_event_loop()
    loop.run_until_complete(busy())
    loop.close()


def by_service(module: Any) -> None:
    Service(module.new_event_loop()).run()


def by_runner(module: Any) -> None:
    with asyncio.Runner(loop_factory=module.new_event_loop) as started:
        started.run(busy())


def in_thread(do: Callable[[], None]) -> None:
    thread = threading.Thread(target=do, name="elsewhere")
    thread.start()
    thread.join()


@pytest.mark.parametrize("place", ["MainThread", "elsewhere"])
@pytest.mark.parametrize("module", ["asyncio", "uvloop"])
@pytest.mark.parametrize(
    "how", [by_run, by_loop, by_service, by_runner], ids=["run", "loop", "service", "runner"]
)
def test_loop(traced: Traced, place: str, module: str, how: Callable[[Any], None]) -> None:
    """
    A task is seen, asleep and at work, wherever its loop runs and however it was started.
    """
    kind = pytest.importorskip(module, reason="no wheel of uvloop for this Python")

    def main() -> None:
        how(kind) if place == "MainThread" else in_thread(lambda: how(kind))

    trace = traced(main)
    task = trace.track("busy *")
    assert waits(task) == ["sleep"]
    chains = stacks(task, "running")
    assert any(in_order(chain, ["busy", "working", "work_for_ticks"]) for chain in chains)
    assert {chain[0] for chain in chains} <= {
        "test_tasks.busy",
        "tests.test_tasks.busy",
        "uvloop.run.<locals>.wrapper",
    }
    assert f"asyncio loop 1 ({place})" in processes(trace)
    assert any(
        in_order(chain, ["working", "work_for_ticks"]) for chain in stacks(trace.track(place), "running")
    )


@pytest.mark.parametrize("module", ["asyncio", "uvloop"])
def test_bare_thread(traced: Traced, module: str) -> None:
    """
    A loop is found that runs in a thread without a function of the program around it.
    """
    loop = pytest.importorskip(module, reason="no wheel of uvloop for this Python").new_event_loop()

    def main() -> None:
        thread = threading.Thread(target=loop.run_forever, name="bare")
        thread.start()
        asyncio.run_coroutine_threadsafe(busy(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    trace = traced(main)
    assert waits(trace.track("busy *")) == ["sleep"]
    assert "asyncio loop 1 (bare)" in processes(trace)


def processes(trace: Trace) -> dict[str, int]:
    """
    The pids of the processes by their names.
    """
    return {e["args"]["name"]: e["pid"] for e in trace.events("M") if e["name"] == "process_name"}


def test_running_leaf(traced: Traced) -> None:
    """
    A task that calls something native shows it as its leaf, below its own coroutine.
    """

    async def blocks() -> None:
        asyncio.current_task().set_name("blocks")  # type: ignore[union-attr]
        wait_for_ticks(20)

    chains = stacks(traced(blocks).track("blocks *"), "running")
    assert any(
        chain[0].endswith("blocks") and chain[-1] == "time.sleep" and len(chain) == 3 for chain in chains
    )


def test_loops(traced: Traced) -> None:
    """
    Several loops at once have a process each, and each task is in that of its loop.
    """

    async def main() -> None:
        await asyncio.gather(*(asyncio.to_thread(run, f"in {each}") for each in "abc"))

    def run(name: str) -> None:
        asyncio.run(named(name))

    async def named(name: str) -> None:
        asyncio.current_task().set_name(name)  # type: ignore[union-attr]
        await nap()

    trace = traced(main)
    places = {e["args"]["name"]: e["pid"] for e in trace.events("M") if e["name"] == "thread_name"}
    assert len({places[name] for name in places if name.startswith("in ")}) == 3
    assert [waits(track) for track in trace.all("in ? *")] == [["sleep"]] * 3
    assert sum(name.startswith("asyncio loop ") for name in processes(trace)) == 4


def test_ready_queue(traced: Traced) -> None:
    """
    Each loop has a counter: how many tasks wait for their turn.
    """

    async def main() -> None:
        await asyncio.gather(*(turns() for _ in range(20)))

    async def turns() -> None:
        ticks = Ticks(10)
        while not ticks.have_passed():
            squares()
            await asyncio.sleep(0)

    trace = traced(main)
    values = [row["value"] for row in trace.sql("select value from counter")]
    assert max(values) >= 10
    assert any("runnable" in track.states() for track in trace.all("*turns"))


def test_threadsafe(traced: Traced) -> None:
    """
    A coroutine that another thread handed to the loop is a task like any other.
    """

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await asyncio.to_thread(lambda: asyncio.run_coroutine_threadsafe(nap(), loop).result())

    assert waits(traced(main).track("* nap")) == ["sleep"]


class OwnTask(asyncio.Task[Any]):
    """
    A subclass of the C task.
    """


class PythonTask(asyncio.tasks._PyTask):  # type: ignore[name-defined,misc]
    """
    A subclass of the task in Python.
    """


@pytest.mark.parametrize("kind", [OwnTask, PythonTask, asyncio.tasks._PyTask])  # type: ignore[attr-defined]
def test_task_class(traced: Traced, kind: type[asyncio.Task[Any]]) -> None:
    """
    Tasks of other classes are tasks like any other, also those of another task.
    """

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(lambda loop, coro, **more: kind(coro, loop=loop, **more))
        await asyncio.create_task(outer(), name="parent")

    async def outer() -> None:
        await asyncio.create_task(inner(), name="child")

    async def inner() -> None:
        await nap()
        await working()

    trace = traced(main)
    child = trace.track("child *")
    assert waits(child) == ["sleep"]
    assert any(in_order(chain, ["inner", "nap", "tasks.sleep"]) for chain in stacks(child, "sleep"))
    assert any(
        chain[0].endswith("inner") and in_order(chain, ["working", "work_for_ticks"])
        for chain in stacks(child, "running")
    )
    assert waits(trace.track("parent *")) == ["task wait"]


@pytest.mark.skipif(PYTHON < (3, 12), reason="eager tasks came with Python 3.12")
def test_eager(traced: Traced) -> None:
    """
    An eager task is seen in its first step, and when it is suspended.
    """

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
        await asyncio.create_task(eager(), name="eager")

    async def eager() -> None:
        work_for_ticks(10, squares)
        await nap()

    track = traced(main).track("eager *")
    assert waits(track) == ["sleep"]
    assert any(
        chain[0].endswith("eager") and in_order(chain, ["work_for_ticks"])
        for chain in stacks(track, "running")
    )


def test_short_tasks(traced: Traced) -> None:
    """
    Tasks that end between ticks leave a valid trace: those that were seen have an end.
    """

    async def main() -> None:
        for number in range(2000):
            await asyncio.create_task(asyncio.sleep(0), name=f"short {number}")
        await asyncio.sleep(0.05)

    trace = traced(main, hz=1000)
    ends = [
        event["args"]["life"][1] for event in trace.events("M") if "short" in event["args"].get("name", "")
    ]
    main_end = max(row.end for row in trace.track("* main"))
    assert all(end < main_end for end in ends)


def test_renamed(traced: Traced) -> None:
    """
    A task renamed in flight has its last name, also when it ended long ago, and tells the first.
    """

    async def main() -> None:
        await asyncio.create_task(renames(), name="first")
        await nap()

    async def renames() -> None:
        await nap()
        for name in ("second", "third"):
            asyncio.current_task().set_name(name)  # type: ignore[union-attr]
            await nap()

    trace = traced(main)
    assert waits(trace.track("third *")) == ["sleep"]
    assert [e["args"]["former name"] for e in trace.events("M") if "third" in e["args"].get("name", "")] == [
        "first"
    ]


def test_gone_before_the_first_look() -> None:
    """
    A task that is gone before anybody looked at it is no trouble: its reference has no hash.
    """
    recording = Recording()
    loop = asyncio.new_event_loop()
    gone = weakref.ref(asyncio.Future[None](loop=loop))
    known = asyncio.Future[None](loop=loop)
    TaskCollector(recording)._end_missing(1, [gone, weakref.ref(known)])
    loop.close()
    assert gone() is None
    assert not recording.rows
