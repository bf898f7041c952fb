"""
The C core under stress: whatever a program does, 5,000 ticks a second beside it break nothing.

Each program runs in a process of its own, so that a crash or a hang is one failed test.
``FGTRACE_STRESS_SECONDS`` makes them run longer, and so does a nightly run.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from amount import NIGHTLY

pytestmark = [
    pytest.mark.usefixtures("core"),
    pytest.mark.parametrize("core", ["c"], indirect=True),
    pytest.mark.filterwarnings("ignore"),
]

SECONDS = float(os.environ.get("FGTRACE_STRESS_SECONDS", "10" if NIGHTLY else "0.3"))
HEAD = """
import asyncio, gc, os, random, signal, sys, threading, time, warnings
import fgtrace
warnings.simplefilter("ignore")
SECONDS = float(sys.argv[1])
begun = []
def start(name="t.json", **options):
    trace = fgtrace.trace(name, hz=5000, max_overhead=1.0, **options).start()
    begun[:] = [trace]
    return trace
def goes_on(end=time.monotonic() + SECONDS):  # and for as long as the machine is too busy for ticks
    return time.monotonic() < end or any(each._sampler and each._sampler.taken <= 10 for each in begun)
def check(trace):
    trace.stop()
    stats = trace.stats
    assert stats.core == "c" and not stats.failed and stats.ticks_taken > 10, stats
