"""
Broken files: whatever the bytes, a conversion gives a trace that can be read, or one `TraceFormatError` and
no file.
"""

from __future__ import annotations

import gzip
import os
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fgtrace
from amount import times
from drawn import CHILD, MAIN, TASK, Drawn
from fgtrace._formats.conversion.convert import convert
from fgtrace._formats.read import file_chunks, json_chunks, perfetto
from fgtrace._formats.write import encoder_of
from fgtrace._model.values import Flow, Frame, Instant, Slice

pytestmark = pytest.mark.pure

SLICES = [
    Slice(MAIN, 0, 1000, 0, Frame("running", "state")),
    Slice(MAIN, 0, 1000, 1, Frame("m.main", "python", "a.py", 3)),
    Slice(TASK, 5, 1000, 0, Frame("lock wait", "state", "a.py", 4, (("on", "größe"), ("n", 15)))),
    Slice(CHILD, 400, 900, 0, Frame("m.f")),
]
DRAWN = Drawn(
    SLICES,
    [Flow("create_task", TASK, 400, CHILD, 400)],
    [Instant("loop blocked", TASK, 350, (("stack", "a > b"),))],
)


def written(name: str) -> bytes:
    return b"".join(encoder_of(name)(DRAWN, {"fgtrace": {"complete": True}}))


def row(phase: str, **others: Any) -> dict[str, Any]:
    return {"ph": phase, "pid": 1, "tid": 1, "ts": 5, "name": "f", "cat": "c", **others}


FOREIGN = [
    row("M", name="thread_name", args={"name": "main"}),
    row("X", dur=3, args={"a": [{"b": "}, {"}, {}]}),
    row("B"), row("E", ts=9), row("b", id="0x1"), row("n", id="0x1"), row("e", id="0x1", ts=7),
    row("s", id=1), row("t", id=1), row("f", id=1, bp="e"), row("i", s="g"), row("C", args={"v": 1.5}),
]  # fmt: skip

CORPUS: dict[str, bytes] = {
    "json": written("json"),
    "perfetto": written("perfetto"),
    "foreign": orjson.dumps(FOREIGN),
    "foreign-object": orjson.dumps({"traceEvents": FOREIGN, "metadata": {"a": [1, {}]}}),
    "packed": gzip.compress(written("json")),
    "packed-perfetto": gzip.compress(written("perfetto")),
}


