"""
The C core by itself: that it sees what its Python twin sees, when it serves, and what it leaves behind.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import itertools
import json
import logging
import os
import random
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Generator
from concurrent import futures
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import fgtrace
import lockstep
from fgtrace._options.options import Options
from fgtrace._sampling import choose as _cores
from fgtrace._sampling import core_calibration as _native
from fgtrace._sampling import core_sampler as _core_sampler
from fgtrace._sampling.choose import VARIABLE, make_sampler
from fgtrace._sampling.python_sampler import PythonSampler
from fgtrace.errors import ConfigError
from reading import Trace
from situations import UNBLOCKED
from tick_count import pass_ticks, ticks_taken, wait_for_ticks, work_for_ticks

Traced = Callable[..., Trace]

#: For tests of the C core alone: skipped where it cannot serve, as the fixture `core` says.
only_c = pytest.mark.parametrize("core", ["c"], indirect=True)


# twins

#: Seconds of each wait on the clock of `Lockstep`, whose time moves when everything waits.
PHASE = 0.1


class Program:
    """
    Tasks that wait in ways that a seed decides.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._children: dict[str, int] = {}

    async def run(self) -> None:
        """
        Six tasks of three waits each, one of each task's in coroutines within coroutines.
        """
        plans = [self._random.sample(KINDS, 3) for _ in range(6)]
        depths = [self._random.randrange(4) for _ in plans]
        tasks = [
            asyncio.create_task(self._main(plan, depth), name=f"main {number}")
            for number, (plan, depth) in enumerate(zip(plans, depths, strict=True))
        ]
        await asyncio.gather(*tasks)

    async def _main(self, plan: list[Kind], depth: int) -> None:
        for kind in plan:
            await self._nested(kind, depth)
            depth = (depth + 1) % 4

    async def _nested(self, kind: Kind, depth: int) -> None:
        if depth:
            await self._nested(kind, depth - 1)
        else:
            await kind(self)

    def child(self) -> asyncio.Task[None]:
        """
        A task with a name of its own that waits once.
        """
        return asyncio.create_task(asyncio.sleep(PHASE), name=self.name())

    def name(self) -> str:
        """
        A name for a child of the task that runs.
        """
        task = asyncio.current_task()
        parent = task.get_name() if task is not None else ""
        self._children[parent] = self._children.get(parent, 0) + 1
        return f"{parent}, child {self._children[parent]}"


Kind = Callable[[Program], Any]


def _later(do: Callable[..., object], *args: object) -> None:
    asyncio.get_running_loop().call_later(PHASE, do, *args)


async def _sleep(_: Program) -> None:
    await asyncio.sleep(PHASE)


async def _lock(_: Program) -> None:
    lock = asyncio.Lock()
    await lock.acquire()
    _later(lock.release)
    async with lock:
        pass


async def _semaphore(_: Program) -> None:
    semaphore = asyncio.Semaphore(0)
    _later(semaphore.release)
    await semaphore.acquire()


async def _queue(_: Program) -> None:
    queue: asyncio.Queue[int] = asyncio.Queue()
    _later(queue.put_nowait, 1)
    await queue.get()


async def _event(_: Program) -> None:
    event = asyncio.Event()
    _later(event.set)
    await event.wait()


async def _wait_for(program: Program) -> None:
    await asyncio.wait_for(_event(program), 5)


async def _future(_: Program) -> None:
    future = asyncio.get_running_loop().create_future()
    _later(future.set_result, None)
    await future


async def _timeout(program: Program) -> None:
    async with asyncio.timeout(5):
        await _future(program)


async def _gather(program: Program) -> None:
    await asyncio.gather(program.child(), program.child())


async def _group(program: Program) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(PHASE), name=program.name())
        group.create_task(asyncio.sleep(PHASE), name=program.name())


async def _task(program: Program) -> None:
    await program.child()


async def _shield(program: Program) -> None:
    await asyncio.shield(program.child())


