"""
Tasks that did the same are drawn once, and are each a task again for whoever reads the trace.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fgtrace
from fgtrace._formats.conversion.convert import convert
from fgtrace._formats.read import open_trace
from fgtrace._formats.write import encoder_of
from fgtrace._model.drawing import begins_and_ends
from fgtrace._model.values import Slice, Track
from fgtrace._options.options import Options
from fgtrace._timeline.identical_tasks import MOST_OBSERVATIONS
from fgtrace._timeline.lanes import MOST_TASKS, with_lanes
from fgtrace._timeline.timeline import Timeline
from scripted import Script
from trace_processor import assert_valid_trace
from trace_processor.fixtures import AskTrace

END = 1000
#: Name, first sight, stack, what it changes to after 10 ns, end.
Life = tuple[str, int, str, str | None, int | None]


def script(lives: list[Life]) -> Script:
    """
    Tasks of one coroutine or another.
    """
    found = Script()
    found.at(0, "MainThread", "m")
    rows: list[tuple[int, str, str | None]] = []
    for name, start, stack, then, end in lives:
        found.track(name, start, "task")
        found.recording.tracks[found.tracks[name]].root = name.rpartition(" ")[2]
        rows.append((start, name, stack))
        rows.extend((start + 10, name, then) for then in [then] if then is not None)
        rows.extend((end, name, None) for end in [end] if end is not None)
    for time, name, becomes in sorted(rows, key=lambda row: row[0]):
        found.at(time, name, becomes, "task")
    return found


def timeline(found: Script) -> Timeline:
    return Timeline(found.recording, Options(), END, 7)


def waiting(count: int, start: int = 0) -> list[Life]:
    """
    Tasks that wait all the time.
    """
    return [(f"Task-{number} f", start, "ab", None, None) for number in range(start, start + count)]


def names(groups: list[list[Track]]) -> list[list[str]]:
    return [[task.name.partition(" ")[0] for task in group] for group in groups]


def test_groups() -> None:
    """
    Identical tasks began, waited and ended at the same times; any difference or change makes a task another.
    """
    apart: list[Life] = [
        ("later f", 5, "ab", None, None),
        ("ended f", 0, "ab", None, 500),
        ("elsewhere f", 0, "ac", None, None),
        ("moved f", 0, "ab", "ac", None),
        ("moved-too f", 0, "ab", "ac", None),
        ("moved-on f", 0, "ab", "ad", None),
        ("other g", 0, "ab", None, None),
    ]
    found = script([*waiting(3), *apart, ("ended-too f", 0, "ab", None, 500)])
    assert sorted(names(timeline(found).identical_tasks())) == [
        ["Task-0", "Task-1", "Task-2"],
        ["ended", "ended-too"],
        ["moved", "moved-too"],
    ]


def test_restless() -> None:
    """
    Tasks that change all the time are in no group, and little memory is kept for them.
    """
    found = Script()
    for time in range(MOST_OBSERVATIONS + 1):
        for name, kinds in (("calm 1", "a"), ("calm 2", "a"), ("restless 1", "ab"), ("restless 2", "ab")):
            found.at(time, name, kinds[time % len(kinds)], "task") if time == 0 or len(kinds) > 1 else None
    assert names(timeline(found).identical_tasks()) == [["calm", "calm"]]


def test_exact() -> None:
    """
    A task that made a step is in no group.
    """
    found = Script()
    found.exact()
    for name in ("idle 1", "idle 2", "busy"):
        found.at(0, name, "ab", "task")
    found.step("busy", 10, 20, "ab", ready=5)
    assert names(timeline(found).identical_tasks()) == [["idle", "idle"]]


@st.composite
def programs(draw: st.DrawFn) -> list[Life]:
    """
    Run many tasks that wait, of a few kinds, and some that do not.
    """
    starts = st.sampled_from([0, 3])
    thens = st.sampled_from([None, None, "ad"])
    kinds = st.tuples(starts, st.sampled_from(["ab", "ac"]), thens, st.sampled_from([None, 300]))
    found: list[Life] = []
    for start, stack, then, end in draw(st.lists(kinds, min_size=1, max_size=4)):
        coroutine = draw(st.sampled_from("fg"))
        for _ in range(draw(st.integers(1, 30))):
            found.append((f"Task-{len(found)} {coroutine}", start, stack, then, end))
    for _ in range(draw(st.integers(0, 5))):
        found.append((f"Task-{len(found)} f", draw(st.integers(0, 50)), "ab", "abc", draw(starts) + 100))
    return found


@pytest.mark.parametrize("name", ["json", "perfetto"])
@given(lives=programs())
def test_nothing_is_lost(name: str, lives: list[Life], tmp_path_factory: pytest.TempPathFactory) -> None:
    """
    A trace with groups, read back, has every task with its name, place and slices.
    """
    plain = timeline(script(lives))
    drawn = set(plain.slices())
    path = tmp_path_factory.mktemp("crowds") / f"t.{name}"
    path.write_bytes(b"".join(encoder_of(name, "lane")(timeline(script(lives)), {})))
    again = path.with_suffix(".again.json")
    convert(path, str(again), tracks="lane")
    assert _lanes_in(again) == _lanes_in(path) or name == "perfetto"
    for written in (path, again):
        with open_trace(written) as found:
            assert [track for track in found.tracks if track.kind != "tracer"] == plain.tracks
            assert set(found.slices()) == drawn


def _lanes_in(path: Path) -> list[str]:
    return sorted(re.findall(r"[fg], lane \d+ \(\d+ alike\)", path.read_text(errors="replace")))


@given(lives=programs())
def test_lanes_hold_once(lives: list[Life]) -> None:
    """
    Slices and begins and ends are the same drawing, with each group once.
    """
    found = script(lives)
    shared = with_lanes(timeline(found), "lane")
    slices = list(shared.slices())
    assert len(set(slices)) == len(slices)
    again = list(with_lanes(timeline(found), "lane").begins_and_ends())
    assert _by_track(again) == _by_track(list(begins_and_ends(_ordered(slices))))


def _ordered(slices: list[Slice]) -> list[Slice]:
    return sorted(slices, key=lambda each: (each.track.id, each.start, each.depth))


def _by_track(found: list[Any]) -> dict[int, list[Any]]:
    rows: dict[int, list[Any]] = {}
    for track, time, frame in found:
        rows.setdefault(track.id, []).append((time, frame))
    return rows


def test_a_crowd(core: str, ask_trace: AskTrace, tmp_path: Path) -> None:
    """
    Thousands of tasks that wait are a few tracks, with their number and names; the busy one has its own.
    """
    path = tmp_path / "t.json"

    async def wait(event: asyncio.Event) -> None:
        await event.wait()

    async def busy() -> None:
        for _ in range(20):
            await asyncio.sleep(0.01)

    async def main() -> None:
        event = asyncio.Event()
        crowd = [asyncio.create_task(wait(event)) for _ in range(MOST_TASKS + 500)]
        await asyncio.sleep(0)
        async with fgtrace.trace(path, max_overhead=1.0):
            await asyncio.create_task(busy(), name="busy")
        event.set()
        await asyncio.gather(*crowd)

    asyncio.run(main())
    with open_trace(path) as found:
        tracks = found.tracks
    crowd = [track.name for track in tracks if track.name.endswith(" wait")]
    assert len(crowd) == MOST_TASKS + 500
    assert len(set(crowd)) == len(crowd)
    tp = ask_trace(path)
    assert_valid_trace(tp)
    drawn = Counter(row["name"] for row in tp.rows("select name from thread where name is not null"))
    assert 1 <= sum(1 for name in drawn if name.startswith("wait")) < 200
    assert [name.removeprefix("└ ") for name in drawn if "busy" in name] == ["busy busy"]