def is_read(data: bytes, target: str = "out.pftrace") -> bool:
    """
    Whether these bytes are a trace. If so, what they were converted to is one, too; else there is no file.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "in"), Path(folder, target)
        source.write_bytes(data)
        refused: fgtrace.TraceFormatError | None = None
        try:
            count = convert(source, str(out))
        except fgtrace.TraceFormatError as error:
            count, refused = 0, error
        if refused is not None:
            assert os.listdir(folder) == ["in"]
            assert "\n" not in str(refused)
            assert refused.offset is None or refused.offset >= 0
            return False
        assert sorted(os.listdir(folder)) == sorted(["in", target])
        if target in ("out.pftrace", "out.json"):
            assert len(fgtrace.load(out)) == count
        return True


@pytest.mark.parametrize("name", CORPUS)
def test_corpus(name: str) -> None:
    """
    The files that are broken below are whole.
    """
    assert is_read(CORPUS[name])


@pytest.mark.parametrize("name", CORPUS)
@given(data=st.data())
def test_cut_and_flipped(name: str, data: st.DataObject) -> None:
    """
    Cut somewhere, with some bits that are wrong.
    """
    broken = bytearray(CORPUS[name])
    if data.draw(st.booleans()):
        del broken[data.draw(st.integers(0, len(broken) - 1)) :]
    for place in data.draw(st.lists(st.integers(0, max(0, len(broken) - 1)), max_size=5)) if broken else ():
        broken[place] ^= 1 << data.draw(st.integers(0, 7))
    is_read(bytes(broken), data.draw(st.sampled_from(["out.pftrace", "out.json"])))


@pytest.mark.parametrize("name", CORPUS)
@given(data=st.data())
def test_moved_parts(name: str, data: st.DataObject) -> None:
    """
    A part of the file stands somewhere else, or twice.
    """
    whole = CORPUS[name]
    places = st.integers(0, len(whole))
    start, end = sorted((data.draw(places), data.draw(places)))
    at = data.draw(places)
    is_read(whole[:at] + whole[start:end] + whole[at:])


HUGE = [10**15, -(10**15), 2**63, 2**64 - 1, -(2**63), 1e300, -1e300, 5e-324]
values = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from(HUGE)
    | st.integers(-9, 9)
    | st.floats()
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
KEYS = ("ph", "pid", "tid", "ts", "dur", "name", "cat", "args", "id", "id2", "s", "bp")
TRACK_KEYS = ("kind", "id", "parent", "life", "name")


@st.composite
def odd_events(draw: st.DrawFn) -> list[Any]:
    """
    Events of which some values are of a wrong type, or too large.
    """
    found: list[Any] = []
    for _ in range(draw(st.integers(1, 6))):
        event = dict(draw(st.sampled_from(FOREIGN)))
        for key in draw(st.lists(st.sampled_from(KEYS), max_size=2)):
            event[key] = draw(values)
        if event.get("ph") == "M" and draw(st.booleans()):
            event["args"] = {key: draw(values) for key in draw(st.lists(st.sampled_from(TRACK_KEYS)))}
        found.append(draw(values) if draw(st.integers(0, 9)) == 0 else event)
    return found


@times(6)
@given(
    events=odd_events(), target=st.sampled_from([".pftrace", ".json", ".folded", ".pb.gz", ".firefox.json"])
)
def test_wrong_types(events: list[Any], target: str) -> None:
    """
    Values of any type, and numbers of any size.
    """
    is_read(orjson.dumps(events, default=str), f"out{target}")


@times(4)
@given(st.lists(st.sampled_from([*b'[]{}",:\\ \n1x', *b'"traceEvents":["']), max_size=60))
def test_brackets(letters: list[int]) -> None:
    """
    Structure without sense.
    """
    is_read(bytes(letters))
    is_read(b'{"traceEvents":[' + bytes(letters))


@times(4)
@given(st.binary(max_size=100), st.sampled_from([b"", b"\x0a", b"\x1f\x8b", b"\x1f\x8b\x08\x00", b"["]))
def test_any_bytes(tail: bytes, head: bytes) -> None:
    """
    No structure at all.
    """
    is_read(head + tail)


DEEP = 300_000
NASTY: dict[str, Callable[[], bytes]] = {
    "lists": lambda: b"[" * DEEP,
    "objects": lambda: b'{"a":' * DEEP,
    "deep-args": lambda: b'[{"ph":"X","args":' + b"[" * DEEP + b"]" * DEEP + b"}]",
    "deep-before": lambda: b'{"a":' + b"[" * DEEP + b"]" * DEEP + b',"traceEvents":[]}',
    "deep-behind": lambda: b'{"traceEvents":[],"a":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "long-number": lambda: b'[{"ph":"X","ts":' + b"9" * DEEP + b"}]",
    "long-string": lambda: b'[{"ph":"X","name":"' + b"x" * DEEP,
    "escapes": lambda: b'[{"ph":"X","name":"' + b"\\" * (DEEP + 1),
    "quotes": lambda: b"[" + b'"' * (DEEP + 1),
    "commas": lambda: b"[" + b"," * DEEP,
    "closed-too-often": lambda: b"[{}]" + b"]" * DEEP,
    "packed-twice": lambda: gzip.compress(gzip.compress(CORPUS["json"])),
    "packed-garbage": lambda: gzip.compress(CORPUS["json"]) + b"garbage",
    "huge-packet": lambda: CORPUS["perfetto"] + b"\x0a\xff\xff\xff\xff\x7f",
    "deep-packet": lambda: CORPUS["perfetto"] + b"\x0a\x7f" * DEEP,
}


@pytest.mark.parametrize("name", NASTY)
def test_nasty(name: str) -> None:
    """
    A file that is made to take memory or time is refused.
    """
    assert not is_read(NASTY[name]())


def endless(start: bytes, part: bytes) -> Iterator[bytes]:
    yield start
    while True:
        yield part


ENDLESS = {
    "white-space": (b"", b" " * 4096),
    "event": (b'[{"ph":"X","name":"', b"x" * 4096),
    "number": (b"[1", b"1" * 4096),
    "before": (b'{"a":[', b"1," * 2048),
    "behind": (b'{"traceEvents":[],"a":[', b"1," * 2048),
    "packet": (b"\x0a\xff\xff\xff\xff\x01", b"x" * 4096),
}


@pytest.mark.once
@pytest.mark.parametrize("name", ENDLESS)
def test_endless(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A file that goes on and on without an event in it is given up when a bound is reached.
    """
    start, part = ENDLESS[name]
    for module in (json_chunks, perfetto):
        monkeypatch.setattr(module, "LARGEST", 1 << 20)
    monkeypatch.setattr(file_chunks, "file_chunks", lambda *_: endless(start, part))
    (tmp_path / "in").write_bytes(b"")
    tracemalloc.start()
    with pytest.raises(fgtrace.TraceFormatError, match="has more than 1 MiB"):
        fgtrace.load(tmp_path / "in")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 << 20
