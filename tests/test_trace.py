"""
The face: `trace`, `Trace`, its context managers, its decorator, and its errors.
"""

from __future__ import annotations

import asyncio
import gzip
import inspect
import io
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

import fgtrace
from reading import Trace
from tick_count import ticks_taken

pytestmark = pytest.mark.usefixtures("core")

Reader = Callable[..., Trace]


#: Ticks of which the first and the last may meet a task or thread that is just falling asleep, or waking up.
ENOUGH = 4


def nap(*traces: fgtrace.Trace) -> None:
    """
    Sleep so long at once that each trace has looked a few times meanwhile.
    """
    seconds = 0.05
    while True:
        before = [ticks_taken(trace) for trace in traces]
        time.sleep(seconds)
        if all(ticks_taken(trace) - ticks >= ENOUGH for trace, ticks in zip(traces, before, strict=True)):
            return
        seconds *= 2


async def anap(trace: fgtrace.Trace) -> None:
    """
    The same in a task.
    """
    seconds = 0.05
    while True:
        before = ticks_taken(trace)
        await asyncio.sleep(seconds)
        if ticks_taken(trace) - before >= ENOUGH:
            return
        seconds *= 2


def test_with(tmp_path: Path, read_trace: Reader) -> None:
    """
    `with` traces a block.
    """
    with fgtrace.trace(tmp_path / "t.json") as trace:
        nap(trace)
    assert read_trace().track("MainThread").time_in("time.sleep") > 0


def test_async_with(tmp_path: Path, read_trace: Reader) -> None:
    """
    `async with` traces a block of a coroutine.
    """

    async def main() -> None:
        async with fgtrace.trace(tmp_path / "t.json") as trace:
            await anap(trace)

    asyncio.run(main())
    assert read_trace().track("Task-* main").time_in("sleep") > 0


def test_start_and_stop(tmp_path: Path, read_trace: Reader) -> None:
    """
    `start` returns the trace, `stop` writes it.
    """
    trace = fgtrace.trace(tmp_path / "t.json").start()
    nap(trace)
    assert "running" in repr(trace)
    trace.stop()
    assert "stopped" in repr(trace)
    assert read_trace().track("MainThread")


def test_decorated_function(tmp_path: Path, read_trace: Reader) -> None:
    """
    A decorated function is traced at each call, and is the same otherwise.
    """

    @fgtrace.trace(tmp_path / "t.json")
    def add(a: int, b: int = 2) -> int:
        """Adds."""
        time.sleep(0.05)
        return a + b

    assert (add.__name__, add.__doc__) == ("add", "Adds.")
    assert [add(1), add(1, b=5)] == [3, 6]
    chain = [row.name for row in read_trace().track("MainThread") if row.category == "python"]
    assert any(name.endswith("test_decorated_function.<locals>.add") for name in chain)
    assert not [name for name in chain if name.startswith("fgtrace")]


