"""
Captured traces that a writer process makes files of: the same bytes, and nothing left behind, whatever
happens to it.
"""

from __future__ import annotations

import asyncio
import contextvars
import enum
import gzip
import io
import logging
import marshal
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile

import pytest

import fgtrace
from fgtrace._output import writer_process
from fgtrace._output.captured_trace import CapturedTrace
from fgtrace._output.transfer import pack_trace, unpack_trace
from fgtrace._output.writer_process import write_by_process
from live import MOUNTS, SECONDS, live, until

FORMATS = ["json", "perfetto", "speedscope", "folded", "pprof", "firefox", "html"]
USER = contextvars.ContextVar[object]("user")


class Kind(enum.StrEnum):
    """
    A text of the program's own kind.
    """

    GUEST = "guest"


async def child(number: int) -> None:
    for _ in range(20):
        await asyncio.sleep(0.001 * (number % 5))


async def crowd() -> None:
    USER.set(Kind.GUEST)
    asyncio.get_running_loop().call_later(0.01, str)
    await asyncio.gather(*(child(number) for number in range(50)))


@contextmanager
def captured_crowd(**options: object) -> Iterator[CapturedTrace]:
    """
    A captured trace of a crowd, closed afterwards.
    """
    trace = fgtrace.trace(io.BytesIO(), hz=500, **options).start()
    asyncio.run(crowd())
    captured = trace._capture()
    assert captured is not None
    try:
        yield captured
    finally:
        captured.recording.close()


def lengthen(captured: CapturedTrace) -> None:
    """
    Let it take some seconds to write.
    """
    for number in range(300_000):
        captured.recording.observe(
            captured.end - 300_000 + number, 0, 1, number % len(captured.recording.thread_samples)
        )


def written(
    captured: CapturedTrace, *, compress: bool = False, check: Callable[[], object] = lambda: None
) -> bytes:
    with TemporaryFile() as file:
        write_by_process(captured, file, compress=compress, check=check)
        size = os.fstat(file.fileno()).st_size
        file.seek(0)
        assert size == len(file.read())
        file.seek(0)
        return file.read()


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """
    The processes that were started, for however little.
    """
    monkeypatch.setattr(writer_process, "WORTH", 0)
    found: list[int] = []
    start = writer_process._start

    def noted(source: io.BufferedIOBase, target: io.BufferedIOBase) -> object:
        process = start(source, target)  # type: ignore[arg-type]
        found.append(process.pid)
        return process

    monkeypatch.setattr(writer_process, "_start", noted)
    return found


