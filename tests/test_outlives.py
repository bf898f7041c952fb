"""
What dies when a function of the program returns dies then under fgtrace, too.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

import fgtrace
from fgtrace._options.options import Options
from fgtrace._sampling.collect.task_discovery import LoopFinder
from fgtrace._sampling.python_sampler import PythonSampler
from fgtrace._watchdog.blocked_loops import BlockedLoopDetector
from fgtrace._watchdog.stuck_tasks import StuckTaskDetector
from fgtrace.testing import FakeClock
from tick_count import Ticks

Door = Callable[[Path], AbstractContextManager[Any]]


class Resource:
    """
    Something that a program counts on to go with the function that has it.
    """


@contextmanager
def hook(folder: Path) -> Iterator[None]:
    fgtrace.install(folder, hz=200)
    try:
        yield
    finally:
        fgtrace.uninstall()


DOORS: dict[str, Door] = {
    "trace": lambda folder: fgtrace.trace(folder / "t.json", hz=200, max_overhead=1.0),
    "exact": lambda folder: fgtrace.trace(folder / "t.json", hz=200, max_overhead=1.0, awaits="exact"),
    "recorder": lambda _: fgtrace.FlightRecorder(hz=200, max_overhead=1.0),
    "hook": hook,
}


@pytest.fixture
def undisturbed() -> Iterator[None]:
    """
    The collector is off, and a thread goes on until it waits: a look at the frames is not interrupted.
    """
    interval = sys.getswitchinterval()
    gc.collect()
    gc.disable()
    sys.setswitchinterval(60)
    yield
    sys.setswitchinterval(interval)
    gc.enable()


def call() -> weakref.ref[Resource]:
    resource = Resource()
    time.sleep(0.002)
    return weakref.ref(resource)


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
@pytest.mark.parametrize("core", ["c"], indirect=True)
@pytest.mark.usefixtures("core", "undisturbed")
def test_locals_die_with_their_call(door: Door, tmp_path: Path) -> None:
    """
    Whichever door is open, and whether or not a loop runs, with the C core: a tick of the Python twin gives
    the GIL away where it waits for a lock, and holds the frames meanwhile.
    """

    async def within_a_loop(ticks: Ticks) -> None:
        while not ticks.have_passed():
            outlived.append(call()() is not None)
            await asyncio.sleep(0.001)

    outlived: list[bool] = []
    with door(tmp_path):
        ticks = Ticks(40)
        while not ticks.have_passed():
            outlived.append(call()() is not None)
        asyncio.run(within_a_loop(Ticks(40)))
    assert len(outlived) >= 40
    assert sum(outlived) == 0


def test_frames_are_let_go_before_the_system_is_asked() -> None:
    """
    A tick in Python has the frames only as long as its collectors read them.
    """

    class Watching:
        name = "watching"

        def __init__(self) -> None:
            self.frames: dict[int, Any] = {}
            self.counts: list[tuple[int, int]] = []

        def sample(self, now: int, frames: dict[int, Any]) -> None:
            self.frames, self.count = frames, len(frames)

        def conclude(self, now: int) -> None:
            self.counts.append((self.count, len(self.frames)))

        def close(self, now: int) -> None:
            """
            Nothing is left to note.
            """

    watching = Watching()
    sampler = PythonSampler(Options(hz=100), clock=FakeClock(stop_at=50_000_000), collectors=[watching])
    sampler.start()
    sampler._thread.join()
    sampler.stop()
    assert len(watching.counts) == 6
    assert all(held > 0 and left == 0 for held, left in watching.counts)


@pytest.mark.usefixtures("undisturbed")
def test_checks_leave_no_cycle() -> None:
    """
    A program that has switched the collector off, as some do, does not grow by our checks.
    """
    blocked = BlockedLoopDetector(None, LoopFinder())
    stuck = StuckTaskDetector(0.0, LoopFinder())

    async def main() -> None:
        for _ in range(20):
            blocked.check()
            stuck.check()
            await asyncio.sleep(0.006)

    gc.collect()
    asyncio.run(main())
    gc.collect()  # what asyncio leaves
    for _ in range(20):
        blocked.check()
        stuck.check()
    assert gc.collect() == 0


@pytest.mark.usefixtures("undisturbed")
def test_stuck_task_is_not_held() -> None:
    """
    A task that was found to be stuck may go while it is reported.
    """
    stuck = StuckTaskDetector(0.0, LoopFinder())

    async def main() -> list[Any]:
        task = asyncio.create_task(asyncio.sleep(60), name="stuck")
        found: list[Any] = []
        while not found:
            await asyncio.sleep(0.006)
            found = [each.task for each in stuck.check() if each.task().get_name() == "stuck"]
        task.cancel()
        await asyncio.wait([task])
        del task
        return found

    (reference,) = asyncio.run(main())
    assert reference() is None