"""

PROGRAMS = {
    "threads": """
        def work(depth):
            if depth:
                return work(depth - 1)
            time.sleep(random.random() / 1000)
            return sum(range(2000))
        trace = start()
        while goes_on():
            threads = [threading.Thread(target=work, args=(depth,)) for depth in range(12)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.name = thread.name + " renamed"
                thread.join()
        check(trace)
    """,
    "tasks": """
        async def leaf(n):
            if n % 7 == 0:
                raise KeyError(n)
            await asyncio.sleep(0 if n % 3 else 0.0005)
        async def branch(n):
            try:
                async with asyncio.TaskGroup() as group:
                    for each in range(n % 6):
                        group.create_task(leaf(each + 1), name=f"leaf {each}")
                    group.create_task(leaf(n))
            except* KeyError:
                await asyncio.shield(asyncio.gather(leaf(1), leaf(7), return_exceptions=True))
        async def main():
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda *_: None)
            while goes_on():
                tasks = [asyncio.create_task(branch(n)) for n in range(40)]
                await asyncio.sleep(0.001)
                for task in tasks[::5]:
                    task.cancel()
                tasks[1].set_name("another name")
                await asyncio.wait(tasks, timeout=0.01)
                await loop.run_in_executor(None, time.sleep, 0)
                try:
                    await asyncio.wait_for(leaf(3), 0.0001)
                except TimeoutError:
                    pass
                if sys.version_info >= (3, 12):
                    eager = loop.get_task_factory()
                    loop.set_task_factory(None if eager else asyncio.eager_task_factory)
        trace = start()
        while goes_on():
            thread = threading.Thread(target=lambda: asyncio.run(main()))
            thread.start()
            asyncio.run(main())
            thread.join()
        check(trace)
    """,
    "loops": """
        async def orphan(future):
            await future
        async def main(rest):
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda *_: None)
            for _ in range(5):
                asyncio.create_task(orphan(loop.create_future()))
            task = asyncio.create_task(asyncio.sleep(0))
            rest.append(task)
            await asyncio.sleep(0.001)
        trace = start()
        rest = []
        while goes_on():
            asyncio.run(main(rest))
            del rest[:-3]
        check(trace)
    """,
    "generators": """
        def numbers(n):
            try:
                yield from range(n)
                yield from numbers(n - 1) if n else ()
            finally:
                len("closed")
        async def numbers_too(n):
            try:
                for each in range(n):
                    yield each
                    await asyncio.sleep(0)
            finally:
                await asyncio.sleep(0)
        class Awaitable:
            def __await__(self):
                yield from asyncio.sleep(0).__await__()
                return (yield from asyncio.sleep(0.0001).__await__())
        async def use():
            async for each in numbers_too(5):
                await Awaitable()
            left = numbers_too(5)
            await left.asend(None)
            try:
                await left.athrow(ValueError())
            except ValueError:
                pass
            lost = numbers_too(3)
            await anext(lost)
            await anext(numbers_too(0), None)
            await left.aclose()
        async def main():
            while goes_on():
                await asyncio.gather(*(use() for _ in range(20)))
                for length in range(20):
                    generator = numbers(length)
                    next(generator, None)
                    if length % 2:
                        generator.close()
                    threading.Thread(target=list, args=(generator,)).start()
                    sum(numbers(length))
        trace = start()
        asyncio.run(main())
        check(trace)
    """,
    "collections": """
        gc.set_threshold(1, 2, 3)
        class Knot:
            def __init__(self):
                self.self = self
            def __del__(self):
                sum(range(10))
                [0] * 3
        class Uncommon(asyncio.Future):
            pass
        async def lost(future, knot):
            await future
        async def main():
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda *_: None)
            while goes_on():
                for _ in range(20):
                    asyncio.create_task(lost(loop.create_future(), Knot()))
                    asyncio.create_task(lost(Uncommon(), Knot()))
                await asyncio.sleep(0.0003)
                gc.collect(random.randrange(3))
        trace = start()
        asyncio.run(main())
        check(trace)
    """,
    "functions": """
        trace = start()
        number = 0
        while goes_on():
            number += 1
            space = {"__name__": f"module {number % 50}"}
            exec(f"def f{number}(n):\\n    return sum(i for i in range(n))", space)
            space[f"f{number}"](number % 3000)
        check(trace)
    """,
    "exceptions": """
        def deep(n):
            try:
                if n == 0:
                    raise ValueError(n)
                deep(n - 1)
            except ValueError as error:
                raise ValueError(n) from error
            finally:
                sys._getframe().f_back
        kept = []
        trace = start()
        while goes_on():
            try:
                deep(30)
            except ValueError as error:
                traceback = error.__traceback__
                kept.append(traceback.tb_frame)
                while traceback is not None:
                    if traceback.tb_frame is not sys._getframe():
                        traceback.tb_frame.clear()
                    traceback = traceback.tb_next
            try:
                raise ExceptionGroup("", [KeyError(), ValueError()])
            except* KeyError:
                pass
            except* ValueError:
                del kept[:-5]
        check(trace)
    """,
    "recursion": """
        class Odd:
            def __eq__(self, other):
                return down() and False
        def down():
            return [Odd()] == [Odd()]
        def plain(n):
            return plain(n + 1)
        async def awaits(n):
            if n:
                await awaits(n - 1)
            await asyncio.sleep(0.01)
        def to_the_limit():
            for _ in range(3):
                for each in (down, lambda: plain(0)):
                    try:
                        each()
                    except RecursionError:
                        pass
        sys.setrecursionlimit(400)
        trace = start()
        thread = threading.Thread(target=to_the_limit)
        thread.start()
        to_the_limit()
        thread.join()
        asyncio.run(awaits(300))
        check(trace)
    """,
    "forks": """
        trace = start()
        threading.Thread(target=lambda: [time.sleep(0.001) for _ in iter(goes_on, 0)], daemon=True).start()
        ends = ["os._exit(0)", "sys.exit(0)", "trace.stop(); os._exit(0)", "gc.collect(); os._exit(0)"]
        number = 0
        while goes_on():
            number += 1
            pid = os.fork()
            if pid == 0:
                exec(ends[number % 8 if number % 8 < 4 else 0])
            assert os.waitpid(pid, 0)[1] == 0
        check(trace)
    """,
    "signals": """
        ran = 0
        def handler(*_):
            global ran
            ran += 1
            sum(range(100))
        signal.signal(signal.SIGALRM, handler)
        trace = start()
        sent = 0
        while goes_on():
            for _ in range(20):
                sent += 1
                signal.raise_signal(signal.SIGALRM)
                while ran != sent:
                    pass
            signal.setitimer(signal.ITIMER_REAL, 0.0005)
            sent += 1
            sum(range(1000)) if sent % 2 else time.sleep(0.001)
            while ran != sent:
                time.sleep(0)
        check(trace)
        assert ran == sent > 100
    """,
    "monitored": """
        def walk(n):
            return [walk(n - 1)] if n else sorted([3, 1, 2], key=lambda each: -each)
        async def main():
            async def inner(n):
                if n:
                    await inner(n - 1)
                await asyncio.sleep(0.0002)
            while goes_on():
                sys.setprofile(lambda *_: None)
                walk(20)
                await asyncio.gather(inner(3), inner(5))
                sys.setprofile(None)
                sys.settrace(lambda *_: None)
                walk(20)
                await inner(5)
                sys.settrace(None)
        trace = start()
        asyncio.run(main())
        check(trace)
    """,
    "traces": """
        async def main():
            while goes_on():
                traces = [start(f"t{number}.json") for number in range(3)]
                await asyncio.gather(*(asyncio.sleep(0.01) for _ in range(5)))
                for trace in traces:
                    random.choice([trace.stop, trace.abandon])()
                await asyncio.sleep(0)
        asyncio.run(main())
    """,
    "greenlets": """
        import greenlet
        from sqlalchemy import text
        from sqlalchemy.ext.asyncio import create_async_engine
        def other(n):
            for each in range(n):
                greenlet.getcurrent().parent.switch(each)
                sum(range(100))
        async def query(engine, n):
            async with engine.connect() as connection:
                for _ in range(n):
                    await connection.execute(text("select 1"))
        def waits(n):
            from sqlalchemy.util import await_only
            return waits(n - 1) if n else await_only(asyncio.sleep(0.0005))
        async def main():
            from sqlalchemy.util import greenlet_spawn
            engine = create_async_engine("sqlite+aiosqlite://")
            while goes_on():
                await asyncio.gather(*(query(engine, n) for n in range(3)))
                await asyncio.gather(*(greenlet_spawn(waits, n) for n in range(6)))
                some = [greenlet.greenlet(other) for _ in range(10)]
                for each in some:
                    each.switch(3)
                for each in some[::2]:
                    each.switch()
                del some
            await engine.dispose()
        trace = start()
        asyncio.run(main())
        check(trace)
    """,
    "interpreters": """
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        def work():
            while goes_on():
                each = interpreters.create()
                interpreters.run_string(each, "sum(range(20000))\\nimport time; time.sleep(0.001)")
                interpreters.destroy(each)
        trace = start()
        thread = threading.Thread(target=work)
        thread.start()
        if sys.version_info >= (3, 12):
            work()
        else:
            while goes_on():
                sum(range(1000))
        thread.join()
        check(trace)
    """,
    "uvloop": """
        import uvloop
        async def main():
            while goes_on():
                read, write = os.pipe()
                server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
                port = server.sockets[0].getsockname()[1]
                async def client():
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    await reader.read()
                    writer.close()
                await asyncio.gather(*(client() for _ in range(10)))
                server.close()
                os.close(read)
                os.close(write)
        trace = start()
        while goes_on():
            uvloop.run(main())
        check(trace)
    """,
}
NEEDS = {"greenlets": ("greenlet", "sqlalchemy", "aiosqlite"), "uvloop": ("uvloop",)}
#: These once more with the debug build of the allocator and the checks of ``-X dev``.
DEBUGGED = ("threads", "tasks", "generators", "collections", "greenlets")


def run(
    program: str, tmp_path: Path, *arguments: str, end: int = 0, **environment: str
) -> subprocess.CompletedProcess[str]:
    """
    Run a program to its end, which must be this one.
    """
    found = subprocess.run(
        [
            sys.executable,
            "-X",
            "faulthandler",
            *arguments,
            "-c",
            HEAD + textwrap.dedent(program),
            str(SECONDS),
        ],
        cwd=tmp_path,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60 + 10 * SECONDS,
        check=False,
    )
    assert found.returncode == end, f"{found.returncode}: {found.stderr[-6000:]}"
    return found


def skip_without(program: str) -> None:
    for name in NEEDS.get(program, ()):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"no {name} here")


@pytest.mark.parametrize("program", PROGRAMS)
def test_stress(program: str, tmp_path: Path) -> None:
    """
    The program ends as it should, every tick was survived, and the trace is a valid one.
    """
    skip_without(program)
    assert run(PROGRAMS[program], tmp_path).stderr == ""


@pytest.mark.parametrize("program", DEBUGGED)
def test_stress_with_debug_allocator(program: str, tmp_path: Path) -> None:
    """
    The same where freed memory is overwritten, and the interpreter checks more.
    """
    skip_without(program)
    run(PROGRAMS[program], tmp_path, "-X", "dev", "-W", "ignore", PYTHONMALLOC="debug")


BUSY = """
trace = start()
async def task(n):
    while True:
        await asyncio.sleep(0.0001 * n)
