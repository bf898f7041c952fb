"""
speedscope, collapsed stacks and pprof: the same times as the slices', in each format.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import tracemalloc
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

import fgtrace
from drawn import LOOP, SLICES, Drawn, nested
from evented import Stack, profiles
from fgtrace._formats import rows_by_track as _by_track
from fgtrace._formats.read.wire import Message
from fgtrace._formats.write import encoder_of
from fgtrace._model.drawing import Drawing
from fgtrace._model.values import Frame, Slice, Track
from fgtrace._timeline.timeline import Timeline
from scripted import Script

pytestmark = pytest.mark.pure


def written(name: str, drawing: Drawing, metadata: Mapping[str, Any] | None = None) -> bytes:
    return b"".join(encoder_of(name)(drawing, metadata or {}))


def folded(data: bytes) -> dict[str, int]:
    lines = [line.rpartition(" ") for line in data.decode().splitlines()]
    return {stack: int(time) for stack, _, time in lines}


def test_folded() -> None:
    """
    A line for each stack, with its own time in nanoseconds.
    """
    assert folded(written("folded", Drawn(SLICES))) == {
        "thread main;running;m.main": 600,
        "thread main;running;m.main;m.f": 400,
        "task f;lock wait": 30,
    }


def test_folded_names() -> None:
    """
    A name has no character that the format uses itself, and a task's own name stays.
    """
    task = Track(kind="task", id=3, name="re;fresh\ud800 m.f", tid=3, **LOOP)  # type: ignore[arg-type]
    data = written("folded", Drawn([Slice(task, 0, 5, 0, Frame("a;b\nc 7"))]))
    assert folded(data) == {"task re:fresh  m.f;a:b c 7": 5}


@pytest.mark.parametrize(("name", "shown"), [("Task-12 m.f", "m.f"), ("Sub-Task-12 m.f", "Sub-Task-12 m.f")])
def test_folded_task_names(name: str, shown: str) -> None:
    """
    Tasks that asyncio named are added up by their coroutine; a name that only contains asyncio's stays.
    """
    task = Track(kind="task", id=3, name=name, tid=3, **LOOP)  # type: ignore[arg-type]
    data = written("folded", Drawn([Slice(task, 0, 5, 0, Frame("f"))]))
    assert folded(data) == {f"task {shown};f": 5}


def test_gaps_do_not_count() -> None:
    """
    The tracer's own track is nobody's time.
    """
    gaps = Track(kind="tracer", id=9, name="fgtrace: gaps", tid=1, pid=7, end=100)
    drawn = Drawn([Slice(gaps, 0, 50, 0, Frame("late ticks", "gap"))], tracks=[gaps])
    assert written("folded", drawn) == b""
    assert list(samples(written("pprof", drawn))) == []


def samples(data: bytes) -> Counter[tuple[Stack, tuple[tuple[str, str], ...]]]:
    """
    The samples of a pprof profile: stacks from the outermost on, and labels -> nanoseconds.
    """
    profile = Message(data, 0, len(data))
    strings = [data[start:end].decode() for _, start, end in profile.fields[6]]
    assert strings[0] == ""
    functions = {each.number(1): strings[each.number(2)] for each in profile.messages(5)}
    places = {}
    for each in profile.messages(4):
        line = each.message(4)
        assert line is not None
        places[each.number(1)] = f"{functions[line.number(1)]}:{line.number(2)}"
    found: Counter[tuple[Stack, tuple[tuple[str, str], ...]]] = Counter()
    for sample in profile.messages(2):
        stack = tuple(places[number] for number in reversed(numbers(sample.bytes(1))))
        labels = tuple((strings[each.number(1)], strings[each.number(2)]) for each in sample.messages(3))
        found[stack, labels] += numbers(sample.bytes(2))[0]
    return found


def numbers(data: bytes) -> list[int]:
    found, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            found.append(value)
            value = shift = 0
    return found


def test_pprof() -> None:
    """
    Wall-clock time by stack, with the track and its state as labels.
    """
    metadata = {"fgtrace": {"started": "2026-01-02T03:04:05Z", "config": {"hz": 100}}}
    data = written("pprof", Drawn(SLICES), metadata)
    main = (("thread", "main"), ("state", "running"))
    assert samples(data) == {
        (("m.main:3",), main): 600,
        (("m.main:3", "m.f:7"), main): 300,
        (("m.main:3", "m.f:8"), main): 100,
        (("lock wait:0",), (("task", "Task-1 f"), ("state", "lock wait"))): 30,
    }
    profile = Message(data, 0, len(data))
    assert profile.number(9) == 1_767_323_045 * 10**9
    assert profile.number(10) == 10**12
    assert profile.number(12) == 10**7


def test_speedscope() -> None:
    """
    A profile for each track, its events by time and well nested.
    """
    data = written("speedscope", Drawn(SLICES))
    assert profiles(data) == {
        "main": {("running", "m.main"): 600, ("running", "m.main", "m.f"): 400},
        "Task-1 f [asyncio loop 1]": {("lock wait",): 30},
    }
    document = json.loads(data)
    assert document["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    assert {"name": "m.f", "file": "a.py", "line": 8} in document["shared"]["frames"]
    assert {(each["type"], each["unit"]) for each in document["profiles"]} == {("evented", "nanoseconds")}


def own_times(slices: list[Slice]) -> Counter[int]:
    """
    Track id -> time in any slice.
    """
    found: Counter[int] = Counter()
    for each in slices:
        if each.depth == 0:
            found[each.track.id] += each.end - each.start
    return found


@given(slices=nested())
def test_times_add_up(slices: list[Slice]) -> None:
    """
    Whatever the slices, every nanosecond of a track is in one stack, in each format.
    """
    total = sum(own_times(slices).values())
    assert sum(folded(written("folded", Drawn(slices))).values()) == total
    assert sum(samples(written("pprof", Drawn(slices))).values()) == total
    found = profiles(written("speedscope", Drawn(slices)))
    assert sum(sum(times.values()) for times in found.values()) == total


def long_recording() -> Script:
    script, dice = Script(), random.Random(11)
    for time in range(20_000):
        name = f"t{time % 7}"
        script.at(time, name, "ab" + "".join(dice.choices("cde", k=dice.randrange(4))))
    return script


def test_more_than_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What waits in a temporary file comes back in its place.
    """
    script = long_recording()

    def data() -> bytes:
        return written("speedscope", Timeline(script.recording, fgtrace.Config(), 20_000, 1))

    whole = data()
    monkeypatch.setattr(_by_track, "MOST_WAITING", 3000)
    assert data() == whole
    assert len(profiles(whole)) == 7