async def _wait(program: Program) -> None:
    await asyncio.wait([program.child(), program.child()])


async def _thread(_: Program) -> None:
    executor, end = futures.ThreadPoolExecutor(1), threading.Event()

    def go_on() -> None:
        end.set()
        executor.shutdown()  # once it returns, the loop knows that the call has ended

    _later(go_on)
    asyncio.get_running_loop().set_default_executor(executor)
    await asyncio.to_thread(end.wait)


async def _numbers(program: Program) -> AsyncIterator[int]:
    yield 1
    await _future(program)
    yield 2


async def _generator(program: Program) -> None:
    async for _ in _numbers(program):
        pass


async def _anext(program: Program) -> None:
    numbers = _numbers(program)
    await anext(numbers)
    await anext(numbers, None)


class _Awaitable:
    def __init__(self, program: Program) -> None:
        self._program = program

    def __await__(self) -> Generator[Any, None, None]:
        return (yield from _queue(self._program).__await__())


async def _awaitable(program: Program) -> None:
    await _Awaitable(program)


class _Uncommon(asyncio.Future[None]):
    pass


async def _uncommon(_: Program) -> None:
    future = _Uncommon()
    _later(future.set_result, None)
    await future


KINDS: list[Kind] = [
    _sleep, _lock, _semaphore, _queue, _event, _wait_for, _future, _timeout, _gather, _group, _task, _shield,
    _wait, _thread, _generator, _anext, _awaitable, _uncommon,
]  # fmt: skip


def _seen(path: Path, core: str, seed: int) -> tuple[dict[str, list[tuple[str, ...]]], dict[str, str]]:
    """
    Run a program under a trace: the stack of each of its tasks in each phase, and each one's parent.
    """
    with fgtrace.trace(path, hz=200, max_overhead=1.0) as trace:
        phases = lockstep.run(trace, Program(seed).run())
    assert trace.stats.core == core
    assert trace.stats.failed == {}
    slices: dict[Any, list[Any]] = {}
    for each in fgtrace.load(path):
        if each.track.kind == "task" and not each.track.name.startswith("Task-"):
            slices.setdefault(each.track, []).append(each)
    names = {track.id: track.name for track in slices}
    parents = {track.name: names[track.parent] for track in slices if track.parent in names}
    return {
        track.name: [_stack_at(found, time) for time in phases] for track, found in slices.items()
    }, parents


def _stack_at(slices: list[Any], time: int) -> tuple[str, ...]:
    """
    The stack of a track at a time, state first; empty where it is not there.
    """
    inside = sorted((each.depth, each.frame.name) for each in slices if each.start <= time < each.end)
    return tuple(name for _, name in inside)


