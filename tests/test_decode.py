"""
A file back into slices: what was written is read, and what is no trace is one clear error.
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fgtrace
from drawn import CHILD, MAIN, TASK, Drawn, crossing, nested
from fgtrace._formats.read import open_trace, perfetto, trace_event
from fgtrace._formats.read.trace_file import TraceFile
from fgtrace._formats.write import Encoder, encoder_of
from fgtrace._model.values import Flow, Frame, Instant, Slice
from fgtrace._timeline.timeline import Timeline
from scripted import Script

pytestmark = pytest.mark.pure

READERS: dict[str, Callable[[Iterable[bytes]], TraceFile]] = {
    "json": trace_event.read,
    "perfetto": perfetto.read,
}


@pytest.mark.parametrize("name", READERS)
@given(slices=nested())
def test_decode_of_encode(name: str, slices: list[Slice]) -> None:
    """
    What was written is read back: tracks, times, depths and frames.
    """
    data = b"".join(encoder_of(name)(Drawn(slices), {}))
    assert list(READERS[name]([data]).slices()) == sorted(slices, key=lambda each: each.track.id)


def whole_file() -> Drawn:
    slices = [
        Slice(MAIN, 0, 1000, 0, Frame("m.main", "python", "a.py", 3)),
        Slice(TASK, 5, 1000, 0, Frame("lock wait", "state", "a.py", 4, (("on", "asyncio.Lock"),))),
        Slice(CHILD, 400, 900, 0, Frame("m.f")),
    ]
    flows = [Flow("create_task", TASK, 400, CHILD, 400), Flow("wakes", CHILD, 500, TASK, 600)]
    flags = [Instant("loop blocked", TASK, 350, (("duration (ms)", 1.5), ("stack", "a > b")))]
    return Drawn(slices, flows, flags)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("name", READERS)
def test_all_is_read(name: str, packed: bool, tmp_path: Path) -> None:
    """
    Arrows, counters, flags and metadata are read back, too, packed or not.
    """
    drawn, metadata = whole_file(), {"fgtrace": {"complete": True, "hz": 99.5}}
    data = b"".join(encoder_of(name)(drawn, metadata))
    path = tmp_path / "trace"
    path.write_bytes(gzip.compress(data) if packed else data)
    found = open_trace(path)
    assert list(found.slices()) == fgtrace.load(path) == list(drawn.slices())
    assert list(found.begins_and_ends()) == list(drawn.begins_and_ends())
    assert list(found.flows()) == list(drawn.flows())
    assert list(found.counters()) == list(drawn.counters())
    assert list(found.instants()) == list(drawn.instants())
    assert found.metadata == metadata
    assert found.tracks == drawn.tracks
    path.unlink()


@pytest.mark.parametrize("name", READERS)
def test_arrows_between_processes(name: str) -> None:
    """
    Arrows to and fro between two loops are read back with the tracks and times at both their ends.
    """
    slices, flows = crossing()
    found = READERS[name]([b"".join(encoder_of(name)(Drawn(slices, flows), {}))])
    assert list(found.flows()) == flows


def test_same_from_both(tmp_path: Path) -> None:
    """
    A long recording reads the same from both formats.
    """
    script, dice = Script(), random.Random(3)
    for time in range(10_000):
        script.at(time, "a", "ab" + "".join(dice.choices("cde", k=dice.randrange(4))))
        script.at(time, "t", dice.choice(["f", "fg", "fgh"]), "task")
    found = []
    for name, reader in READERS.items():
        timeline = Timeline(script.recording, fgtrace.Config(), 10_000, 1)
        found.append(set(reader(encoder_of(name)(timeline, {})).slices()))
    assert found[0] == found[1]


def test_foreign_tracks() -> None:
    """
    A file without names has a track for each pid and tid, as long as its slices.
    """
    events = [{"ph": "X", "pid": 1, "tid": tid, "ts": 1, "dur": 2, "name": "f"} for tid in (5, 6, 5)]
    found = trace_event.read([orjson.dumps(events)])
    lives = [(track.tid, track.start, track.end) for track in found.tracks]
    assert lives == [(5, 1000, 3000), (6, 1000, 3000)]
    assert [(each.track.tid, each.depth) for each in found.slices()] == [(5, 0), (5, 1), (6, 0)]


def written(name: str) -> bytes:
    encode: Encoder = encoder_of(name)
    return b"".join(encode(whole_file(), {"fgtrace": {"complete": True}}))


def refused(path: Path, data: bytes) -> fgtrace.TraceFormatError | None:
    """
    The error of reading these bytes; None: they were read.
    """
    path.write_bytes(data)
    try:
        fgtrace.load(path)
    except fgtrace.TraceFormatError as error:
        return error
    finally:
        path.unlink()
    return None


@pytest.mark.parametrize("name", READERS)
def test_truncated(name: str, tmp_path: Path) -> None:
    """
    A file that was cut, wherever, is an error, and never less than all slices.
    """
    data = written(name).rstrip()
    for length in range(len(data)):
        assert refused(tmp_path / "t", data[:length]) is not None, length


@pytest.mark.parametrize("name", READERS)
def test_flipped_bits(name: str, tmp_path: Path) -> None:
    """
    Bits that are wrong give another trace or one clear error.
    """
    data, dice = written(name), random.Random(5)
    for _ in range(3000):
        broken = bytearray(data)
        for _ in range(dice.choice([1, 1, 3, 20])):
            broken[dice.randrange(len(broken))] ^= 1 << dice.randrange(8)
        refused(tmp_path / "t", bytes(broken))


@given(st.binary(max_size=200))
def test_any_bytes(tail: bytes) -> None:
    """
    Whatever follows a good start is read or refused.
    """
    for start in (b"", b"\x0a", written("perfetto")[:-8]):
        try:
            perfetto.read([start + tail])
        except ValueError:
            continue


WRONG: dict[str, tuple[Any, str]] = {
    "empty": (b"", "empty document"),
    "text": (b"hello", "unexpected character"),
    "number": (b"7", "no list of traceEvents"),
    "deep": (b"[" * 100_000, "recursion limit|depth"),
    "huge-time": ([{"ph": "X", "ts": 1e300}], "out of range"),
    "text-time": ([{"ph": "X", "ts": "5"}], "not a number"),
    "negative": ([{"ph": "X", "ts": 1, "dur": -1}], "below 0"),
    "args": ([{"ph": "X", "args": [1]}], "not an object"),
    "pid": ([{"ph": "X", "pid": "x"}], "whole number was expected"),
    "life": ([{"ph": "M", "name": "thread_name", "args": {"life": 7}}], "start and end"),
    "event": ([1], "an event is 1, not an object at byte 1"),
    "foreign": (bytes.fromhex("0a0450015001"), "fgtrace did not write it"),
    "varint": (b"\x0a" + b"\xff" * 20, "does not end"),
    "under-way": ({"traceEvents": [], "metadata": {"fgtrace": {"complete": False}}}, "still under way"),
    "broken-gzip": (b"\x1f\x8b\x08" + b"x" * 30, "gzip"),
}


@pytest.mark.parametrize(("value", "message"), WRONG.values(), ids=WRONG)
def test_wrong_file(value: Any, message: str, tmp_path: Path) -> None:
    """
    What is no trace is an error that says what was wrong.
    """
    error = refused(tmp_path / "t", value if isinstance(value, bytes) else orjson.dumps(value))
    with pytest.raises(fgtrace.TraceFormatError, match=message):
        raise error or AssertionError("it was read")


def test_offset(tmp_path: Path) -> None:
    """
    The error tells the byte at which reading stopped.
    """
    data = written("perfetto")
    error = refused(tmp_path / "t", data[:-3])
    assert error is not None
    assert error.offset is not None
    assert data[error.offset] == 0x0A
    assert f"at byte {error.offset}" in str(error)
