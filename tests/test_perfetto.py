"""
Perfetto's protobuf: the same recording gives the same trace as JSON does, in the real trace_processor.
"""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import fgtrace
from arrows import bound
from drawn import LOOP, MAIN, TASK, Drawn, crossing
from fgtrace._formats import perfetto_fields as _perfetto
from fgtrace._formats.write.perfetto import encode
from fgtrace._formats.write.trace_event import encode as as_json
from fgtrace._model.drawing import Drawing
from fgtrace._model.values import Flow, Frame, Instant, Slice, Track
from fgtrace._timeline.slice_builder import LONGEST_QUEUE
from fgtrace._timeline.timeline import Timeline
from scripted import Script
from trace_processor import TraceProcessor, assert_valid_trace
from trace_processor.fixtures import AskTrace

pytestmark = pytest.mark.pure

#: A track's name and its process or loop: of a thread of either format, or a track of its own.
_WITH_TRACK = """
    coalesce(thread.name, track.name) as track from {table} each
    join track on track.id = each.track_id
    left join thread_track on thread_track.id = each.track_id
    left join thread using (utid)
"""
_SLICES = "select each.name, ts, dur, depth, category, each.arg_set_id as args," + _WITH_TRACK.format(
    table="slice"
)
_ARGS = "select arg_set_id, flat_key, display_value from args where value_type != 'json'"
_FLOWS = """
    select flow.arg_set_id as args, a.name as source, b.name as target,
        a.ts as a_ts, b.ts as b_ts, a.dur as a_dur, b.dur as b_dur
    from flow join slice a on a.id = slice_out join slice b on b.id = slice_in
"""
#: Perfetto's names of what the two formats say: where JSON has ``args.file``, protobuf has a field.
_SAME = {
    "source.file_name": "file",
    "source.line_number": "line",
    "source.function_name": "",
    "source_location_iid": "",
}


def written(drawing: Drawing, metadata: Mapping[str, Any] | None = None) -> bytes:
    return b"".join(encode(drawing, metadata or {}))


def facts(tp: TraceProcessor) -> dict[str, Counter[Any]]:
    """
    All that two formats must agree on.
    """
    args: dict[int, set[tuple[str, str]]] = {}
    for row in tp.rows(_ARGS):
        key = row["flat_key"].removeprefix("args.").removeprefix("debug.")
        key = _SAME.get(key, key)
        if key:
            args.setdefault(row["arg_set_id"], set()).add((key, row["display_value"]))

    def of(row: dict[str, Any]) -> frozenset[tuple[str, str]]:
        return frozenset(args.get(row.pop("args"), ()))

    found = {
        "slices": [(of(row), *_bare(row)) for row in tp.rows(_SLICES)],
        "flows": [(of(row), *_bare(row)) for row in tp.rows(_FLOWS)],
        "counters": [
            (row["ts"], row["value"], row["name"].removesuffix(" tasks"))
            for row in tp.rows(
                "select ts, value, name from counter join counter_track t on t.id = counter.track_id"
            )
        ],
    }
    return {name: Counter(rows) for name, rows in found.items()}


def _bare(row: dict[str, Any]) -> list[Any]:
    values = dict(row, track=str(row.get("track", "")).replace("└ ", ""))
    return sorted(values.items())


def same(make: Callable[[], Drawing]) -> bytes:
    """
    The protobuf of a drawing, which is the same trace as its JSON.
    """
    data = written(make())
    with TraceProcessor(b"".join(as_json(make(), {}))) as theirs, TraceProcessor(data) as ours:
        assert theirs.errors() == []
        assert_valid_trace(ours, empty=True)
        wanted, found = facts(theirs), facts(ours)
    for kind, rows in wanted.items():
        assert found[kind] == rows, kind
    return data


