"""
Tasks from birth to death: whose children they are, and that the tracer keeps nothing of theirs.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest

import fgtrace
import lockstep
from kinds import get, nap
from reading import Trace
from situations import chains_in, in_order

pytestmark = pytest.mark.usefixtures("core")

Traced = Callable[..., Trace]
PYTHON = sys.version_info[:2]
request: ContextVar[Any] = ContextVar("request", default=0)


#: The tracks from which and to which an arrow goes, as Perfetto has bound it to their slices.
FLOWS = """
    with named as (
        select slice.id, thread.name from slice
        join thread_track on thread_track.id = slice.track_id join thread using (utid)
    )
    select source.name as source, target.name as target from flow
    join named as source on source.id = flow.slice_out
    join named as target on target.id = flow.slice_in
"""


async def child(naps: int = 1) -> None:
    for _ in range(naps):
        await nap()


async def by_gather() -> None:
    await asyncio.gather(child(), child())


async def by_await() -> None:
    one, other = asyncio.create_task(child()), asyncio.create_task(child(2))
    await one
    await other


async def by_wait() -> None:
    await asyncio.wait([asyncio.create_task(child()), asyncio.create_task(child())])


async def by_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(child())
        group.create_task(child())


async def by_busy_group() -> None:
    """
    The children are known by their group, though nobody waits for them yet.
    """
    async with asyncio.TaskGroup() as group:
        group.create_task(child())
        group.create_task(child())
        await get_for_a_while()


async def get_for_a_while() -> None:
    with anyio.move_on_after(0.2):
        await get()


async def by_anyio() -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(child)
        group.start_soon(child)


@pytest.mark.parametrize("parent", [by_gather, by_await, by_wait, by_group, by_busy_group, by_anyio])
def test_parent(traced: Traced, parent: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """
    A task stands below the one that waits for it or whose group it is in, and an arrow leads to it.
    """

    async def main() -> None:
        await asyncio.create_task(parent(), name="parent")

    trace = traced(main)
    rows = {
        event["args"]["id"]: event["args"] for event in trace.events("M") if event["name"] == "thread_name"
    }
    above = next(row for row in rows.values() if "parent" in row["name"])
    below = [row for row in rows.values() if row["name"].endswith(("child", "_run_coro"))]
    assert [row["parent"] for row in below] == [above["id"]] * 2
    assert all(row["name"].startswith("└ └ ") for row in below)
    assert rows[above["parent"]]["name"].endswith("main")
    ends = trace.sql(FLOWS)
    assert sum("parent" in row["source"] and row["target"].startswith("└ └ ") for row in ends) == 2


def test_stranger(traced: Traced) -> None:
    """
    A task that nobody waits for stands by itself.
    """

    async def main() -> None:
        alone = asyncio.create_task(child(), name="alone")
        while not alone.done():
            await nap()

    trace = traced(main)
    names = [event["args"]["name"] for event in trace.events("M") if event["name"] == "thread_name"]
    assert "alone child" in names


@pytest.mark.skipif(PYTHON < (3, 12), reason="Python 3.11 does not show a task's context")
def test_labels(traced: Traced) -> None:
    """
    Context variables that the user named are arguments of a task's track, if they are plain.
    """

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for value in ("first", 2, [3]):
                request.set(value)
                group.create_task(nap(), name=f"task {type(value).__name__}")

    trace = traced(main, labels=[request])
    found = {
        event["args"]["name"]: event["args"].get("request")
        for event in trace.events("M")
        if "life" in event["args"]
    }
    assert found["└ task str nap"] == "first"
    assert found["└ task int nap"] == 2
    assert found["└ task list nap"] is None


def test_orphan(traced: Traced) -> None:
    """
    A task that nobody refers to is collected in mid-wait, as it is without a trace.
    """
    states: list[bool] = []

    async def main() -> None:
        gc.collect()  # other garbage has callbacks, in which a tick sees what is half collected
        orphan = asyncio.get_running_loop().create_task(asyncio.Event().wait(), name="orphan")
        orphan._log_destroy_pending = False  # type: ignore[attr-defined]
        alive = weakref.ref(orphan)
        del orphan
        await nap()
        states.append(alive() is not None)
        gc.collect()
        states.append(alive() is not None)
        await nap()

    track = traced(main).track("orphan *")
    assert states == [True, False]
    assert track.states()[-1] == "event wait"


class Thing:
    """
    An object of the program.
    """


def test_nothing_kept(traced: Traced) -> None:
    """
    What the program lets go is gone at once: locals, futures, tasks, a whole loop.
    """
    gone: list[weakref.ref[Any]] = []
    left: list[int] = []

    def note(each: Any) -> Any:
        gone.append(weakref.ref(each))
        return each

    async def holds() -> None:
        thing = note(Thing())
        await asyncio.wait([note(asyncio.ensure_future(nap()))])
        with anyio.move_on_after(0.05):
            await note(asyncio.get_running_loop().create_future())
        del thing

    async def main() -> None:
        await note(asyncio.create_task(holds()))
        gc.disable()
        await asyncio.sleep(0.05)
        left.append(sum(each() is not None for each in gone))

    def in_loop() -> None:
        loop = note(asyncio.new_event_loop())
        loop.run_until_complete(main())
        loop.close()

    def work() -> None:
        gc.collect()
        in_loop()
        gc.enable()
        gc.collect()
        left.append(sum(each() is not None for each in gone))

    traced(work)
    assert left == [1, 0]  # the loop, and then nothing


def test_deep(traced: Traced) -> None:
    """
    A chain 500 deep is cut to what viewers can draw, and says how much was left out.
    """

    async def descend(levels: int) -> None:
        await (descend(levels - 1) if levels else nap())

    async def main() -> None:
        await asyncio.create_task(descend(497), name="deep")

    track = traced(main).track("deep *")
    state = track.named("sleep")[0]
    chain = chains_in(track, state)[0]
    assert len(chain) == 128
    assert in_order(chain[:1], ["descend"])
    assert in_order(chain[-2:], ["nap", "tasks.sleep"])
    elided = [row.name for row in track if row.category == "elided" and state.ts <= row.ts < state.end]
    assert elided == ["<373 frames elided>"]


def test_wake_and_wait(read_trace: Callable[..., Trace], tmp_path: Path) -> None:
    """
    A task that waits for the same kind of thing again and again shows one state, until another was seen.
    """

    async def main() -> None:
        for _ in range(20):
            await asyncio.sleep(0.01)

    with fgtrace.trace(tmp_path / "t.json", hz=200, max_overhead=1.0) as trace:
        phases = lockstep.run(trace, main())
    track = read_trace().track("* main")
    line = [row for row in track if row.category == "state"]
    assert {row.name for row in line} <= {"sleep", "runnable", "running"}
    assert all(before.name != after.name for before, after in pairwise(line))
    asleep = [row for row in line if row.name == "sleep"]
    assert len(phases) == 20
    assert all(any(row.ts <= time < row.end for row in asleep) for time in phases)


def test_own_future(traced: Traced) -> None:
    """
    A future of the program's own, without weak references, does not stop the tracer.
    """

    class Slotted(asyncio.futures._PyFuture):  # type: ignore[name-defined,misc]
        """
        A future in Python.
        """

    async def main() -> None:
        with anyio.move_on_after(0.1):
            await Slotted()

    trace = traced(main)
    assert "future wait" in trace.track("* main").states()
    assert not trace.metadata["stats"]["failed"]


def test_hostile(traced: Traced) -> None:
    """
    Objects whose every property raises are looked at without running any of their code.
    """
    asked: list[str] = []

    class Hostile:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __getattribute__(self, name: str) -> Any:
            if sys._getframe(1).f_globals["__name__"].startswith("fgtrace"):
                asked.append(name)
            return object.__getattribute__(self, name)

        def __await__(self) -> Any:
            return self

        def __iter__(self) -> Any:
            return self

        def __next__(self) -> Any:
            return self.inner.send(None)

        def __bool__(self) -> bool:
            raise RuntimeError("no tracer asks this")

        __eq__ = __hash__ = None  # type: ignore[assignment]

    async def main() -> None:
        await Hostile(nap())

    trace = traced(main)
    assert "sleep" in trace.track("* main").states()
    assert not asked
    assert fgtrace.__version__ == trace.metadata["version"]