async def main():
    await asyncio.wait([asyncio.create_task(task(n)) for n in range(20)], timeout=0.1)
def spin():
    while True:
        sum(range(100))
"""
ENDS = {
    "end-of-main": ("asyncio.run(main())", 0),
    "sys-exit": ("asyncio.run(main()); sys.exit(3)", 3),
    "sys-exit-in-a-task": (
        "async def leave(): await asyncio.sleep(0.05); sys.exit(4)\nasyncio.run(leave())",
        4,
    ),
    "daemon-threads": (
        "for _ in range(3): threading.Thread(target=spin, daemon=True).start()\nasyncio.run(main())",
        0,
    ),
    "a-daemon-loop": (
        "threading.Thread(target=lambda: asyncio.run(main()), daemon=True).start()\ntime.sleep(0.05)",
        0,
    ),
    "a-loop-that-stays": ("loop = asyncio.new_event_loop(); loop.run_until_complete(main())", 0),
    "exception": ("asyncio.run(main()); raise KeyError", 1),
    "threads-go-on": ("threading.Thread(target=time.sleep, args=(0.1,)).start()", 0),
}


@pytest.mark.parametrize("how", ENDS)
def test_interpreter_ends(how: str, tmp_path: Path) -> None:
    """
    The interpreter ends in mid-trace, again and again: no crash, no hang, and the trace is whole.
    """
    program, end = ENDS[how]
    for _ in range(3):
        run(BUSY + program, tmp_path, end=end)
        document = json.loads((tmp_path / "t.json").read_bytes())
        assert document["metadata"]["fgtrace"]["complete"]
        assert document["metadata"]["fgtrace"]["stats"]["core"] == "c"


def test_process_ends(tmp_path: Path) -> None:
    """
    ``os._exit`` and a signal that kills end a traced process at once, as they do any other.
    """
    run(BUSY + "asyncio.run(main()); os._exit(5)", tmp_path, end=5)
    run(BUSY + "asyncio.run(main()); os.kill(os.getpid(), signal.SIGKILL)", tmp_path, end=-9)