def test_all_kinds() -> None:
    """
    Slices with arguments and places, arrows, flags and counters are the same as in JSON.
    """
    child = Track(kind="task", id=2, name="child", tid=2, parent=1, level=2, **LOOP)  # type: ignore[arg-type]
    state = Frame("lock wait", "state", "größe.py", 70_000, (("on", "asyncio.Lock"), ("n", -5)))
    slices = [
        Slice(MAIN, 0, 1000, 0, Frame("m.main", "python", "a.py", 3)),
        Slice(MAIN, 0, 1000, 1, Frame("time.sleep", "native")),
        Slice(TASK, 5, 1000, 0, state),
        Slice(TASK, 5, 300, 1, Frame("m.first", "python", "a.py", 3)),
        Slice(TASK, 300, 1000, 1, Frame("m.second", "python", "a.py", 3)),
        Slice(child, 400, 900, 0, state),
    ]
    flows = [Flow("create_task", TASK, 400, child, 400), Flow("wakes", child, 500, TASK, 600)]
    args = (("duration (ms)", 1.5), ("stack", "a > b"), ("n", 2**40))
    flags = [Instant("loop blocked", TASK, 350, args)]
    same(lambda: Drawn(slices, flows, flags))


def test_arrows_between_processes(ask_trace: AskTrace) -> None:
    """
    Each arrow to and fro between two loops is bound to the slices of its own tracks, at its own times.
    """
    slices, flows = crossing()
    data = same(lambda: Drawn(slices, flows))
    found = [(a.track, a.start, b.track, b.start) for a, b in bound(ask_trace(data))]
    wanted = [
        (
            flow.source.name,
            _start(slices, flow.source, flow.source_time),
            flow.target.name,
            _start(slices, flow.target, flow.target_time),
        )
        for flow in flows
    ]
    assert sorted(found) == sorted(wanted)


def _start(slices: list[Slice], track: Track, time: int) -> int:
    """
    When the slice of a track began that was there at a time.
    """
    (found,) = [each.start for each in slices if each.track == track and each.start <= time < each.end]
    return found


def recorded(**options: Any) -> Script:
    """
    A long recording: more slices than a line takes, while the outermost ones stay open.
    """
    script, dice = Script(), random.Random(7)
    for time in range(3 * LONGEST_QUEUE):
        script.at(time, "a", "ab" + "".join(dice.choices("cde", k=dice.randrange(4))))
        if time % 3 == 0:
            script.at(time, "t", dice.choice(["", "f", "fg", "fgh"]), "task")
    script.at(3 * LONGEST_QUEUE, "t", None, "task")
    return script


@pytest.mark.parametrize("state_frames", ["root", "leaf", "no"])
def test_long_recording(state_frames: Any) -> None:
    """
    Where slices are let out before the outer ones have ended, each stands at its depth.
    """
    script = recorded()
    config = fgtrace.Config(state_frames=state_frames)
    same(lambda: Timeline(script.recording, config, 4 * LONGEST_QUEUE, 1))


def test_exact_recording() -> None:
    """
    Steps, callbacks, wakers and the loop's own tracks are the same as in JSON.
    """
    script = Script()
    script.exact()
    for time in range(0, 30_000, 5):
        script.step("Task-1", time + 2, time + 4, "ab", ready=time + 1)
        if time % 3 == 0:
            script.step("Task-2", time + 4, time + 5, "ac", ready=time + 3, waker="Task-1")
    script.callback("f", 30_001, 30_003)
    script.step("Task-1", 31_000, 31_005, None, ready=30_500)
    same(lambda: Timeline(script.recording, fgtrace.Config(), 40_000, 1))


async def _family() -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(asyncio.sleep(0.05), name="twin")