def test_abandoned_halfway() -> None:
    """
    An encoder that is not read to its end gives its file back.
    """
    pieces = encoder_of("speedscope")(Drawn(SLICES), {})
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]


@pytest.mark.once
@pytest.mark.parametrize("name", ["speedscope", "folded", "pprof"])
def test_memory_is_bounded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A recording that is four times as long takes no more memory.
    """
    monkeypatch.setattr(_by_track, "MOST_WAITING", 10_000)
    peaks = []
    for length in (20_000, 80_000):
        script = Script()
        for time in range(length):
            script.at(time, f"t{time % 20}", "abc" + "defgh"[time % 5] + "ijk"[time % 3])
        timeline = Timeline(script.recording, fgtrace.Config(), length, 1)
        tracemalloc.start()
        for _ in encoder_of(name)(timeline, {}):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0] + 100_000


async def _work() -> None:
    await asyncio.gather(*(asyncio.sleep(0.05) for _ in range(3)))


READ: dict[str, Callable[[bytes], Any]] = {
    "t.speedscope.json": profiles,
    "t.folded": folded,
    "t.pb.gz": lambda data: samples(gzip.decompress(data)),
}


@pytest.mark.parametrize("name", READ)
def test_traced_program(name: str, tmp_path: Path) -> None:
    """
    The suffix chooses the format, and the program's sleep is in it.
    """
    with fgtrace.trace(tmp_path / name, hz=500, max_overhead=1.0):
        asyncio.run(_work())
    assert "sleep" in str(READ[name]((tmp_path / name).read_bytes()))


@pytest.mark.parametrize("name", READ)
def test_nothing_seen(name: str, tmp_path: Path) -> None:
    """
    A trace in which nothing was seen is a valid file.
    """
    with fgtrace.trace(tmp_path / name, hz=0.1, threads=False):
        pass
    assert not READ[name]((tmp_path / name).read_bytes())
