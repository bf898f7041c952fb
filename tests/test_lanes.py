"""
Lanes: short tasks of a coroutine share tracks, nothing is lost, and whoever reads the trace sees tasks.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fgtrace
from amount import NIGHTLY
from drawn import LOOP, Drawn
from fgtrace._formats.read import open_trace
from fgtrace._formats.write import SUMS, encoder_of
from fgtrace._model.drawing import BeginEnd, begins_and_ends
from fgtrace._model.values import Flow, Frame, Instant, Slice, Track
from fgtrace._options.options import FORMATS
from fgtrace._timeline.lanes import MOST_TASKS, task_frame, with_lanes
from fgtrace._timeline.timeline import Timeline
from fgtrace.cli import main
from scripted import Script
from trace_processor import assert_valid_trace
from trace_processor.fixtures import AskTrace

READABLE = [name for name in FORMATS if name.startswith(("json", "perfetto"))]
MAIN = Track(kind="thread", id=0, name="main", tid=7, pid=7, end=1000)
WAIT = Frame("sleep", "state")
WORK = Frame("m.work", "python", "m.py", 7)


def task(number: int, name: str, start: int, end: int, **more: Any) -> Track:
    return Track("task", number, name, **{**LOOP, "tid": number, "start": start, "end": end, **more})


@st.composite
def programs(draw: st.DrawFn) -> list[Track]:
    """
    Draw tasks of some coroutines, in the order in which they were first seen.
    """
    times = st.integers(0, 60)
    born = sorted(draw(st.lists(times, min_size=1, max_size=40)))
    return [
        task(
            number, f"Task-{number} {draw(st.sampled_from('fgh'))}", start, start + draw(times),
            parent=draw(st.sampled_from([-1, *range(1, number)])), level=draw(st.integers(0, 3)),
            args=draw(st.sampled_from([(), (("request", "a"), ("n", number))])),
        )
        for number, start in enumerate(born, 1)
    ]  # fmt: skip


def slices_of(tracks: list[Track]) -> Iterator[Slice]:
    """
    Return the slices of each task: it waits, then runs, one tick each; the last slice goes on to its end.
    """
    for track in tracks:
        for start in range(track.start, track.end, 7):
            end = min(start + 7, track.end)
            yield Slice(track, start, end, 0, WAIT)
            yield Slice(track, start, end, 1, WORK)


def drawing_of(tracks: list[Track]) -> Drawn:
    slices = list(slices_of(tracks))
    by_id = {track.id: track for track in tracks}
    flows = [
        Flow("create_task", by_id[each.parent], each.start, each, each.start)
        for each in tracks
        if each.parent in by_id
        and by_id[each.parent].start <= each.start < min(by_id[each.parent].end, each.end)
    ]
    flags = [
        Instant("loop blocked", each, each.start, (("n", 1),)) for each in tracks if each.start < each.end
    ]
    return Drawn(slices, flows, flags, tracks=[MAIN, *tracks])


@given(tracks=programs(), most=st.integers(0, 5))
def test_lanes_hold_all(tracks: list[Track], most: int) -> None:
    """
    On a lane no two tasks overlap, each is there once, around all its slices, and no lane is superfluous.
    """
    drawn = drawing_of(tracks)
    found = list(with_lanes(drawn, "lane", most).slices())
    lanes: dict[int, list[Slice]] = {}
    for each in found:
        if each.track.kind == "lane" and each.depth == 0:
            lanes.setdefault(each.track.id, []).append(each)
    for row in lanes.values():
        assert all(a.end <= b.start for a, b in pairwise(sorted(row, key=lambda each: each.start)))
    kept = {each.track.id for each in found if each.track.kind == "task"}
    shared = {each.frame for row in lanes.values() for each in row}
    assert shared == {task_frame(each) for each in tracks if each.id not in kept and each.start < each.end}
    assert len(shared) == sum(map(len, lanes.values()))
    inner = Counter(
        (each.start, each.end, each.frame.name) for each in found if each.frame.category != "task"
    )
    assert inner == Counter((each.start, each.end, each.frame.name) for each in drawn.slices())
    alive = max(sum(a.start <= b.start < a.end for a in tracks) for b in tracks)
    names = {each.name.partition(" ")[2] for each in tracks}
    assert len(lanes) <= alive * len(names)


@given(tracks=programs())
def test_begins_and_ends_are_those_of_the_slices(tracks: list[Track]) -> None:
    """
    Slices and begins and ends of lanes are the same drawing, each lane's begins and ends by time.
    """
    laned = with_lanes(drawing_of(tracks), "lane", 2)
    by_track: dict[int, list[BeginEnd]] = {}
    for each in laned.begins_and_ends():
        by_track.setdefault(each.track.id, []).append(each)
    order = sorted(laned.slices(), key=lambda each: (each.track.id, each.start, each.depth))
    wanted: dict[int, list[BeginEnd]] = {}
    for each in begins_and_ends(order):
        wanted.setdefault(each.track.id, []).append(each)
    assert by_track == wanted


@pytest.mark.parametrize("name", ["json", "perfetto"])
@given(tracks=programs())
def test_tasks_come_back(name: str, tracks: list[Track], tmp_path_factory: pytest.TempPathFactory) -> None:
    """
    Read back, a trace with lanes is the trace without: slices, tracks, arrows and flags.
    """
    drawn = drawing_of(tracks)
    path = tmp_path_factory.mktemp("lanes") / "trace"
    path.write_bytes(b"".join(encoder_of(name, "lane")(drawn, {})))
    found = open_trace(path)
    assert Counter(found.slices()) == Counter(drawn.slices())
    seen = {each.track.id for each in found.slices()}
    assert [each for each in found.tracks if each.id in seen or each is MAIN] == [
        each for each in drawn.tracks if each.id in seen
    ]
    assert list(found.flows()) == list(drawn.flows())
    assert list(found.instants()) == list(drawn.instants())


@pytest.mark.parametrize("name", ["json", "perfetto"])
def test_valid_in_perfetto(name: str, ask_trace: AskTrace) -> None:
    """
    Perfetto reads lanes without a loss, and binds each arrow to slices of the two tasks that it joins.
    """
    dice = random.Random(1)
    tracks = [
        task(
            number, f"Task-{number} {dice.choice('fgh')}", number // 3, number // 3 + dice.randrange(120),
            parent=dice.randrange(max(1, number - 20), number) if number % 5 > 1 else -1,
        )
        for number in range(1, 400)
    ]  # fmt: skip
    drawn = drawing_of(tracks)
    task_at = (
        "(select name from ancestor_slice({0}) where depth = 0 "
        "union all select name from slice where id = {0} and depth = 0)"
    )
    ends = f"select {task_at.format('slice_out')} as a, {task_at.format('slice_in')} as b from flow"  # noqa: S608
    tp = ask_trace(b"".join(encoder_of(name, "lane")(drawn, {})))
    assert_valid_trace(tp)
    assert Counter((row["a"], row["b"]) for row in tp.rows(ends)) == Counter(
        (_shown(flow.source, tracks), _shown(flow.target, tracks)) for flow in drawn.flows()
    )


def _shown(track: Track, tracks: list[Track]) -> str:
    """
    The outermost slice of a task: its name, but not where it kept its track.
    """
    laned = with_lanes(Drawn([], tracks=[MAIN, *tracks]), "lane").tracks
    return WAIT.name if track in laned else track.name


def many(count: int, life: int = 50, distance: int = 10) -> list[Track]:
    """
    Draw tasks one after the other, a new one every ``distance``.
    """
    return [task(n, f"Task-{n} handler", n * distance, n * distance + life) for n in range(1, count + 1)]


@pytest.mark.parametrize(
    ("tracks", "count", "has_lanes"),
    [
        ("auto", MOST_TASKS, False),
        ("auto", MOST_TASKS + 1, True),
        ("lane", 3000, True),
        ("lane", 200, True),
        ("task", 3000, False),
    ],
)
def test_when(tracks: str, count: int, has_lanes: bool) -> None:
    """
    ``auto`` makes lanes above 2,000 tasks, the others always or never.
    """
    drawn = Drawn([], tracks=many(count))
    found = with_lanes(drawn, tracks)
    assert (found is not drawn) == has_lanes
    kinds = Counter(track.kind for track in found.tracks)
    assert kinds == ({"lane": 5} if has_lanes else {"task": count})


def test_who_keeps_a_track() -> None:
    """
    Long tasks keep their track, the longest where they are too many; so does the only task of a coroutine.
    """
    short = many(100, life=5)
    long = [task(200 + n, f"Task-{200 + n} worker", 0, 500 + n) for n in range(5)]
    alone = task(300, "cleanup purge", 7, 8)
    found = with_lanes(Drawn([], tracks=[MAIN, *long, *short, alone]), "lane", 3)
    assert [track.name for track in found.tracks] == [
        "main", "Task-202 worker", "Task-203 worker", "Task-204 worker", "cleanup purge",
        "worker (2 tasks)", "worker, lane 2", "handler (100 tasks)",
    ]  # fmt: skip


def test_slow_ones_come_first() -> None:
    """
    Coroutines, and the lanes of each, are in the order of their longest task.
    """
    ticks = [task(n, f"Task-{n} tick", n, n + 2) for n in range(1, 90)]
    fetches = [task(100 + n, f"Task-{100 + n} fetch", 5 * n, 5 * n + 6) for n in range(40)]
    slow = task(150, "Task-150 tick", 20, 29)
    # the first lane that is free takes a task, and that is not the slow one's
    found = with_lanes(Drawn([], tracks=[MAIN, *ticks, *fetches, slow]), "lane")
    names = [track.name for track in found.tracks[1:]]
    assert names == ["tick (90 tasks)", "tick, lane 2", "tick, lane 3", "fetch (40 tasks)", "fetch, lane 2"]
    first = next(track for track in found.tracks if track.name == "tick (90 tasks)")
    assert {each.track.id for each in found.slices() if each.frame.name == slow.name} == {first.id}
    assert [track.level for track in found.tracks[1:]] == [0, 1, 1, 0, 1]


def test_ids_are_new() -> None:
    """
    No lane has the id or place of a track, or of a task on a lane.
    """
    tracks = [
        MAIN,
        *many(50),
        *[task(n, f"Task-{n} tick", 0, 1, pid=4_194_305, tid=n - 80) for n in (81, 82)],
    ]
    found = with_lanes(Drawn([], tracks=tracks), "lane").tracks
    before, lanes = {track.id for track in tracks}, [track for track in found if track.kind == "lane"]
    assert not before & {lane.id for lane in lanes}
    assert not {(track.pid, track.tid) for track in tracks} & {(lane.pid, lane.tid) for lane in lanes}
    assert len({(lane.pid, lane.tid) for lane in lanes}) == len({lane.id for lane in lanes}) == len(lanes)


def test_late_slices_are_refused() -> None:
    """
    Begins and ends of a task that was written before are refused: they would be drawn as those of another.
    """
    first, second = many(2, life=5)
    rows = [*slices_of([second]), *slices_of([first])]
    with pytest.raises(ValueError, match="slices of 'Task-1 handler' come after those of a later task"):
        list(with_lanes(Drawn(rows, tracks=[MAIN, first, second]), "lane").begins_and_ends())


@pytest.mark.parametrize("name", sorted(SUMS))
def test_sums_are_as_without(name: str) -> None:
    """
    Formats that sum up stacks have no lanes.
    """
    drawn = drawing_of(many(30))
    with_, without = (b"".join(encoder_of(name, tracks)(drawn, {})) for tracks in ("lane", "task"))
    assert with_ == without


def script(exact: bool) -> Script:
    """
    Two thousand and some short tasks one after the other, and a long one that made them.
    """
    found = Script()
    if exact:
        found.exact()
        found.step("main", 0, 5, "m", ready=0)
    found.at(0, "main", "m", "task")
    for number in range(MOST_TASKS + 20):
        start, name = 10 * number + 10, f"Task-{number}"
        found.track(name, start, "task")
        found.recording.tracks[found.tracks[name]].root = f"f{number % 3}"
        if exact:
            found.step(name, start, start + 2, "ab", ready=start, waker="main")
            found.step(name, start + 12, start + 15, None, ready=start + 11, waker="main")
        else:
            found.at(start, name, "ab", "task")
            found.at(start + 10, name, "ac", "task")
            found.at(start + 20, name, None, "task")
    return found


@pytest.mark.parametrize("exact", [False, True], ids=["sampled", "exact"])
@pytest.mark.parametrize("name", ["json", "perfetto"])
def test_recordings(name: str, exact: bool, ask_trace: AskTrace, tmp_path: Path) -> None:
    """
    A recording of more than 2,000 tasks is written on lanes, valid, and read back as it was.
    """
    recording = script(exact).recording

    def timeline() -> Timeline:
        return Timeline(recording, fgtrace.Config(), 10 * MOST_TASKS + 300, 1)

    path, plain = tmp_path / "lanes", timeline()
    data = b"".join(encoder_of(name, "auto")(timeline(), {}))
    path.write_bytes(data)
    found = open_trace(path)
    assert Counter(found.slices()) == Counter(plain.slices())
    assert Counter(found.flows()) == Counter(plain.flows())
    assert [track.id for track in found.tracks] == [track.id for track in plain.tracks]
    tp = ask_trace(data)
    assert_valid_trace(tp)
    (count,) = tp.rows("select count(*) as n from slice where category = 'task'")
    (tracks,) = tp.rows("select count(distinct track_id) as n from slice")
    assert count["n"] == MOST_TASKS + 20
    assert tracks["n"] < 12
    path.unlink()


async def crowd() -> None:
    async def quick(number: int) -> None:
        await asyncio.sleep(number % 7 / 1000)

    for first in range(0, 2500, 50):
        await asyncio.gather(*(quick(first + number) for number in range(50)))


@pytest.mark.usefixtures("core")
@pytest.mark.parametrize(
    ("awaits", "suffix"), [("sampled", ".json"), ("exact", ".pftrace"), ("sampled", ".speedscope.json")]
)
def test_real_program(awaits: str, suffix: str, tmp_path: Path, ask_trace: AskTrace) -> None:
    """
    The tasks of a real program, on lanes and off: ``tracks`` says where; `load` sees tasks either way.
    """
    path = tmp_path / f"t{suffix}"
    with fgtrace.trace(path, hz=500, awaits=awaits, tracks="lane", max_overhead=1.0):
        asyncio.run(crowd())
    if suffix == ".speedscope.json":
        names = {each["name"] for each in orjson.loads(path.read_bytes())["profiles"]}
        assert any("quick (" in name for name in names)
        return
    assert_valid_trace(ask_trace(path))
    found = open_trace(path)
    assert {track.kind for track in found.tracks} >= {"thread", "task"}
    assert all(track.kind != "lane" for track in found.tracks)
    assert all(each.track.start <= each.start < each.end <= each.track.end for each in found.slices())
    assert found.metadata["fgtrace"]["config"]["tracks"] == "lane"
    quick = [track for track in found.tracks if track.name.endswith("quick")]
    assert len(quick) > (2400 if awaits == "exact" else 50)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.pftrace"
    path.write_bytes(b"".join(encoder_of("perfetto", "lane")(drawing_of(many(60, life=25)), {})))
    return path


def converted(*arguments: object) -> int:
    return main(["convert", "-q", *map(str, arguments)])


@pytest.mark.parametrize(("tracks", "lanes"), [("auto", 0), ("task", 0), ("lane", 3)])
def test_convert(source: Path, tmp_path: Path, tracks: str, lanes: int, ask_trace: AskTrace) -> None:
    """
    ``convert`` reads tasks, also off lanes, and ``--tracks`` says how they are written.
    """
    target = tmp_path / "out.json"
    assert converted(source, target, "--tracks", tracks) == 0
    assert sum(b'"kind":"lane"' in row for row in target.read_bytes().splitlines()) == lanes
    assert Counter(fgtrace.load(target)) == Counter(drawing_of(many(60, life=25)).slices())
    assert_valid_trace(ask_trace(target))


def test_part_of_lanes(source: Path, tmp_path: Path) -> None:
    """
    A task on a lane is found by its name as any other.
    """
    target = tmp_path / "out.json"
    assert converted(source, target, "--track", "Task-1? handler") == 0
    assert {each.track.name for each in fgtrace.load(target)} == {f"Task-{n} handler" for n in range(10, 20)}


def test_bad_tracks(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    A value other than the three is refused, and nothing is written.
    """
    assert converted(source, tmp_path / "out.json", "--tracks", "few") == 2
    assert capsys.readouterr().err == "fgtrace: bad tracks: 'few': allowed is 'auto' or 'task' or 'lane'\n"
    assert not (tmp_path / "out.json").exists()
    with pytest.raises(fgtrace.ConfigError, match="bad tracks"):
        fgtrace.Config(tracks="few")  # type: ignore[arg-type]


