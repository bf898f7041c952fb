"""
Exact awaits in odd programs: cancelled handles, nested and slow loops, other tools' wrappers, eager tasks.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import fgtrace
from fgtrace._recording import GONE
from fgtrace._step_records import CALLBACK, NOBODY, StepRecord

pytestmark = pytest.mark.usefixtures("core")
Loop = asyncio.SelectorEventLoop
Main = Callable[[], Coroutine[Any, Any, None]]
run = asyncio.events.Handle.__dict__["_run"]


def nothing() -> None:
    """
    Stands for a callback.
    """


def steps_of(
    main: Main, folder: Path, *, loop: Loop | None = None, **options: Any
) -> tuple[list[StepRecord], fgtrace.Trace]:
    """
    The steps of all tasks while a program runs, and the trace of it.
    """
    loop = loop or Loop()
    trace = fgtrace.trace(folder / "t.json", awaits="exact", **options)
    try:
        trace.start()
        sampler = trace._sampler
        assert sampler is not None
        loop.run_until_complete(main())
        trace.stop()
    finally:
        loop.close()
    found = [step for step in sampler.recording.read_steps() if step[3] < CALLBACK]
    return found, trace


def test_many_cancelled(tmp_path: Path) -> None:
    """
    Handles that were cancelled in a row do not hide when those behind them were scheduled, and by whom.
    """

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0.001)
        for _ in range(200):
            loop.call_soon(nothing).cancel()
        for _ in range(300):
            await asyncio.create_task(asyncio.sleep(0))

    found, _ = steps_of(main, tmp_path)
    assert len(found) >= 900
    unknown = [step for step in found if step[2] < 0 or step[4] == NOBODY]
    assert len(unknown) <= 3


def test_last_step_beside_a_tick(tmp_path: Path) -> None:
    """
    A tick that falls between a task's end and the end of its step takes nothing away.
    """

    class Slow(Loop):
        def call_soon(self, *args: Any, **options: Any) -> asyncio.Handle:  # type: ignore[override]
            sum(range(60_000))
            return super().call_soon(*args, **options)

    async def child() -> None:
        await asyncio.sleep(0)

    async def main() -> None:
        for _ in range(20):
            await asyncio.gather(child())

    found, _ = steps_of(main, tmp_path, loop=Slow(), hz=1000, max_overhead=1.0)
    assert sum(step[5] == GONE for step in found) >= 20


def test_a_handle_within_a_step(tmp_path: Path) -> None:
    """
    A handle that a task runs itself, as nested loops do, is a turn within its own; also where a trace ends.
    """

    class Busy(Loop):
        many = False

        def call_soon(self, *args: Any, **options: Any) -> asyncio.Handle:  # type: ignore[override]
            handle = super().call_soon(*args, **options)
            if self.many:
                self.many = False
                for _ in range(300):
                    super().call_soon(nothing)
            return handle

    loop = Busy()

    async def main() -> None:
        await asyncio.sleep(0.001)
        asyncio.Handle(nothing, (), loop)._run()
        loop.many = True
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)

    async def ended_inside() -> None:
        trace = fgtrace.trace(tmp_path / "u.json", awaits="exact").start()
        await asyncio.sleep(0.001)
        asyncio.Handle(nothing, (), asyncio.get_running_loop())._run()
        trace.stop()
        await asyncio.sleep(0.001)

    found, _ = steps_of(main, tmp_path, loop=loop)
    assert len(found) >= 4
    asyncio.run(ended_inside())


def test_a_wrapper_of_ours_put_later(tmp_path: Path) -> None:
    """
    A tool that took hold of the method during a trace, and wraps it after, is called once for each handle.
    """
    counted = 0

    async def take() -> Any:
        with fgtrace.trace(tmp_path / "t.json", awaits="exact"):
            await asyncio.sleep(0.001)
            return asyncio.events.Handle._run

    theirs = asyncio.run(take())

    def wrapper(self: asyncio.Handle) -> None:
        nonlocal counted
        counted += 1
        theirs(self)

    async def main() -> None:
        with fgtrace.trace(tmp_path / "u.json", awaits="exact"):
            await asyncio.sleep(0.001)

    asyncio.events.Handle._run = wrapper  # type: ignore[method-assign]
    try:
        asyncio.run(main())
    finally:
        asyncio.events.Handle._run = run  # type: ignore[method-assign]
    assert counted >= 3


def test_keywords(tmp_path: Path) -> None:
    """
    A loop may call what schedules with keywords.
    """

    class Keyword(Loop):
        def call_soon(self, callback: Any, *args: Any, **options: Any) -> Any:  # type: ignore[override]
            return self._call_soon(callback, args, context=options.get("context"))  # type: ignore[attr-defined]

    async def main() -> None:
        await asyncio.sleep(0.001)

    found, _ = steps_of(main, tmp_path, loop=Keyword())
    assert len(found) == 2


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_eager_tasks_come_and_go(tmp_path: Path) -> None:
    """
    An eager task is seen though another one goes as it comes, and by each of two traces.
    """

    async def child() -> None:
        await asyncio.sleep(0.001)

    async def main() -> None:
        factory: Any = asyncio.eager_task_factory  # type: ignore[attr-defined]  # 3.12
        asyncio.get_running_loop().set_task_factory(factory)
        await asyncio.sleep(0)
        with fgtrace.trace(tmp_path / "u.json", awaits="exact", hz=1):
            kept = None
            for number in range(10):
                kept = asyncio.create_task(child(), name=f"eager-{number}")
                await asyncio.sleep(0.003)
            assert kept is not None

    _, trace = steps_of(main, tmp_path, hz=1)
    assert trace.stats.failed == {}
    for name in ("t", "u"):
        seen = {slice_.track.name for slice_ in fgtrace.load(tmp_path / f"{name}.json")}
        assert {f"eager-{number}" for number in range(10)} <= {each.split()[0] for each in seen}, name
