"""
The flight recorder: what it keeps, what a dump shows, and that it goes on meanwhile.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fgtrace
from fgtrace._recording.ring import Ring
from fgtrace._session.flight_recorder import running_recorder
from forking import fork
from reading import Trace


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """
    Wait until a condition holds that is certain to come.
    """
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.01)


async def short(number: int) -> None:
    await asyncio.sleep(0.001 * (number % 7))


@pytest.mark.parametrize("awaits", ["sampled", "exact"])
def test_dump_shows_what_is_under_way(
    core: str, awaits: str, tmp_path: Path, read_trace: Callable[..., Trace]
) -> None:
    """
    A dump from another thread, while the loop is blocked, ends with what blocks it; then all goes on.
    """
    path = tmp_path / "t.json"

    async def main() -> None:
        with fgtrace.FlightRecorder(20, awaits=awaits) as recorder:
            asleep = asyncio.create_task(asyncio.sleep(600), name="asleep")
            await asyncio.sleep(0)
            asyncio.create_task(block(recorder), name="culprit").add_done_callback(lambda _: asleep.cancel())
            await asyncio.wait([asleep])

    async def block(recorder: fgtrace.FlightRecorder) -> None:
        dumper = threading.Thread(target=recorder.dump, args=(path,))
        taken = recorder.stats.sampling.ticks_taken
        wait_until(lambda: recorder.stats.sampling.ticks_taken > taken + 10, "ticks")
        dumper.start()
        dumper.join()

    asyncio.run(main())
    trace = read_trace(path)
    culprit = trace.track("culprit*")
    last = [row for row in culprit if row.end == culprit[-1].end]
    assert last[0].name == "running"
    assert any("block" in row.name for row in last)
    assert last[0].end == max(row.end for rows in trace.all() for row in rows)
    flight = trace.metadata["flight"]
    assert flight["reason"] == ""
    assert trace.metadata["complete"] is True


def test_dump_of_less(core: str, tmp_path: Path, read_trace: Callable[..., Trace]) -> None:
    """
    A dump has the last seconds only, as many as asked for, and may be written to a file object.
    """
    with fgtrace.FlightRecorder(20) as recorder:
        wait_until(lambda: recorder.stats.sampling.ticks_taken > 40, "ticks")
        seconds = recorder.dump(tmp_path / "t.json", seconds=0.125)
        took = io.BytesIO()
        longer = recorder.dump(took, reason="for a test")
    assert seconds == 0.125
    assert longer > 0.125
    trace = read_trace()
    assert max(row.end for rows in trace.all() for row in rows) == 125_000_000
    assert trace.track("MainThread")[0].ts == 0
    assert json.loads(took.getvalue())["metadata"]["fgtrace"]["flight"]["reason"] == "for a test"


def test_running() -> None:
    """
    `running` returns the recorder that was started last of those that run.
    """
    assert running_recorder() is None
    with fgtrace.FlightRecorder() as first:
        assert running_recorder() is first
        with fgtrace.FlightRecorder() as second:
            assert running_recorder() is second
        assert running_recorder() is first
        assert repr(first) == "<fgtrace.FlightRecorder running seconds=30>"
    assert running_recorder() is None
    assert "stopped" in repr(first)


def test_wrong_order(tmp_path: Path) -> None:
    """
    A recorder is started once, and dumps only while it runs.
    """
    recorder = fgtrace.FlightRecorder()
    for call in (recorder.stop, lambda: recorder.dump(tmp_path / "t.json")):
        with pytest.raises(fgtrace.TraceStateError, match="not running"):
            call()
    recorder.start().stop()
    with pytest.raises(fgtrace.TraceStateError, match="started before"):
        recorder.start()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"seconds": 0}, "bad seconds: 0: allowed is a number above 0"),
        ({"seconds": "x"}, "bad seconds: 'x'"),
        ({"dst": "t.json"}, "bad dst: 't.json': allowed is no value here"),
        ({"hz": -1}, "bad hz: -1"),
        ({"max_memory": 5}, "bad max_memory: 5"),
    ],
    ids=["seconds", "no-number", "dst", "hz", "memory"],
)
def test_bad_options(options: dict[str, Any], text: str) -> None:
    """
    A value that is not allowed is named, with what is.
    """
    with pytest.raises(fgtrace.ConfigError, match=text):
        fgtrace.FlightRecorder(**options)


def test_bad_dump(tmp_path: Path) -> None:
    """
    A dump that cannot be written says why, leaves nothing, and the recorder goes on.
    """
    with fgtrace.FlightRecorder() as recorder:
        with pytest.raises(fgtrace.ConfigError, match="bad seconds: -1"):
            recorder.dump(tmp_path / "t.json", seconds=-1)
        with pytest.raises(fgtrace.ConfigError, match="bad dst"):
            recorder.dump(tmp_path / "t.txt")
        with pytest.raises(fgtrace.SinkError, match=r"no/t\.json"):
            recorder.dump(tmp_path / "no" / "t.json")
        assert recorder.is_running
    assert not list(tmp_path.iterdir())


def test_dumps_at_once(core: str, tmp_path: Path) -> None:
    """
    Several threads may dump while tasks come and go; each file is whole.
    """

    async def main(recorder: fgtrace.FlightRecorder) -> None:
        dumps = [asyncio.to_thread(recorder.dump, tmp_path / f"{number}.json") for number in range(6)]
        waiting = asyncio.gather(*dumps)
        while not waiting.done():
            await asyncio.gather(*(short(number) for number in range(50)))
        await waiting

    with fgtrace.FlightRecorder(5) as recorder:
        asyncio.run(main(recorder))
        assert recorder.stats.dumps == 6
    assert len(list(tmp_path.glob("*.json"))) == 6


def test_fork(core: str) -> None:
    """
    A fork of the program does not warn, the child has no recorder, the parent's goes on.
    """
    with fgtrace.FlightRecorder() as recorder:
        child = fork()
        if child == 0:
            os._exit(0 if running_recorder() is None and not recorder.is_running else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        taken = recorder.stats.sampling.ticks_taken
        wait_until(lambda: recorder.stats.sampling.ticks_taken > taken, "ticks")
        assert running_recorder() is recorder


def test_failure(core: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """
    A recorder that cannot go on ends by itself, says why, and the program does not notice.
    """

    def fail(*_: object) -> None:
        raise MemoryError("none left")

    with fgtrace.FlightRecorder(1) as recorder:
        monkeypatch.setattr(Ring, "roll", fail)
        wait_until(lambda: not recorder.is_running, "the end")
        assert recorder.stats.sampling.failed == {"recorder": "MemoryError: none left"}
        assert running_recorder() is None
        with pytest.raises(fgtrace.TraceStateError, match="not running"):
            recorder.dump(tmp_path / "t.json")


def test_ends_with_the_process(core: str, tmp_path: Path) -> None:
    """
    A program that never stops its recorder ends as it would without.
    """
    program = "import fgtrace; fgtrace.FlightRecorder().start(); print('done')"
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "PYTHONPATH": str(Path(fgtrace.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (found.returncode, found.stdout, found.stderr) == (0, "done\n", "")