LANE = {"ph": "M", "name": "thread_name", "pid": 1, "tid": 1, "args": {"name": "f", "kind": "lane", "id": 3}}
WHOLE = {"ph": "X", "cat": "task", "pid": 1, "tid": 1, "ts": 5, "dur": 5, "name": "t"}
FACTS = {"task.id": 1, "task.parent": -1, "task.level": 0, "task.place": 1}


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([LANE, WHOLE], "None where a whole number was expected"),
        ([LANE, {**WHOLE, "args": {**FACTS, "task.id": "x"}}], "'x' where a whole number was expected"),
        ([LANE, {**WHOLE, "args": FACTS}, {**WHOLE, "ts": 20, "args": FACTS}], "two tracks have the same id"),
        (
            [LANE, {**WHOLE, "args": FACTS}, {"ph": "i", "ts": 1, "pid": 1, "tid": 1, "name": "flag"}],
            "on 'f' is something before its first task",
        ),
    ],
    ids=["no facts", "a bad id", "twice", "before the first"],
)
def test_bad_lanes(events: list[dict[str, Any]], why: str, tmp_path: Path) -> None:
    """
    A broken lane is one clear error.
    """
    path = tmp_path / "bad.json"
    path.write_bytes(orjson.dumps(events))
    with pytest.raises(fgtrace.TraceFormatError, match=why):
        fgtrace.load(path)
    path.unlink()


