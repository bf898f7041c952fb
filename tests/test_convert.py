"""
A trace in another format, whole or a part of it: by `fgtrace convert`.
"""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fgtrace
from drawn import CHILD, MAIN, TASK, Drawn, nested
from fgtrace._formats import rows_by_track as _by_track
from fgtrace._formats.conversion.convert import convert
from fgtrace._formats.conversion.selection import Selection, select
from fgtrace._formats.read import file_chunks, json_chunks, open_trace
from fgtrace._formats.write import encoder_of
from fgtrace._model.values import Flow, Frame, Instant, Slice
from fgtrace._options.options import FORMATS
from fgtrace.cli import main
from trace_processor import assert_valid_trace
from trace_processor.fixtures import AskTrace

pytestmark = pytest.mark.pure

WAIT = Frame("lock wait", "state", "a.py", 4, (("on", "asyncio.Lock"),))
SECOND = 10**9
SLICES = [
    Slice(MAIN, 0, 10 * SECOND, 0, Frame("running", "state")),
    Slice(MAIN, 0, 10 * SECOND, 1, Frame("m.main", "python", "a.py", 3)),
    Slice(TASK, 1 * SECOND, 3 * SECOND, 0, WAIT),
    Slice(TASK, 1 * SECOND, 3 * SECOND, 1, Frame("m.get")),
    Slice(TASK, 3 * SECOND, 4 * SECOND, 0, Frame("running", "state")),
    Slice(TASK, 4 * SECOND, 9 * SECOND, 0, WAIT),
    Slice(CHILD, 2 * SECOND, 8 * SECOND, 0, Frame("sleep", "state")),
]
FLOWS = [
    Flow("create_task", TASK, 2 * SECOND, CHILD, 2 * SECOND),
    Flow("wakes", CHILD, 7 * SECOND, TASK, 8 * SECOND),
]
FLAGS = [Instant("loop blocked", TASK, 3 * SECOND + 5, (("stack", "a"),))]
METADATA = {"fgtrace": {"complete": True, "config": {"hz": 99}}}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.json"
    path.write_bytes(b"".join(encoder_of("json")(Drawn(SLICES, FLOWS, FLAGS), METADATA)))
    return path


def converted(*arguments: object) -> int:
    return main(["convert", *map(str, arguments)])


READABLE = [name for name in FORMATS if name.startswith(("json", "perfetto"))]


@pytest.mark.parametrize("between", READABLE)
def test_there_and_back(source: Path, tmp_path: Path, between: str, ask_trace: AskTrace) -> None:
    """
    Through another format and back, a trace is the same, and Perfetto reads every one of them.
    """
    there, back = tmp_path / f"there{FORMATS[between][0]}", tmp_path / "back.json"
    assert converted("-q", source, there) == 0
    assert_valid_trace(ask_trace(there))
    assert converted("-q", there, back) == 0
    theirs, ours = open_trace(source), open_trace(back)
    assert ours.metadata == theirs.metadata == METADATA
    assert ours.tracks == theirs.tracks
    for kind in ("flows", "counters", "instants"):
        assert list(getattr(ours, kind)()) == list(getattr(theirs, kind)()), kind
    assert list(ours.slices()) == list(theirs.slices()) == SLICES