def is_there(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


@pytest.mark.parametrize("awaits", ["sampled", "exact"])
def test_bytes_are_the_same(core: str, awaits: str, starts: list[int]) -> None:
    """
    In every format it writes what would be written here.
    """
    with captured_crowd(awaits=awaits, labels=(USER,)) as captured:
        for format_ in FORMATS:
            asked = captured._replace(options=replace(captured.options, format=format_))
            found = written(asked)
            assert (gzip.decompress(found) if format_ == "pprof" else found) == b"".join(asked.chunks()), (
                format_
            )
    assert len(starts) == len(FORMATS)
    assert not any(is_there(pid) for pid in starts)


@pytest.mark.parametrize("awaits", ["sampled", "exact"])
def test_windows(core: str, awaits: str, starts: list[int]) -> None:
    """
    The same of a flight recorder's last seconds, of which much has ended before they begin.
    """
    with fgtrace.FlightRecorder(0.5, awaits=awaits, hz=500) as recorder:
        for _ in range(8):  # 80 ms each
            asyncio.run(crowd())
        captured = recorder.cut(0.3, fgtrace.Config(format="perfetto"), "")
        assert written(captured) == b"".join(captured.chunks())
    assert len(starts) == 1


def test_much(starts: list[int]) -> None:
    """
    What was moved to files comes back from there, and no value is so large that others wait for it.
    """
    with captured_crowd(awaits="exact", max_memory=1 << 20) as captured:
        recording = captured.recording
        for number in range(60_000):
            recording.observe(captured.end, 0, 1, number % len(recording.thread_samples))
            if number % 1000 == 0:
                recording.trim()
        assert recording.spilled
        assert written(captured) == b"".join(captured.chunks())
        sizes = {name: len(marshal.dumps(value)) for name, value in pack_trace(captured) if name != "codes"}
        assert max(sizes.values()) < 400_000, sizes
        there = unpack_trace(iter(list(pack_trace(captured))))
        assert there.recording.spilled
        there.recording.close()
    assert len(starts) == 1


def test_packed(starts: list[int]) -> None:
    """
    Packed where the client wants it, or the format is.
    """
    with captured_crowd() as captured:
        assert gzip.decompress(written(captured, compress=True)) == b"".join(captured.chunks())
        asked = captured._replace(options=fgtrace.Config(format="perfetto.gz"))
        assert gzip.decompress(written(asked)) == b"".join(asked.chunks())
    assert len(starts) == 2


def test_little_is_written_here(starts: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A process is started where it is worth it.
    """
    with captured_crowd() as captured:
        monkeypatch.setattr(
            writer_process, "WORTH", captured.recording.observations + captured.recording.stepped + 1
        )
        assert written(captured) == b"".join(captured.chunks())
    assert not starts


def test_gives_way(starts: list[int]) -> None:
    """
    It works with the lowest priority, does not hear the terminal's interrupt, and is the first to go where
    memory is short.
    """
    seen: set[tuple[str, str, bool]] = set()

    def check() -> None:
        for pid in starts:
            try:
                nice = max(
                    stat.read_text().rpartition(") ")[2].split()[16]
                    for stat in Path(f"/proc/{pid}/task").glob("*/stat")
                )
                status = Path(f"/proc/{pid}/status").read_text()
                ignored = int(status.split("SigIgn:")[1].split()[0], 16)
                seen.add((nice, Path(f"/proc/{pid}/oom_score_adj").read_text().strip(), bool(ignored & 2)))
            except (OSError, ValueError, IndexError):  # it has just ended
                continue

    with captured_crowd(awaits="exact") as captured:
        lengthen(captured)
        written(captured, check=check)
    assert ("19", "1000", True) in seen


def test_goes_on_with_more(core: str) -> None:
    """
    When the patience is over, the main thread goes on where the one of low priority was.
    """
    done: list[tuple[int, int]] = []
    waits = threading.Event()

    def work() -> Iterator[None]:
        for number in range(10):
            if number == 5:
                waits.wait(0.05)  # longer than the patience
            done.append((number, threading.get_ident()))
            yield

    writer_process._run_at_low_priority(work(), 0.01)
    assert [number for number, _ in done] == list(range(10))
    assert done[0][1] != threading.get_ident() == done[-1][1]


def test_fails_as_it_should() -> None:
    def work() -> Iterator[None]:
        yield
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        writer_process._run_at_low_priority(work(), 10)


def test_nobody_wants_it(starts: list[int]) -> None:
    """
    What a question raises ends the process.
    """

    def check() -> None:
        if starts:
            raise KeyboardInterrupt

    with captured_crowd() as captured, TemporaryFile() as file, pytest.raises(KeyboardInterrupt):
        write_by_process(captured, file, check=check)
    assert len(starts) == 1
    assert not is_there(starts[0])


@pytest.mark.parametrize("fault", ["other", "absent", "broken", "frozen", "killed", "odd"])
def test_without(
    fault: str,
    starts: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Where there can be no such process, or it ends too early, the captured trace is written here.
    """
    broken = tmp_path / "python3"
    ends = "exec sleep 600" if fault == "killed" else "echo half\nexit 3"
    broken.write_text(f"#!/bin/sh\n{ends}\n")
    broken.chmod(0o755)
    killed: list[int] = []
    caplog.set_level(logging.DEBUG, "fgtrace")

    def kill() -> None:
        if starts and not killed:
            killed.append(starts[0])
            os.kill(starts[0], signal.SIGKILL)

    with captured_crowd(max_overhead=1.0) as captured:  # without a pause
        if fault == "frozen":
            monkeypatch.setattr(sys, "frozen", True, raising=False)
        elif fault == "odd":  # what no code of a compiler has
            entry = captured.recording.codes[0]
            assert entry.code is not None
            odd = entry.code.replace(co_consts=(object(), *entry.code.co_consts[1:]))
            captured.recording.codes[0] = entry._replace(code=odd)
        else:
            places = {"other": "/bin/sh", "absent": str(tmp_path / "python")}
            monkeypatch.setattr(sys, "executable", places.get(fault, str(broken)))
        found = written(captured, check=kill if fault == "killed" else lambda: None)
        assert found == b"".join(captured.chunks())
    assert ("failed, and is done here" in caplog.text) == (fault in ("broken", "killed"))
    assert not any(is_there(pid) for pid in starts)


@pytest.mark.parametrize("kind", sorted(MOUNTS))
def test_http(kind: str, starts: list[int]) -> None:
    """
    What a client gets was written by a writer process, with each mount; packed if the client accepts that.
    """
    with live(kind) as service:
        told = service.get("/debug/fgtrace?seconds=0.2").json()
        assert told["metadata"]["fgtrace"]["complete"]
        assert any(event.get("cat") == "state" for event in told["traceEvents"])
        profile = service.get("/debug/fgprof?seconds=0.2&format=folded")
        assert profile.headers["content-encoding"] == "gzip"
        assert all(line.rpartition(" ")[2].isdecimal() for line in profile.text.splitlines())
    assert len(starts) == 2
    assert not any(is_there(pid) for pid in starts)


@pytest.mark.parametrize("kind", sorted(MOUNTS))
def test_client_leaves(kind: str, starts: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    When the client goes away, the process that writes its trace ends, however long it would have worked.
    """
    endless = tmp_path / "python3"
    endless.write_text("#!/bin/sh\nexec sleep 600\n")
    endless.chmod(0o755)
    with live(kind) as service:
        monkeypatch.setattr(sys, "executable", str(endless))
        with socket.create_connection(("127.0.0.1", service.port), timeout=SECONDS) as client:
            client.sendall(b"GET /debug/fgtrace?seconds=0.1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            until(lambda: bool(starts))
        if kind == "flask":  # WSGI does not tell that a client has gone
            os.kill(starts[0], signal.SIGKILL)
        until(lambda: not is_there(starts[0]))


def test_debug_hook(starts: list[int], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    So is a dump of the debug hook.
    """
    hook = fgtrace.install(tmp_path, signal=None, blocked=False)
    try:
        asyncio.run(crowd())
        hook.trigger("asked", "somebody asked", "nobody")
        until(lambda: "somebody asked: nobody" in caplog.text)
    finally:
        fgtrace.uninstall()
    (path,) = tmp_path.iterdir()
    assert any("child" in each.frame.name for each in fgtrace.load(path))
    assert len(starts) == 1