def test_names_and_labels_come_back(tmp_path: Path) -> None:
    """
    Names of any kind, and what else is known of a task, survive a lane.
    """
    names = ["a b c handler", "größe handler", "\u202e handler", "Task-5", "Task-6", ""]
    tracks = [
        task(n, name, n, n + 1, args=(("request id", "x"), ("n", n))) for n, name in enumerate(names, 1)
    ]
    path = tmp_path / "trace"
    for format_ in ("json", "perfetto"):
        path.write_bytes(b"".join(encoder_of(format_, "lane")(drawing_of(tracks), {})))
        found = open_trace(path).tracks
        assert [track.args for track in found[1:]] == [track.args for track in tracks]
        assert [track.name for track in found[1:]] == [name.replace("\u202e", " ") for name in names]
    path.unlink()


def test_parents_stay(tmp_path: Path) -> None:
    """
    A task that kept its track has the parent that it had, though that one is on a lane.
    """
    parents = [task(n, f"Task-{n} f", n, n + 30) for n in range(1, 4)]
    child = task(9, "Task-9 g", 5, 900, parent=2, level=1)
    tracks = [*parents, child, *many(4)[3:]]
    path = tmp_path / "trace"
    path.write_bytes(b"".join(encoder_of("perfetto", "lane")(drawing_of(tracks), {})))
    found = {track.id: track for track in open_trace(path).tracks}
    assert found[9] == child
    path.unlink()


