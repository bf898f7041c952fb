"""
Exact awaits in odd programs: cancelled handles, nested and slow loops, other tools' wrappers, eager tasks.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from pathlib import Path
from typing import Any

import pytest

import fgtrace
from fgtrace._recording.recording import GONE
from fgtrace._recording.step_records import CALLBACK, NOBODY, StepRecord

pytestmark = pytest.mark.usefixtures("core")
Loop = asyncio.SelectorEventLoop
Main = Callable[[], Coroutine[Any, Any, None]]
Look = Callable[[], Coroutine[Any, Any, list[object]]]
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


def without_and_with(look: Look, folder: Path) -> tuple[list[object], list[object]]:
    """
    What is seen in a loop without a trace, and then with one.
    """

    async def main() -> None:
        expected.extend(await look())
        with fgtrace.trace(folder / "t.json", awaits="exact"):
            await asyncio.sleep(0)
            found.extend(await look())

    expected, found = list[object](), list[object]()
    asyncio.run(main())
    return expected, found


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


def test_scheduled_as_asyncio_does(tmp_path: Path) -> None:
    """
    What a trace does in the place of `call_soon` means the same: arguments, contexts, errors, debug mode.
    """
    number: ContextVar[int] = ContextVar("number", default=0)

    def told(call: Callable[[], object]) -> str:
        try:
            return str(call())
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    async def look() -> list[object]:
        loop, seen = asyncio.get_running_loop(), list[object]()

        def callback(*args: object) -> None:
            seen.append((args, number.get()))

        number.set(1)
        loop.call_soon(callback)
        loop.call_soon(callback, *range(9))
        context = copy_context()
        number.set(2)
        loop.call_soon(callback, 1, 2, context=context)
        loop.call_soon(callback, context=None)
        loop.call_soon(callback, 3).cancel()
        await asyncio.sleep(0)
        seen.append(told(loop.call_soon))  # type: ignore[arg-type]
        seen.append(told(lambda: loop.call_soon(callback, other=1)))  # type: ignore[call-arg]
        loop.set_debug(True)
        seen.append(told(lambda: loop.call_soon(look)))
        handle: Any = loop.call_soon(callback, 4)
        seen.append([frame.name for frame in handle._source_traceback][-1])
        loop.set_debug(False)
        await asyncio.sleep(0)
        closed = Loop()
        closed.close()
        seen.append(told(lambda: closed.call_soon(callback)))
        return seen

    expected, found = without_and_with(look, tmp_path)
    assert len(expected) == 10
    assert found == expected


def test_timers_as_asyncio_does(tmp_path: Path) -> None:
    """
    The same of `call_at` and `call_later`: order, arguments, contexts, what a timer says, cancelling, errors.
    """
    number: ContextVar[int] = ContextVar("number", default=0)

    async def look() -> list[object]:
        loop, seen = asyncio.get_running_loop(), list[object]()

        def callback(*args: object) -> None:
            seen.append((args, number.get()))

        number.set(1)
        context, now = copy_context(), loop.time()
        number.set(2)
        timers: list[Any] = [
            loop.call_at(now + 0.003, callback, "third"),
            loop.call_later(0.001, callback, "first", *range(8)),
            loop.call_at(now + 0.002, callback, context=context),
            loop.call_at(now + 0.001, callback, "never"),
        ]
        seen.extend(
            (type(timer), timer._scheduled, timer.cancelled(), timer.when() > now) for timer in timers
        )
        seen.append(repr(timers[2]).partition(" when=")[0])
        timers[3].cancel()
        await asyncio.sleep(0.02)
        seen.extend((timer._scheduled, timer._callback is None) for timer in timers)
        loop.set_debug(True)
        timer: Any = loop.call_at(now, callback)
        seen.append([frame.name for frame in timer._source_traceback][-1])
        loop.set_debug(False)
        await asyncio.sleep(0.001)
        for bad in ((None, callback), (now,), ("x", callback)):
            try:
                loop.call_at(*bad)
            except TypeError as error:
                seen.append(str(error).rpartition(".")[2])
        loop._scheduled = [each for each in loop._scheduled if each._when != "x"]  # type: ignore[attr-defined]
        closed = Loop()
        closed.close()
        with pytest.raises(RuntimeError, match="closed"):
            closed.call_at(0, callback)
        return seen

    expected, found = without_and_with(look, tmp_path)
    assert len(expected) >= 15
    assert found == expected


def test_parts_that_a_loop_overrides(tmp_path: Path) -> None:
    """
    Whatever `call_soon` calls and a loop has as its own is called as without a trace.
    """
    calls: Counter[str] = Counter()

    class Closing(Loop):
        def _check_closed(self) -> None:
            calls["closed"] += 1
            super()._check_closed()  # type: ignore[misc]

    class Inner(Loop):
        def _call_soon(self, *args: Any, **options: Any) -> Any:
            calls["inner"] += 1
            return super()._call_soon(*args, **options)  # type: ignore[misc]

    class Debugging(Loop):
        def get_debug(self) -> bool:
            calls["debug"] += 1
            return super().get_debug()

    async def main() -> None:
        calls.clear()
        for _ in range(10):
            asyncio.get_running_loop().call_soon(nothing)
        await asyncio.sleep(0)

    for kind in (Closing, Inner, Debugging):
        loop = kind()
        loop.run_until_complete(main())
        loop.close()
        expected = calls.copy()
        steps_of(main, tmp_path, loop=kind())
        assert sum(expected.values()) >= 10
        assert calls == expected


@pytest.mark.parametrize("name", ["call_soon", "call_at"])
def test_wrapped(name: str, tmp_path: Path) -> None:
    """
    A tool's own method is called once for each call: put before a trace, or made of ours and put later.
    """
    stock = asyncio.BaseEventLoop.__dict__[name]
    counted: list[int] = []

    def over(before: Any) -> Any:
        def wrapper(self: Any, *args: Any, **options: Any) -> Any:
            counted.append(1)
            return before(self, *args, **options)

        return wrapper

    async def taken() -> Any:
        with fgtrace.trace(tmp_path / "t.json", awaits="exact"):
            await asyncio.sleep(0)
            return asyncio.BaseEventLoop.__dict__[name]

    async def main() -> None:
        with fgtrace.trace(tmp_path / "t.json", awaits="exact"):
            await asyncio.sleep(0)
            before = len(counted)
            asyncio.get_running_loop().call_soon(nothing)
            asyncio.get_running_loop().call_at(0, nothing)
            assert len(counted) == before + 1
            await asyncio.sleep(0)

    for below in (stock, asyncio.run(taken())):
        setattr(asyncio.BaseEventLoop, name, over(below))
        try:
            asyncio.run(main())
        finally:
            setattr(asyncio.BaseEventLoop, name, stock)
    assert asyncio.BaseEventLoop.__dict__[name] is stock
