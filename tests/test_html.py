"""
The page to share: one file, its trace in it, and nothing of the trace a part of the page.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
import re
import struct
import tracemalloc
from array import array
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

import fgtrace
from drawn import MAIN, TASK, Drawn, nested
from fgtrace._formats.write import encoder_of, html
from fgtrace._model.drawing import Drawing
from fgtrace._model.states import STATES
from fgtrace._model.values import Frame, Slice, Track

pytestmark = pytest.mark.pure

TEXT = re.compile(rb'<script id="trace" type="text/plain">\n(.*?)\n</script>', re.DOTALL)


def written(drawing: Drawing, metadata: Mapping[str, Any] | None = None) -> bytes:
    return b"".join(encoder_of("html")(drawing, metadata or {}))


def records(page: bytes) -> list[tuple[int, bytes]]:
    found = TEXT.search(page)
    assert found is not None
    data = gzip.decompress(base64.b64decode(found[1], validate=True))
    rows, at = [], 0
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        rows.append((kind, data[at + 8 : at + 8 + size]))
        at += 8 + -(-size // 8) * 8
    return rows


def columns(payload: bytes) -> list[tuple[Any, ...]]:
    """
    The rows of a record of slices: start, duration, track, frame, depth.
    """
    count, at, found = len(payload) // 28, 0, []
    for kind in "ddIII":
        column = array(kind)
        column.frombytes(payload[at : at + count * column.itemsize])
        at += count * column.itemsize
        found.append(column)
    return list(zip(*found, strict=True))


def contents(page: bytes) -> tuple[dict[str, Any], list[tuple[str, float, float, int, list[Any]]]]:
    """
    What stands in a page: its head, and the slices with their track's name and their frame.
    """
    (first, head), *rest = records(page)
    assert first == 1
    tracks = json.loads(head)["tracks"]
    frames: list[list[Any]] = []
    found = []
    for kind, payload in rest:
        if kind == 2:
            frames += json.loads(payload)
        else:
            assert kind == 3
            found += [
                (tracks[track]["name"], start, start + length, depth, frames[frame])
                for start, length, track, frame, depth in columns(payload)
            ]
    return json.loads(head), found


SLICES = [
    Slice(MAIN, 0, 1000, 0, Frame("running", "state")),
    Slice(MAIN, 100, 400, 1, Frame("m.f", "python", "a.py", 7)),
    Slice(TASK, 50, 80, 0, Frame("lock wait", "state", "a.py", 9, (("on", "asyncio.Lock"),))),
]


def test_contents() -> None:
    """
    Tracks, slices with their frames, and the metadata.
    """
    head, slices = contents(written(Drawn(SLICES), {"fgtrace": {"started": "now"}}))
    assert head["metadata"] == {"fgtrace": {"started": "now"}}
    assert [(track["name"], track["group"], track["level"]) for track in head["tracks"]] == [
        ("main", "", 0),
        ("Task-1 f", "asyncio loop 1", 1),
    ]
    assert slices == [
        ("main", 0, 1000, 0, ["running", "state", "", 0, []]),
        ("main", 100, 400, 1, ["m.f", "python", "a.py", 7, []]),
        ("Task-1 f", 50, 80, 0, ["lock wait", "state", "a.py", 9, [["on", "asyncio.Lock"]]]),
    ]


@given(slices=nested())
def test_all_slices(slices: list[Slice]) -> None:
    """
    Whatever the slices, all of them are there, to the nanosecond and in order.
    """
    found = contents(written(Drawn(slices, tracks=Drawn(slices).tracks or [MAIN])))[1]
    assert [row[:4] for row in found] == [(s.track.name, s.start, s.end, s.depth) for s in slices]
    assert [row[4][2:4] for row in found] == [[s.frame.file, s.frame.line] for s in slices]


EVIL = "</script><script>alert(1)</script>\ud800<!--]]>%TRACE%"


def test_names_are_data() -> None:
    """
    What a program named is nowhere in the page as it stands, and comes back as it was.
    """
    track = Track(kind="task", id=3, name=EVIL, tid=3, group=EVIL, end=9, args=((EVIL, EVIL),))
    frame = Frame(EVIL, "python", EVIL, 1, ((EVIL, EVIL),))
    page = written(Drawn([Slice(track, 0, 5, 0, frame)]), {EVIL: [EVIL]})
    assert page.count(b"<script") == 2
    assert b"alert(1)" not in page
    assert contents(page)[1][0][0] == EVIL.replace("\ud800", " ")


def test_policy() -> None:
    """
    The page may run its own script and nothing else, and make no request.
    """
    page = written(Drawn(SLICES)).decode()
    found = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    script = page.rpartition("<script>")[2].partition("</script>")[0]
    assert found is not None
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert found[1].startswith(f"default-src 'none'; script-src 'sha256-{digest}';")
    assert "connect-src" not in found[1]


def test_licences() -> None:
    """
    The licences of what is in the page stand in the page and beside it.
    """
    beside = (files("fgtrace._formats.write") / "_page" / "LICENSES.txt").read_text(encoding="utf-8")
    page = written(Drawn(SLICES)).decode()
    for name in ("flame-chart-js", "color", "events"):
        match = re.search(rf"^{name} [\d.]+ \(MIT\)$", beside, re.MULTILINE)
        assert match is not None
        assert match[0] in page


def test_every_state_has_a_color() -> None:
    """
    The page knows the states by their names.
    """
    page = written(Drawn(SLICES)).decode()
    for state in STATES:
        assert re.search(rf'["{{,]{re.escape(state.name)}"?:"#[0-9a-f]{{6}}"', page), state.name


def test_same_bytes() -> None:
    """
    The same trace gives the same page.
    """
    assert written(Drawn(SLICES)) == written(Drawn(SLICES))


class Long(Drawn):
    """
    Slices that are made as they are asked for.
    """

    def __init__(self, count: int) -> None:
        super().__init__([], tracks=[MAIN])
        self._count = count

    def slices(self) -> Iterator[Slice]:
        return (Slice(MAIN, n * 7, n * 7 + n % 5, 0, SLICES[n % 2].frame) for n in range(self._count))


@pytest.mark.once
def test_memory_is_bounded() -> None:
    """
    A trace that is eight times as long takes no more memory.
    """
    written(Long(1))  # imports
    peaks = []
    for length in (20_000, 160_000):
        tracemalloc.start()
        for piece in html.encode(Long(length), {}):
            assert len(piece) < 1_000_000
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0] + 100_000


@pytest.mark.parametrize("naps", [2, 0], ids=["program", "nothing"])
def test_traced(tmp_path: Path, naps: int) -> None:
    """
    The suffix chooses the format, also where nothing was seen.
    """
    with fgtrace.trace(tmp_path / "t.html", awaits="exact", threads=False, hz=0.1):
        for _ in range(naps):
            asyncio.run(asyncio.sleep(0.001))
    head, slices = contents((tmp_path / "t.html").read_bytes())
    assert head["metadata"]["fgtrace"]["complete"] is True
    assert [row[4][0] for row in slices].count("asyncio.tasks.sleep") >= naps
    assert naps or not slices