@pytest.mark.parametrize("name", FORMATS)
def test_to_every_format(source: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """
    ``--format`` chooses what is written, whatever the name; one line says so.
    """
    target = tmp_path / "out.bin"
    assert converted(source, target, "--format", name) == 0
    assert target.stat().st_size > 0
    assert capsys.readouterr().err == f"fgtrace: wrote {target} (7 slices)\n"
    assert sorted(os.listdir(tmp_path)) == ["in.json", "out.bin"]


def part(source: Path, *arguments: object) -> list[tuple[str, float, float, str]]:
    """
    The slices of a part: track, start and end in seconds, frame.
    """
    target = source.with_name("part.json")
    assert converted("-q", source, target, *arguments) == 0
    return [
        (each.track.name, each.start / 1e9, each.end / 1e9, each.frame.name) for each in fgtrace.load(target)
    ]


def test_from_to(source: Path) -> None:
    """
    Slices are cut where the part begins and ends; times stay what they are.
    """
    assert part(source, "--from", 3.5, "--to", "4.25") == [
        ("main", 3.5, 4.25, "running"),
        ("main", 3.5, 4.25, "m.main"),
        ("Task-1 f", 3.5, 4, "running"),
        ("Task-1 f", 4, 4.25, "lock wait"),
        ("child", 3.5, 4.25, "sleep"),
    ]
    found = open_trace(source.with_name("part.json"))
    assert {(track.start, track.end) for track in found.tracks} == {(3_500_000_000, 4_250_000_000)}
    assert found.metadata["fgtrace"]["part"] == {"from": 3.5, "to": 4.25, "track": None, "state": None}
    assert found.metadata["fgtrace"]["complete"] is True


def test_track(source: Path) -> None:
    """
    Only the tracks whose name fits.
    """
    assert {row[0] for row in part(source, "--track", "Task-*")} == {"Task-1 f"}
    found = open_trace(source.with_name("part.json"))
    assert list(found.flows()) == []
    assert [flag.name for flag in found.instants()] == ["loop blocked"]


def test_state(source: Path) -> None:
    """
    Only the times in a state, with all frames that were there.
    """
    assert part(source, "--state", "lock wait") == [
        ("Task-1 f", 1, 3, "lock wait"),
        ("Task-1 f", 1, 3, "m.get"),
        ("Task-1 f", 4, 9, "lock wait"),
    ]


@pytest.mark.parametrize("target", ["out.json", "out.pftrace"])
def test_arrows_of_a_part(source: Path, tmp_path: Path, target: str, ask_trace: AskTrace) -> None:
    """
    An arrow goes where one of its ends does.
    """
    assert converted("-q", source, tmp_path / target, "--from", "2.5", "--track", "[cT]*") == 0
    tp = ask_trace(tmp_path / target)
    assert_valid_trace(tp)
    assert tp.rows("select count(*) as n from flow") == [{"n": 1}]


@given(nested(), st.integers(0, 50), st.integers(1, 50), st.sampled_from([None, *"ab"]))
def test_parts_are_well_nested(slices: list[Slice], start: int, length: int, state: str | None) -> None:
    """
    Whatever part, the slices in it nest, and lie within it.
    """
    if state is not None:
        slices = [each._replace(frame=Frame("ab"[place % 2], "state")) for place, each in enumerate(slices)]
    part = select(Drawn(slices), Selection(start=start, end=start + length, state=state))
    found = list(part.slices())
    assert all(start * SECOND <= each.start < each.end <= (start + length) * SECOND for each in found)
    assert len(list(part.begins_and_ends())) == 2 * len(found)


REFUSED: dict[str, tuple[list[str], str]] = {
    "no-such-file": (["none.json", "out.json"], "cannot read none.json: No such file or directory"),
    "directory": ([".", "out.json"], "cannot read .: Is a directory"),
    "no-trace": (["text", "out.json"], "text: not a trace that can be read: .* at byte 0"),
    "unknown-suffix": (["in.json", "out.png"], "bad format: 'out.png': allowed is json, "),
    "unknown-format": (["in.json", "out.json", "--format", "xml"], "bad format: 'xml': allowed is json, "),
    "no-folder": (["in.json", "no/out.json"], "cannot write the trace to no/out.json: "),
    "bad-from": (["in.json", "out.json", "--from", "x"], "bad from: 'x': allowed is a number"),
    "bad-to": (["in.json", "out.json", "--from", "2", "--to", "1"], "bad to: 1: allowed is what is later"),
    "nothing": (["in.json", "out.json", "--track", "x*"], r"bad part: 'track x\*': nothing of the trace"),
    "overlap": (
        ["overlap.json", "out.pftrace"],
        "overlap.json: not a trace that can be read: .g. at 2000",
    ),
    "before": (["before.json", "out.pftrace"], "before.json: not a trace that can be read: "),
    "deep": (["deep.json", "out.pftrace"], "deep.json: not a trace that can be read: "),
    "no-target": (["in.json"], "missing argument 'OUT'"),
}


def _x(start: float, length: float, name: str) -> dict[str, Any]:
    return {"ph": "X", "pid": 1, "tid": 1, "ts": start, "dur": length, "name": name}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(
    source: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    What cannot be done is one line on stderr, and no file, whole or in part.
    """
    monkeypatch.chdir(source.parent)
    Path("text").write_text("hello", encoding="utf-8")
    Path("overlap.json").write_bytes(orjson.dumps([_x(1, 5, "f"), _x(2, 10, "g")]))
    deep = b'{"a":' * 600 + b"1" + b"}" * 600
    Path("deep.json").write_bytes(orjson.dumps([_x(1, 5, "f")])[:-2] + b',"args":' + deep + b"}]")
    Path("before.json").write_bytes(orjson.dumps([_x(-5, 5, "f")]))
    before = set(os.listdir())
    assert converted(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    with pytest.raises(ValueError, match=f"^fgtrace: {message}"):
        raise ValueError(line)
    assert set(os.listdir()) == before


def test_in_place(source: Path) -> None:
    """
    A trace may be written over itself.
    """
    assert converted("-q", source, source, "--to", 2) == 0
    assert max(each.end for each in fgtrace.load(source)) == 2 * SECOND


def test_failure_keeps_the_old_file(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    What stood under the target's name stands there still when the conversion fails.
    """
    old = source.with_name("overlap.json")
    old.write_bytes(orjson.dumps([_x(1, 5, "f"), _x(2, 10, "g")]))
    target = source.with_name("out.pftrace")
    target.write_bytes(b"old")
    assert converted(old, target) == 2
    assert target.read_bytes() == b"old"
    target.unlink()


def test_foreign_file(tmp_path: Path, ask_trace: AskTrace) -> None:
    """
    A Chrome trace without names, its events in any order, becomes a Perfetto trace.
    """
    events = [_x(3, 1, "inner"), _x(1, 5, "outer"), {**_x(0, 2, "other"), "tid": 2**40}]
    events.append(
        {"ph": "X", "pid": 9, "tid": 1, "ts": 2, "dur": 1, "name": "far", "args": {"a": {"b": [1]}}}
    )
    (tmp_path / "in").write_bytes(orjson.dumps({"traceEvents": events}))
    assert converted("-q", tmp_path / "in", tmp_path / "out.pftrace") == 0
    tp = ask_trace(tmp_path / "out.pftrace")
    assert_valid_trace(tp)
    rows = tp.rows("select name, ts, dur, depth from slice order by name")
    assert [tuple(row.values()) for row in rows] == [
        ("far", 2000, 1000, 0),
        ("inner", 3000, 1000, 1),
        ("other", 0, 2000, 0),
        ("outer", 1000, 5000, 0),
    ]
    assert fgtrace.load(tmp_path / "out.pftrace")[0].frame.args in ((), (("a", {"b": [1]}),))


def test_progress(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Long work tells how far it is.
    """
    from fgtrace._formats.conversion import convert as _convert

    told: list[tuple[str, int, int]] = []
    update: Callable[[str, int, int], None] = lambda *message: told.append(message)  # noqa: E731
    monkeypatch.setattr(_convert, "PROGRESS_EVERY", 2)
    _convert.convert(source, str(source.with_name("out.pftrace")), progress=update)
    size = source.stat().st_size
    assert told == [("reading", size, size), *(("writing", place, 7) for place in range(1, 8))]


def long(length: int) -> Drawn:
    """
    A drawing of so many slices, two deep, on few tracks in turn.
    """
    tracks = [MAIN, TASK, CHILD]
    frames = [Frame(f"m.f{number}", "python", "m.py", number) for number in range(20)]
    return Drawn([
        Slice(tracks[n % 3], n * 100 + depth, n * 100 + 250 - depth, depth, frames[n % 19 + depth])
        for n in range(length // 2)
        for depth in (0, 1)
    ])  # fmt: skip


WAYS = [
    ("json", "perfetto"),
    ("json", "firefox"),
    ("foreign", "speedscope"),
    ("perfetto", "json"),
    ("perfetto", "pprof"),
]


@pytest.mark.once
@pytest.mark.parametrize(("name", "target"), WAYS)
def test_memory_is_bounded(name: str, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A trace that is three times as long takes no more memory, and none of its slices is lost.
    """
    monkeypatch.setattr(_by_track, "MOST_WAITING", 10_000)
    monkeypatch.setattr(_by_track, "FEWEST", 10)
    for module in (file_chunks, json_chunks):
        monkeypatch.setattr(module, "CHUNK", 20_000)
    peaks = []
    for length in (8_000, 24_000):
        data = b"".join(encoder_of(name.replace("foreign", "json"))(long(length), {}))
        if name == "foreign":
            data = data.replace(b"\n", b" ")
        (tmp_path / "in").write_bytes(data)
        del data
        tracemalloc.start()
        assert convert(tmp_path / "in", str(tmp_path / "out"), format_=target) == length
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0] + 100_000