@only_c
@pytest.mark.parametrize("seed", range(8))
def test_twins(core: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Of a random program both cores see the same tasks, states, chains and parents.
    """
    stacks, parents = _seen(tmp_path / "c.json", "c", seed)
    mains = [found for name, found in stacks.items() if "child" not in name]
    assert len(mains) == 6
    for phases in mains:
        assert len(phases) == 3
        assert all(phases)
        assert {stack[0] for stack in phases}.isdisjoint(UNBLOCKED), phases
    monkeypatch.setenv(VARIABLE, "python")
    assert _seen(tmp_path / "python.json", "python", seed) == (stacks, parents)


# which core serves


def run(code: str, tmp_path: Path, core: str = "") -> str:
    """
    Run a program with this ``FGTRACE_CORE``; what it printed is returned.
    """
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=tmp_path,
        env=os.environ | {VARIABLE: core},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert found.stderr == ""
    return found.stdout


def test_unknown_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A value of the environment variable that there is not is refused, and what is allowed is said.
    """
    monkeypatch.setenv(VARIABLE, "x")
    with pytest.raises(ConfigError, match=r"FGTRACE_CORE.*'x'.*'c'.*'python'"):
        make_sampler(Options())


UNLOADABLE = """
import logging, sys
sys.modules["fgtrace._core"] = None  # as where it was not built
import fgtrace
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(levelname)s %(name)s: %(message)s")
"""


def test_without_core(tmp_path: Path) -> None:
    """
    Where the extension cannot be loaded its Python twin serves, and says so once, and in the trace.
    """
    code = """
    for _ in range(2):
        with fgtrace.trace("t.json") as trace:
            pass
        print(trace.stats.core)
    """
    lines = run(UNLOADABLE + textwrap.dedent(code), tmp_path).splitlines()
    assert lines[0].startswith(
        "INFO fgtrace: the C core cannot serve, its Python twin does: it cannot be imp"
    )
    assert lines[1:] == ["python", "python"]
    document = json.loads((tmp_path / "t.json").read_bytes())
    assert document["metadata"]["fgtrace"]["stats"]["core"] == "python"


def test_forced_without_core(tmp_path: Path) -> None:
    """
    Where the extension is asked for and cannot be loaded, that is an error, and nothing is begun.
    """
    code = """
    try:
        fgtrace.trace("t.json").start()
    except fgtrace.ConfigError as error:
        print(error)
    """
    assert "the C core cannot serve: it cannot be imported" in run(
        UNLOADABLE + textwrap.dedent(code), tmp_path, "c"
    )
    assert list(tmp_path.iterdir()) == []


Words = tuple[int, ...]
LIES: dict[str, Callable[[Words], Words]] = {
    "nothing-is-there": lambda words: (0,) * len(words),
    "all-is-there-twice": lambda words: words * 2,
    "too-short": lambda words: words[:6],
}


@only_c
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_calibration_fails(
    core: str,
    lie: Callable[[Words], Words],
    traced: Traced,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Where the fields of a task are not found where they must be, the Python twin serves: one log line.
    """
    real = _native.load_core()
    liar = SimpleNamespace(
        Core=real.Core,
        constants=real.constants,
        newest_task=real.newest_task,
        memory_words=lambda each: lie(real.memory_words(each)),
    )
    monkeypatch.setattr(_core_sampler, "load_core", lambda: liar)
    monkeypatch.setattr(_native, "_found", {})
    monkeypatch.setattr(_cores, "_logged", [])
    with pytest.raises(ConfigError, match="the C core cannot serve"):
        make_sampler(Options())
    monkeypatch.delenv(VARIABLE)
    with caplog.at_level(logging.INFO, "fgtrace"):
        assert isinstance(make_sampler(Options()), PythonSampler)
        trace = traced(_named)
        gc.collect()  # what calibration leaves is no trouble either
    assert [(record.name, record.levelname) for record in caplog.records] == [("fgtrace", "INFO")]
    assert "was found" in caplog.text
    assert trace.metadata["stats"]["core"] == "python"
    assert trace.track("named *").time_in("sleep") > 0


async def _named() -> None:
    await asyncio.create_task(pass_ticks(20), name="named")


@only_c
def test_self_check_fails(core: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """
    A task whose waiter is not where calibration found it: Python looks at the tasks from then on.
    """
    right, step = _native.fields_of(_native.load_core(), asyncio.tasks)
    wrong = dict(right, waiter=right["coro"], coro=right["waiter"])
    monkeypatch.setitem(_native._found, id(asyncio.tasks), (wrong, step))

    async def main() -> fgtrace.Trace:
        async with fgtrace.trace(tmp_path / "t.json", hz=200, max_overhead=1.0) as trace:
            await asyncio.create_task(pass_ticks(40), name="named")
        return trace

    trace = asyncio.run(main())
    assert "is not where it was" in trace.stats.failed["core"]
    found = [each for each in fgtrace.load(tmp_path / "t.json") if each.track.name.startswith("named")]
    assert len({each.track.id for each in found}) == 1
    assert {each.frame.name for each in found if each.frame.category == "state"} - UNBLOCKED == {"sleep"}


# kinds of tasks


@only_c
def test_asyncio_comes_later(core: str, tmp_path: Path, read_trace: Traced) -> None:
    """
    A program that imports asyncio only when the trace runs has its tasks in it.
    """
    code = """
    import sys, fgtrace
    trace = fgtrace.trace("t.json", hz=200, max_overhead=1.0).start()
    assert "asyncio" not in sys.modules
    import asyncio
    async def main():
        await asyncio.create_task(naps(), name="named")
    async def naps():
        until = trace._sampler.taken + 60
        while trace._sampler.taken < until:
            await asyncio.sleep(0.01)
    asyncio.run(main())
    trace.stop()
    print(trace.stats.core, trace.stats.failed)
    """
    assert run(code, tmp_path, "c") == "c {}\n"
    assert read_trace(tmp_path / "t.json").track("named *").time_in("sleep") > 0


@only_c
def test_tasks_of_python(core: str, traced: Traced) -> None:
    """
    Tasks of the Python class, which have no fields to read, are in the trace like all others.
    """

    async def inner() -> None:
        await pass_ticks(30)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        make: Any = asyncio.tasks._PyTask  # type: ignore[attr-defined]
        native = asyncio.create_task(inner(), name="native")
        loop.set_task_factory(lambda loop, coro, **rest: make(coro, loop=loop, **rest))
        python = asyncio.create_task(inner(), name="of Python")
        assert type(python) is not type(native)
        await asyncio.gather(native, python)

    trace = traced(main)
    assert trace.metadata["stats"]["core"] == "c"
    for name in ("native", "of Python"):
        assert trace.track(f"{name} *").time_in("sleep") > 0
        assert trace.track(f"{name} *").chains("sleep")[0][-1] == "asyncio.tasks.sleep"


@only_c
@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
def test_eager_tasks(core: str, traced: Traced) -> None:
    """
    An eager task is seen in its first step, before any set or list of the loop's has it, and later.
    """

    async def works_then_waits() -> None:
        work_for_ticks(10)
        await pass_ticks(10)

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
        await asyncio.create_task(works_then_waits(), name="eager")

    track = traced(main).track("eager *")
    assert track.time_in("running") > 0
    assert track.time_in("sleep") > 0


@only_c
def test_uvloop(core: str, traced: Traced) -> None:
    """
    The tasks of a compiled loop.
    """
    uvloop = pytest.importorskip("uvloop")
    trace = traced(lambda: uvloop.run(_named()))
    assert trace.metadata["stats"]["core"] == "c"
    assert trace.track("named *").time_in("sleep") > 0


@only_c
def test_two_threads_with_many_tasks(core: str, tmp_path: Path) -> None:
    """
    All tasks of two loops are found, also where there are more than one tick may look for.
    """
    many, end = 2000, threading.Event()

    def work(name: str, barrier: threading.Barrier) -> None:
        async def main() -> None:
            tasks = [asyncio.create_task(asyncio.sleep(60), name=f"{name} {n}") for n in range(many)]
            await asyncio.sleep(0)
            barrier.wait()
            while not end.is_set():
                await asyncio.sleep(0.01)
            for task in tasks:
                task.cancel()

        asyncio.run(main())

    barrier = threading.Barrier(3)
    threads = [threading.Thread(target=work, args=(name, barrier)) for name in "ab"]
    for thread in threads:
        thread.start()
    barrier.wait()
    sampler = make_sampler(Options(hz=99))
    sampler.start()
    wanted = {f"{name} {n}" for name in "ab" for n in range(many)}
    until = time.monotonic() + 60  # else it does not come
    while not wanted <= {track.name for track in sampler.snapshot()[0].tracks} and time.monotonic() < until:
        time.sleep(0.05)
    sampler.stop()
    end.set()
    for thread in threads:
        thread.join()
    names = {track.name for track in sampler.recording.tracks}
    assert wanted - names == set()


# what it leaves behind


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def _drain(core: Any) -> None:
    core.drain_rows()
    core.drain_counters()
    core.drain_notes()
    core.drain_questions()


@only_c
def test_no_leak(core: str) -> None:
    """
    Tasks, futures, functions and loops come and go under 100,000 looks: memory stays as it was.
    """
    c = make_sampler(Options())._core  # type: ignore[attr-defined]
    future_type = type("Uncommon", (asyncio.Future,), {})
    times = itertools.count()
    watched: list[weakref.ref[Any]] = []

    async def waits(future: asyncio.Future[None]) -> None:
        await future

    async def main(looks: int) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda *_: None)
        for _ in range(looks // 50):
            futures = [loop.create_future(), future_type()]
            tasks = [asyncio.create_task(waits(each)) for each in futures]
            orphan = loop.create_future()
            asyncio.create_task(waits(orphan))  # noqa: RUF006
            watched[:] = map(weakref.ref, (*futures, *tasks, orphan))
            del orphan
            for _ in range(25):
                c.tick(next(times) * 1000)
            await asyncio.sleep(0)
            for _ in range(25):
                c.tick(next(times) * 1000)
            for future in futures:
                future.set_result(None)
            await asyncio.gather(*tasks)
            _drain(c)

    def state() -> tuple[int, int]:
        _drain(c)
        gc.collect()
        # asyncio's own set of weak references, those with a callback, keeps some that are dead
        ours = [
            each for each in gc.get_objects() if type(each) is not weakref.ref or each.__callback__ is None
        ]
        return len(ours), sys.getrefcount(future_type)

    asyncio.run(main(20_000))
    before, resident = state(), _resident()
    for _ in range(8):
        asyncio.run(main(10_000))
    after = state()
    assert [each() for each in watched] == [None] * len(watched)
    assert after[0] - before[0] < 200  # of 5,000 tasks
    assert after[1] == before[1]
    assert _resident() - resident < 4_000_000


@only_c
def test_functions_are_kept_with_the_recording_only(core: str) -> None:
    """
    What a core noted it keeps: code objects. They go when it goes, and nothing else was held.
    """
    sampler = make_sampler(Options())
    c = sampler._core  # type: ignore[attr-defined]
    codes: list[weakref.ref[Any]] = []
    modules: list[weakref.ref[Any]] = []
    for number in range(200):
        space: dict[str, Any] = {"__name__": f"module {number}", "tick": c.tick}
        exec(f"def function(now, held):\n    tick(now)\nclass Held: pass", space)  # noqa: F541, S102
        held = space["Held"]()
        space["function"](number, held)
        codes.append(weakref.ref(space["function"].__code__))
        modules.append(weakref.ref(held))
        del space, held
    gc.collect()
    assert [each() for each in modules] == [None] * 200
    assert None not in [each() for each in codes]
    del c, sampler
    gc.collect()
    assert [each() for each in codes] == [None] * 200


DIRECT = """
import asyncio, gc, operator
from functools import partial
from fgtrace._options.options import Options
from fgtrace._sampling.choose import make_sampler
core = make_sampler(Options())._core
class Uncommon(asyncio.Future):
    pass
class Knot:
    def __init__(self):
        self.self = self
    def __del__(self):
        if looks:
            print("a finalizer ran within a look")
looks = []
def look(now):  # with no check of the interpreter's between the look and what says that it is over
    gc.disable()
    gc.set_threshold(1, 1, 1)
    steps = gc.enable, partial(looks.append, 1), partial(core.tick, now), looks.clear, gc.disable
    list(map(operator.call, steps))
async def lost(future, knot):
    await future
async def make_lost(kind):
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    gc.disable()
    for _ in range(5):
        asyncio.create_task(lost(kind(), Knot()))
    await asyncio.sleep(0)
def collect_soon():
    gc.set_threshold(1, 1, 1)
    gc.enable()
"""
#: Programs that look at tasks of their own; in their own process, since a mistake of the core's ends it.
DIRECTLY = {
    # an unnamed task has a number for its name; where a string is made of that, garbage may be collected
    "no-collection-within-a-look": """
        async def main():
            for number in range(50):
                await make_lost(asyncio.Future)
                look(number)
                core.drain_questions()
                gc.collect()
        asyncio.run(main())
    """,
    "no-lost-task-in-a-question": """
        async def main():
            for number in range(3000):
                await make_lost(Uncommon)
                core.tick(number)
                kept = tuple(range(number % 19 + 1))
                collect_soon()
                for _, task, waiter, *_ in core.drain_questions():
                    assert not task.done() and repr(task)
                    assert waiter is None or not waiter.done()
                gc.disable()
                core.drain_notes()
        asyncio.run(main())
    """,
    "a-class-with-an-odd-module": """
        async def main():
            odd = type("Odd", (asyncio.Future,), {"__module__": 5})
            future = odd()
            task = asyncio.create_task(lost(future, None))
            await asyncio.sleep(0)
            core.tick(1)
            future.set_result(None)
            await task
            assert all(note[5] is None or note[5].isprintable() for note in core.drain_notes())
        asyncio.run(main())
    """,
}


@only_c
@pytest.mark.parametrize("program", DIRECTLY.values(), ids=DIRECTLY.keys())
def test_odd_moments(core: str, program: str, tmp_path: Path) -> None:
    """
    A look runs nothing of the program's, and what it hands over lives.
    """
    assert run(DIRECT + textwrap.dedent(program), tmp_path, "c") == ""


# the interpreter's queue of calls


@only_c
def test_pending_calls_of_the_program(core: str, tmp_path: Path) -> None:
    """
    While the main thread is blocked, the program can queue as many calls as ever, save one; all run.
    """
    add = ctypes.pythonapi.Py_AddPendingCall
    add.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    ran: list[int] = []
    answers: list[int] = []

    def call(_: int | None) -> int:
        ran.append(1)
        return 0

    function = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(call)
    address = ctypes.cast(function, ctypes.c_void_p)

    def work() -> None:
        work_for_ticks(50)
        answers.extend(add(address, None) for _ in range(31))

    with fgtrace.trace(tmp_path / "t.json", hz=2000, max_overhead=1.0) as trace:
        thread = threading.Thread(target=work)
        thread.start()
        wait_for_ticks(100)
        thread.join()
        end = time.thread_time() + 5
        while len(ran) < 31 and time.thread_time() < end:
            sum(range(100))
    assert trace.stats.ticks_taken > 100
    assert answers == [0] * 31
    assert len(ran) == 31


@only_c
@pytest.mark.parametrize("awaits", ["sampled", "exact"])
def test_ticks_at_once(core: str, tmp_path: Path, awaits: str) -> None:
    """
    A loop that gives the interpreter away for a moment at each turn does not keep a trace from beginning.
    """

    async def main() -> fgtrace.Stats:
        with fgtrace.trace(tmp_path / "t.json", hz=100, awaits=awaits) as trace:
            until = time.thread_time() + 2
            while ticks_taken(trace) <= 10 and time.thread_time() < until:
                for _ in range(20):
                    sum(number & 7 for number in range(2000))
                await asyncio.sleep(0)
        return trace.stats

    stats = asyncio.run(main())
    assert stats.core == core
    assert stats.ticks_taken > 10, "no more in two seconds of the loop's own processor time"


@only_c
def test_no_generator_is_left_to_the_loop(core: str, tmp_path: Path) -> None:
    """
    A trace that begins beside a running loop leaves it nothing to run and no generator to close.
    """

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with fgtrace.trace(tmp_path / "t.json") as trace:
            assert trace.stats.core == core
            gc.collect()
            assert len(loop._asyncgens) == 0  # type: ignore[attr-defined]
            await asyncio.sleep(0)
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())
