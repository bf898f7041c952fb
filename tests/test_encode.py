"""
Trace Event Format: what is written, and what Perfetto makes of it.
"""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fgtrace
from arrows import as_ends, assert_bound, ends, matched
from drawn import LOOP, MAIN, TASK, Drawn, crossing
from fgtrace._formats.write.trace_event import encode
from fgtrace._model.values import Flow, Frame, FrameName, Slice, ThreadSample, Track
from fgtrace._recording.recording import OFFSET_BITS, Recording, TrackEntry
from fgtrace._timeline.timeline import Timeline
from reading import Trace, read
from trace_processor import assert_valid_trace
from trace_processor.fixtures import AskTrace

pytestmark = pytest.mark.pure


def written(timeline: Drawn | Timeline, metadata: dict[str, Any] | None = None) -> bytes:
    return b"".join(encode(timeline, metadata or {}))


NAMES = {
    "plain": "module.function",
    "umlaut": "größe.λ",
    "emoji": "😀.run",
    "quote": 'a "quoted" name',
    "backslash": "C:\\temp",
    "markup": "<listcomp> & <lambda>",
    "long": "x" * 5000,
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_names_arrive(name: str, ask_trace: AskTrace) -> None:
    """
    Any name arrives in Perfetto as it is, of a slice and of a track.
    """
    track = Track(kind="thread", id=0, name=name, tid=7, pid=7, end=100)
    tp = ask_trace(written(Drawn([Slice(track, 10, 90, 0, Frame(name))])))
    assert tp.errors() == []
    # trace_processor decodes escapes only in a name that has a quote
    shown = name if '"' in name else name.replace("\\", "\\\\")
    assert tp.rows("select name from slice") == [{"name": shown}]
    assert {"name": shown} in tp.rows("select name from thread")


@pytest.mark.parametrize("name", ["a\nb", "a\tb", "a\x00b", "a\ud800b", "\u202eb"], ids=ascii)
def test_odd_characters(name: str, ask_trace: AskTrace) -> None:
    """
    Control characters become spaces, and lone surrogates question marks: the trace stays whole.
    """
    track = Track(kind="thread", id=0, name=name, tid=7, pid=7, end=100)
    frame = Frame(name, args=(("on", name),))
    tp = ask_trace(written(Drawn([Slice(track, 10, 90, 0, frame)]), {"argv": [name]}))
    assert tp.errors() == []
    (row,) = tp.rows("select name from slice")
    assert row["name"] in {"a b", "a?b", " b"}


def test_nanoseconds_arrive(ask_trace: AskTrace) -> None:
    """
    Times are exact to the nanosecond, also after days.
    """
    times = [1, 999, 1_000_001, 123_456_789_123, 86_400_000_000_001]
    slices = [Slice(MAIN, start, start + 1, 0, Frame("a")) for start in times]
    tp = ask_trace(written(Drawn(slices)))
    assert [(row["ts"], row["dur"]) for row in tp.rows("select ts, dur from slice order by ts")] == [
        (start, 1) for start in times
    ]


def test_equal_slices_nest_in_order(ask_trace: AskTrace) -> None:
    """
    Of slices with one start and one end the first is the parent.
    """
    slices = [Slice(MAIN, 0, 50, depth, Frame(name)) for depth, name in enumerate("abcd")]
    tp = ask_trace(written(Drawn(slices)))
    assert [row["name"] for row in tp.rows("select name from slice order by depth")] == list("abcd")


def test_flow_and_counter(ask_trace: AskTrace) -> None:
    """
    An arrow binds to the slices at its ends, and the counter stands on the loop's process.
    """
    child = Track(kind="task", id=2, name="child", tid=2, **LOOP)  # type: ignore[arg-type]
    slices = [Slice(TASK, 0, 100, 0, Frame("parent")), Slice(child, 40, 90, 0, Frame("child"))]
    tp = ask_trace(written(Drawn(slices, [Flow("create_task", TASK, 40, child, 40)])))
    assert tp.errors() == []
    ends = "flow join slice a on a.id = slice_out join slice b on b.id = slice_in"
    sql = f"select a.name as a, b.name as b from {ends}"  # noqa: S608 - no one's input
    assert tp.rows(sql) == [{"a": "parent", "b": "child"}]
    assert [row["value"] for row in tp.rows("select value from counter")] == [3]


def test_arrows_between_processes(ask_trace: AskTrace) -> None:
    """
    Each arrow to and fro between two loops is bound to the slices of its own tracks, at its own times.
    """
    slices, flows = crossing()
    data = written(Drawn(slices, flows))
    arrows = ends(json.loads(data)["traceEvents"])
    assert arrows == as_ends(flows)
    tp = ask_trace(data)
    assert_valid_trace(tp)
    assert_bound(arrows, tp)


def test_empty_trace_is_valid(tmp_path: Path, read_trace: Callable[..., Trace]) -> None:
    """
    A trace in which nothing was seen is a valid file.
    """
    with fgtrace.trace(tmp_path / "t.json", hz=0.1, threads=False):
        pass
    assert read_trace().events("X") == []


@pytest.mark.once
def test_memory_is_bounded_by_a_piece() -> None:
    """
    Encoding a large recording takes memory for a chunk, not for the trace.
    """
    recording = Recording()
    sample = recording.intern_thread_sample(ThreadSample("busy"))
    codes = [
        recording.intern_name(FrameName("m", f"f{number}"), "m.py") << OFFSET_BITS for number in range(50)
    ]
    tracks = [
        recording.add_track(TrackEntry("thread", f"t{number}", 0, tid=number + 1)) for number in range(20)
    ]
    for number in range(60_000):
        stack = recording.intern_stack([codes[number % 37], codes[number % 3], codes[0]])
        recording.observe(number, tracks[number % 20], stack, sample)
    timeline = Timeline(recording, fgtrace.Config(), 60_000, 1)
    tracemalloc.start()
    size = sum(len(piece) for piece in encode(timeline, {}))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 10_000_000
    assert peak < size / 3


def test_loops_in_turn(tmp_path: Path, ask_trace: AskTrace) -> None:
    """
    A trace of a program that makes loops one after the other has them all.
    """
    with fgtrace.trace(tmp_path / "t.json", hz=500, max_overhead=1.0):
        for _ in range(3):
            asyncio.run(asyncio.sleep(0.02))
    trace = read(ask_trace, tmp_path / "t.json")
    loops = {event["args"]["name"] for event in trace.events("M") if event["name"] == "process_name"}
    assert {name for name in loops if name.startswith("asyncio")} == {
        f"asyncio loop {number} (MainThread)" for number in (1, 2, 3)
    }
    assert json.loads((tmp_path / "t.json").read_bytes())["displayTimeUnit"] == "ns"


@pytest.mark.parametrize(
    ("fits", "found"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param([[0, 1], [0]], None, id="the-first-gives-way"),
        pytest.param([[0, 1], [1, 2], [0], [2, 3]], None, id="a-chain"),
        pytest.param([[0], [0]], 1, id="one-pair-for-two"),
        pytest.param([[1], []], 1, id="none"),
        pytest.param([[0, 1], [0, 1], [1, 0]], 2, id="two-for-three"),
    ],
)
def test_arrows_are_matched(fits: list[list[int]], found: int | None) -> None:
    """
    Each arrow needs a pair of slices of its own, whichever pairs the others could have.
    """
    assert matched(fits) == found