def test_decorated_coroutine_function(tmp_path: Path, read_trace: Reader) -> None:
    """
    A decorated coroutine function stays one.
    """

    @fgtrace.trace(tmp_path / "t.json")
    async def nap(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "rested"

    assert inspect.iscoroutinefunction(nap)
    assert asyncio.run(nap(0.05)) == "rested"
    track = read_trace().track("Task-* *")
    (first, *_) = track.chains("sleep")
    assert [name.rpartition(".")[2] for name in first] == ["nap", "sleep"]


def test_decorated_generator_function() -> None:
    """
    A generator function is refused: what its call does is over before its body begins.
    """

    def numbers() -> Iterator[int]:
        yield 1

    async def later() -> AsyncIterator[int]:
        yield 1

    for function in (numbers, later):
        with pytest.raises(TypeError, match="is a generator function"):
            fgtrace.trace()(function)


def test_binary_file_object(read_trace: Reader, tmp_path: Path) -> None:
    """
    A file object is written, and left open.
    """
    file = io.BytesIO(b"")
    with fgtrace.trace(file) as trace:
        nap(trace)
    (tmp_path / "t.json").write_bytes(file.getvalue())
    assert read_trace().track("MainThread").time_in("time.sleep") > 0


@pytest.mark.parametrize("name", ["t.json", "t.json.gz"], ids=["plain", "packed"])
def test_suffix(name: str, tmp_path: Path, read_trace: Reader) -> None:
    """
    The suffix says whether the file is packed; Perfetto reads both.
    """
    with fgtrace.trace(tmp_path / name) as trace:
        nap(trace)
    data = (tmp_path / name).read_bytes()
    assert data.startswith(b"\x1f\x8b") == name.endswith(".gz")
    assert read_trace(tmp_path / name).track("MainThread").time_in("time.sleep") > 0
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_metadata(core: str, tmp_path: Path, read_trace: Reader) -> None:
    """
    Asked and true rate, missed ticks, own cost, versions and options are in the trace.
    """
    with fgtrace.trace(tmp_path / "t.json", hz=50) as trace:
        nap(trace)
    metadata = read_trace().metadata
    assert metadata["config"]["hz"] == 50
    assert metadata["complete"] is True
    assert metadata["version"] == fgtrace.__version__
    stats = metadata["stats"]
    assert stats["core"] == core
    assert stats["ticks_asked"] == stats["ticks_taken"] + stats["ticks_missed"]
    assert 0 < stats["overhead"] < 1
    assert stats["ticks_taken"] == trace.stats.ticks_taken


@pytest.mark.parametrize("include", [True, False], ids=["with-self", "without-self"])
def test_include_self(include: bool, tmp_path: Path, read_trace: Reader) -> None:
    """
    The tracer's own threads and frames are there when asked for, and only then.
    """
    with fgtrace.trace(tmp_path / "t.json", include_self=include) as trace:
        nap(trace)
    found = read_trace()
    own = [row.name for rows in found.all() for row in rows if row.name.startswith("fgtrace.")]
    assert bool(own) == include
    assert ("fgtrace sampler" in found.tracks) == include


@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_one_kind_only(kind: str, tmp_path: Path, read_trace: Reader) -> None:
    """
    Threads or tasks can be left out.
    """

    async def main() -> None:
        async with fgtrace.trace(tmp_path / "t.json", **{kind: False}) as trace:
            await anap(trace)

    asyncio.run(main())
    tracks = read_trace().tracks
    assert ("MainThread" in tracks) == (kind != "threads")
    assert any(name.startswith("Task-") for name in tracks) == (kind != "tasks")


def test_state_frames_in_a_file(tmp_path: Path, read_trace: Reader) -> None:
    """
    With the state at the leaf it is the innermost slice of the file.
    """
    with fgtrace.trace(tmp_path / "t.json", state_frames="leaf") as trace:
        nap(trace)
    rows = read_trace().track("MainThread")
    (sleep, *_) = rows.named("sleep")
    above = [row for row in rows if row.ts <= sleep.ts < row.end]
    assert [row.name for row in above][-2:] == ["time.sleep", "sleep"]
    assert not [row for row in rows if row.category == "state" and row.depth == 0]


# errors


def test_stop_twice(tmp_path: Path) -> None:
    """
    A trace is stopped once.
    """
    trace = fgtrace.trace(tmp_path / "t.json").start()
    trace.stop()
    with pytest.raises(fgtrace.TraceStateError, match="stopped before"):
        trace.stop()


def test_start_twice(tmp_path: Path) -> None:
    """
    A trace is started once, also after it was stopped.
    """
    with (
        fgtrace.trace(tmp_path / "t.json") as trace,
        pytest.raises(fgtrace.TraceStateError, match="started before"),
    ):
        trace.start()
    with pytest.raises(RuntimeError, match="started before"):
        trace.start()


def test_stop_before_start(tmp_path: Path) -> None:
    """
    A trace that was not started cannot be stopped, and has written nothing.
    """
    with pytest.raises(fgtrace.TraceStateError, match="not running"):
        fgtrace.trace(tmp_path / "t.json").stop()
    assert list(tmp_path.iterdir()) == []


def closed_file(tmp_path: Path) -> BinaryIO:
    file = (tmp_path / "closed").open("wb")
    file.close()
    return file


BROKEN: dict[str, tuple[Callable[[Path], Any], type[Exception]]] = {
    "closed-file": (closed_file, ValueError),
    "full-disk": (lambda _: Path("/dev/full"), OSError),
    "no-directory": (lambda path: path / "nowhere" / "t.json", FileNotFoundError),
    "is-a-directory": (lambda path: path, OSError),
    "text-file": (lambda _: io.StringIO(), TypeError),
}


@pytest.mark.parametrize(("make", "cause"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_destination(make: Callable[[Path], Any], cause: type[Exception], tmp_path: Path) -> None:
    """
    `stop` raises the error of a destination, once and with its cause; nothing is left behind.
    """
    trace = fgtrace.trace(make(tmp_path), format="json").start()
    with pytest.raises(fgtrace.SinkError) as caught:
        trace.stop()
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value.__cause__, cause)
    with pytest.raises(fgtrace.TraceStateError):
        trace.stop()
    assert [path for path in tmp_path.iterdir() if path.name != "closed"] == []


def test_broken_destination_async(tmp_path: Path) -> None:
    """
    The same from `async with`.
    """

    async def main() -> None:
        async with fgtrace.trace(tmp_path / "nowhere" / "t.json"):
            await asyncio.sleep(0.01)

    with pytest.raises(fgtrace.SinkError, match="nowhere"):
        asyncio.run(main())


def test_programs_error_comes_first(tmp_path: Path) -> None:
    """
    Where the block raises, its error comes out, whatever happens to the file.
    """
    with pytest.raises(KeyError, match="mine"), fgtrace.trace(tmp_path / "nowhere" / "t.json"):
        raise KeyError("mine")


def test_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    """
    While a trace runs, the file of the last one is untouched, and a partial file says what it is.
    """
    dst = tmp_path / "t.json"
    dst.write_text("old")
    trace = fgtrace.trace(dst).start()
    note = json.loads((tmp_path / "t.json.partial").read_bytes())
    assert dst.read_text() == "old"
    assert note["metadata"]["fgtrace"]["complete"] is False
    trace.stop()
    assert json.loads(dst.read_bytes())["metadata"]["fgtrace"]["complete"] is True
    assert [path.name for path in tmp_path.iterdir()] == ["t.json"]


def test_directory_changed_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A relative path means the directory in which the trace was started.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    with fgtrace.trace("t.json"):
        monkeypatch.chdir(tmp_path / "sub")
    assert (tmp_path / "t.json").exists()


# several at once


def test_trace_in_a_trace(tmp_path: Path, read_trace: Reader) -> None:
    """
    Traces nest, each with its own rate and file.
    """
    traces = fgtrace.trace(tmp_path / "outer.json", hz=50), fgtrace.trace(tmp_path / "inner.json", hz=200)
    with traces[0], traces[1]:
        nap(*traces)
    for name in ("outer.json", "inner.json"):
        assert read_trace(tmp_path / name).track("MainThread").time_in("time.sleep") > 0


def test_trace_in_a_thread(tmp_path: Path, read_trace: Reader) -> None:
    """
    A trace may be started and stopped in any thread; the file is that of the whole process.
    """

    def work() -> None:
        with fgtrace.trace(tmp_path / "t.json") as trace:
            nap(trace)

    thread = threading.Thread(target=work, name="worker")
    thread.start()
    thread.join()
    found = read_trace()
    assert found.track("worker").time_in("time.sleep") > 0
    assert "thread wait" in found.track("MainThread").states()


def test_started_here_stopped_there(tmp_path: Path, read_trace: Reader) -> None:
    """
    One thread may start a trace and another stop it, while others run.
    """
    traces = [fgtrace.trace(tmp_path / f"{number}.json").start() for number in range(4)]
    nap(*traces)
    threads = [threading.Thread(target=trace.stop) for trace in traces]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        assert read_trace(tmp_path / f"{number}.json").tracks


# the way back


def test_load(tmp_path: Path, read_trace: Reader) -> None:
    """
    `load` gives the slices that Perfetto sees.
    """
    with fgtrace.trace(tmp_path / "t.json.gz") as trace:
        nap(trace)
    slices = fgtrace.load(tmp_path / "t.json.gz")
    theirs = read_trace(tmp_path / "t.json.gz").track("MainThread")
    ours = [s for s in slices if s.track.name == "MainThread"]
    assert [(s.start, s.end - s.start, s.frame.name) for s in ours] == [(r.ts, r.dur, r.name) for r in theirs]


BAD_FILES = {
    "not-json": b"hello",
    "cut-short": b'{"traceEvents":[{"ph":"X"',
    "no-events": b'{"a":1}',
    "wrong-event": b'{"traceEvents":[7]}',
    "text-time": b'{"traceEvents":[{"ph":"X","name":"a","ts":"soon","pid":1,"tid":1}]}',
    "huge-time": b'{"traceEvents":[{"ph":"X","name":"a","ts":1e300,"pid":1,"tid":1}]}',
    "broken-gzip": gzip.compress(b'{"traceEvents":[]}')[:-9],
}


@pytest.mark.parametrize("data", BAD_FILES.values(), ids=BAD_FILES.keys())
def test_load_refuses(data: bytes, tmp_path: Path) -> None:
    """
    A file that is no trace is one clear error that names the file.
    """
    (tmp_path / "bad.json").write_bytes(data)
    with pytest.raises(fgtrace.TraceFormatError, match=r"bad\.json: not a trace"):
        fgtrace.load(tmp_path / "bad.json")
