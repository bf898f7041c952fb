"""
The flight recorder: what it keeps, what a dump shows, and that it goes on meanwhile.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fgtrace
from fgtrace._flight import running
from reading import Trace


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """
    Wait for something that is certain to come.
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
    [track] = [track for track in trace.tasks if track.name.startswith("culprit")]
    spans = trace.of(track)
    assert any(span.end == trace.end and span.name == "running" for span in spans)
    assert any("block" in span.name for span in spans)