@pytest.mark.parametrize("name", ["t.pftrace", "t.pftrace.gz"], ids=["plain", "packed"])
def test_traced_program(tmp_path: Path, name: str, ask_trace: AskTrace) -> None:
    """
    The suffix chooses the format; each task is a track under its parent's, also where names are equal.
    """
    with fgtrace.trace(tmp_path / name, hz=500, max_overhead=1.0):
        asyncio.run(_family())
    assert (tmp_path / name).read_bytes()[:1] == (b"\x1f" if name.endswith(".gz") else b"\x0a")
    tp = ask_trace(tmp_path / name)
    assert_valid_trace(tp)
    tree = "select t.name as task, p.name as parent, g.name as loop from track t"
    rows = tp.rows(f"{tree} join track p on p.id = t.parent_id join track g on g.id = p.parent_id")
    twins = [row for row in rows if row["task"].startswith("twin")]
    assert len(twins) == 3
    assert all(row["parent"].endswith(" _family") for row in twins)
    assert {row["loop"] for row in twins} == {"asyncio loop 1 (MainThread)"}
    assert tp.rows("select name from process where name like 'python %'")
    assert {"name": "MainThread"} in tp.rows("select name from thread")
    (said,) = tp.rows("select str_value from metadata where name = 'cr-fgtrace'")
    assert '"complete":true' in said["str_value"]


def test_tasks_without_threads(tmp_path: Path, ask_trace: AskTrace) -> None:
    """
    Without a thread's track the loops still stand under their process.
    """
    with fgtrace.trace(tmp_path / "t.pftrace", hz=500, threads=False, max_overhead=1.0):
        asyncio.run(_family())
    tp = ask_trace(tmp_path / "t.pftrace")
    assert_valid_trace(tp)
    assert tp.rows("select name from process where name like 'python %'")


def test_ids_beyond_32_bits(ask_trace: AskTrace) -> None:
    """
    Threads whose ids Perfetto would cut to the same one stay separate.
    """
    tracks = [
        Track(kind="thread", id=n, name=f"t{n}", tid=(n << 32) + 5, pid=(n << 33) + 7, end=100)
        for n in range(3)
    ]
    tp = ask_trace(written(Drawn([Slice(track, 1, 9, 0, Frame("f")) for track in tracks])))
    assert_valid_trace(tp)
    assert tp.rows("select count(distinct track_id) as n from slice") == [{"n": 3}]