def test_few_cost_nothing() -> None:
    """
    Without lanes the encoder reads the drawing itself.
    """
    drawn = drawing_of(many(10))
    assert with_lanes(drawn, "auto") is drawn
    assert encoder_of("json", "task") is encoder_of("json")


@pytest.mark.once
@pytest.mark.timeout(400)
def test_very_many_tasks(tmp_path: Path, ask_trace: AskTrace) -> None:
    """
    A program of 20,000 tasks, 100,000 every night, is a trace of few tracks that Perfetto reads without a
    loss.
    """
    tasks, at_once = 100_000 if NIGHTLY else 20_000, 1000

    async def turn() -> None:
        await asyncio.sleep(0)

    async def crowd() -> None:
        for _ in range(tasks // at_once):
            await asyncio.gather(*(turn() for _ in range(at_once)))

    path = tmp_path / "t.pftrace"
    with fgtrace.trace(path, awaits="exact", threads=False, state_frames="no"):
        asyncio.run(crowd())
    tp = ask_trace(path)
    assert tp.errors() == []
    (found,) = tp.rows(
        "select count(*) as slices, count(distinct track_id) as tracks, sum(category = 'task') as tasks "
        "from slice where dur > 0"  # flags have none
    )
    assert found["tracks"] < MOST_TASKS + at_once + 10  # own, lanes, and the loop's
    with open_trace(path) as back:
        assert back.count == found["slices"] - found["tasks"]
    assert sum(track.name.endswith("turn") for track in back.tracks) == tasks
    path.unlink()