@pytest.mark.parametrize("end", [1, 2**28, 2**35, 2**42, 2**49, 2**56 + 1], ids=lambda end: f"{end:.0e}")
def test_nanoseconds_arrive(end: int, ask_trace: AskTrace) -> None:
    """
    Times are exact to the nanosecond, from one to years.
    """
    track = Track(kind="thread", id=0, name="t", tid=7, pid=7, end=end)
    tp = ask_trace(written(Drawn([Slice(track, end // 3, end, 0, Frame("f"))])))
    assert tp.errors() == []
    assert tp.rows("select ts, dur from slice") == [{"ts": end // 3, "dur": end - end // 3}]


@pytest.mark.parametrize("count", [1, 120, 130, 17_000], ids=["one", "below-128", "above-128", "three-bytes"])
def test_many_tracks(count: int, ask_trace: AskTrace) -> None:
    """
    However many tracks there are, each has its own slices.
    """
    tracks = [Track(kind="thread", id=n, name=f"t{n}", tid=n + 1, pid=1, end=9) for n in range(count)]
    tp = ask_trace(written(Drawn([Slice(track, 1, 9, 0, Frame("f")) for track in tracks])))
    assert tp.errors() == []
    assert tp.rows("select count(distinct track_id) as n from slice") == [{"n": count}]


@pytest.mark.parametrize("name", ["a\nb", "a\ud800b", "größe.λ", 'a "b"', "x" * 5000, "C:\\t"], ids=ascii)
def test_names_arrive(name: str, ask_trace: AskTrace) -> None:
    """
    Any name arrives, as it does in JSON.
    """
    track = Track(
        kind="task", id=0, name=name, group=name, tid=7, pid=4_194_304, end=100, args=((name, name),)
    )
    frame = Frame(name, "python", name, 1, (("on", name),))
    tp = ask_trace(written(Drawn([Slice(track, 10, 90, 0, frame)]), {"argv": [name]}))
    assert tp.errors() == []
    shown = name if name.isprintable() else "a b"
    assert tp.rows("select name from slice") == [{"name": shown}]
    sql = "select track.name as name from track join slice on track.id = track_id"
    assert tp.rows(sql) == [{"name": shown}]


@pytest.mark.once
def test_memory_is_bounded_by_a_piece() -> None:
    """
    Encoding a large recording takes memory for a chunk, not for the trace.
    """
    script = Script()
    for time in range(60_000):
        script.at(time, f"t{time % 20}", "abc" + "defgh"[time % 5] + "ijk"[time % 3])
    timeline = Timeline(script.recording, fgtrace.Config(), 60_000, 1)
    tracemalloc.start()
    size = sum(map(len, encode(timeline, {})))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 2_000_000
    assert peak < size / 3


#: Our class of field numbers -> the message's name in Perfetto's definitions, and its fields.
_MESSAGES: dict[type, tuple[str, dict[str, str]]] = {
    _perfetto.TracePacket: (
        "TracePacket",
        {
            "TIMESTAMP": "timestamp", "SEQUENCE": "trusted_packet_sequence_id", "TRACK_EVENT": "track_event",
            "INTERNED": "interned_data", "FLAGS": "sequence_flags", "CHROME_EVENTS": "chrome_events",
            "DESCRIPTOR": "track_descriptor", "FIRST": "first_packet_on_sequence",
        },
    ),
    _perfetto.TrackDescriptor: (
        "TrackDescriptor",
        {
            "UUID": "uuid", "NAME": "name", "PROCESS": "process", "THREAD": "thread", "PARENT": "parent_uuid",
            "COUNTER": "counter", "CHILD_ORDERING": "child_ordering", "RANK": "sibling_order_rank",
            "MERGE": "sibling_merge_behavior",
        },
    ),
    _perfetto.ProcessDescriptor: ("ProcessDescriptor", {"PID": "pid", "NAME": "process_name"}),
    _perfetto.ThreadDescriptor: (
        "ThreadDescriptor",
        {"PID": "pid", "TID": "tid", "SORT": "legacy_sort_index", "NAME": "thread_name"},
    ),
    _perfetto.TrackEvent: (
        "TrackEvent",
        {
            "CATEGORY_IID": "category_iids", "ANNOTATION": "debug_annotations", "LEGACY": "legacy_event",
            "TYPE": "type", "NAME_IID": "name_iid", "TRACK": "track_uuid", "NAME": "name",
            "CATEGORY": "categories", "COUNTER_VALUE": "counter_value", "SOURCE_IID": "source_location_iid",
        },
    ),
    _perfetto.DebugAnnotation: (
        "DebugAnnotation",
        {
            "NAME_IID": "name_iid", "BOOL": "bool_value", "INT": "int_value", "DOUBLE": "double_value",
            "STRING": "string_value", "JSON": "legacy_json_value", "NAME": "name",
            "STRING_IID": "string_value_iid",
        },
    ),
    _perfetto.InternedData: (
        "InternedData",
        {
            "CATEGORIES": "event_categories", "NAMES": "event_names",
            "ANNOTATION_NAMES": "debug_annotation_names", "SOURCES": "source_locations",
            "STRINGS": "debug_annotation_string_values",
        },
    ),
    _perfetto.SourceLocation: ("SourceLocation", {"FILE": "file_name", "LINE": "line_number"}),
}  # fmt: skip


@pytest.mark.parametrize("fields_class", _MESSAGES, ids=lambda each: each.__name__)
def test_field_numbers(fields_class: type) -> None:
    """
    Our numbers are those of Perfetto's own definitions.
    """
    from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as theirs

    name, fields = _MESSAGES[fields_class]
    descriptor = getattr(theirs, name).DESCRIPTOR
    assert {field_name: getattr(fields_class, field_name) for field_name in fields} == {
        field_name: descriptor.fields_by_name[field].number for field_name, field in fields.items()
    }
