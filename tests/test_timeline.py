"""
The timeline: from observations to slices.
"""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fgtrace
import fgtrace._timeline.slice_builder
from fgtrace._model.values import Gap, Slice
from fgtrace._recording.recording import LoopEntry
from fgtrace._timeline.timeline import Timeline
from scripted import Script

pytestmark = pytest.mark.pure

NO_STATE = fgtrace.Config(state_frames="no")


def draw(
    script: Script, end: int = 100, config: fgtrace.Config = NO_STATE
) -> list[tuple[int, int, int, str]]:
    """
    The slices as (start, end, depth, name without module).
    """
    timeline = Timeline(script.recording, config, end, 1)
    return [(s.start, s.end, s.depth, s.frame.name.removeprefix("m.")) for s in timeline.slices()]


ROWS = {
    "birth": ([(0, "a")], [(0, 100, 0, "a")]),
    "later-birth": ([(30, "a")], [(30, 100, 0, "a")]),
    "call": ([(0, "a"), (10, "ab")], [(0, 100, 0, "a"), (10, 100, 1, "b")]),
    "return": ([(0, "ab"), (10, "a")], [(0, 100, 0, "a"), (0, 10, 1, "b")]),
    "other-callee": ([(0, "ab"), (10, "ac")], [(0, 100, 0, "a"), (0, 10, 1, "b"), (10, 100, 1, "c")]),
    "other-root": (
        [(0, "ab"), (10, "cb")],
        [(0, 10, 0, "a"), (0, 10, 1, "b"), (10, 100, 0, "c"), (10, 100, 1, "b")],
    ),
    "recursion": ([(0, "aa"), (10, "aaa")], [(0, 100, 0, "a"), (0, 100, 1, "a"), (10, 100, 2, "a")]),
    "same-again": ([(0, "ab"), (10, "ab"), (20, "ab")], [(0, 100, 0, "a"), (0, 100, 1, "b")]),
    "nothing-between": ([(0, "a"), (10, ""), (20, "a")], [(0, 10, 0, "a"), (20, 100, 0, "a")]),
    "death": ([(0, "ab"), (40, None)], [(0, 40, 0, "a"), (0, 40, 1, "b")]),
    "at-the-end": ([(0, "a"), (100, "ab")], [(0, 100, 0, "a")]),
}


@pytest.mark.parametrize(("seen", "drawn"), ROWS.values(), ids=ROWS.keys())
def test_one_thread(seen: list[tuple[int, str | None]], drawn: list[tuple[int, int, int, str]]) -> None:
    """
    Return the slices that the observations of one thread become.
    """
    script = Script()
    for time, stack in seen:
        script.at(time, "main", stack)
    assert draw(script) == drawn


LINES = {
    "the-callers-line": (
        ["a1b2c", "a1b3c"],
        [(0, 100, 0, "a"), (0, 100, 1, "b"), (0, 10, 2, "c"), (10, 100, 2, "c")],
        [(0, 100, 0, "a"), (0, 10, 1, "b"), (0, 10, 2, "c"), (10, 100, 1, "b"), (10, 100, 2, "c")],
    ),
    "an-outer-line": (
        ["a1b2c", "a4b2c"],
        [(0, 100, 0, "a"), (0, 10, 1, "b"), (0, 10, 2, "c"), (10, 100, 1, "b"), (10, 100, 2, "c")],
        [
            (0, 10, 0, "a"),
            (0, 10, 1, "b"),
            (0, 10, 2, "c"),
            (10, 100, 0, "a"),
            (10, 100, 1, "b"),
            (10, 100, 2, "c"),
        ],
    ),
    "the-leafs-line": (
        ["a1b2", "a1b3"],
        [(0, 100, 0, "a"), (0, 100, 1, "b"), (0, 10, 2, "call"), (10, 100, 2, "call")],
        [(0, 100, 0, "a"), (0, 10, 1, "b"), (0, 10, 2, "call"), (10, 100, 1, "b"), (10, 100, 2, "call")],
    ),
    "recursion": (
        ["a1a1c", "a1a2c"],
        [(0, 100, 0, "a"), (0, 100, 1, "a"), (0, 10, 2, "c"), (10, 100, 2, "c")],
        [(0, 100, 0, "a"), (0, 10, 1, "a"), (0, 10, 2, "c"), (10, 100, 1, "a"), (10, 100, 2, "c")],
    ),
}


@pytest.mark.parametrize("by_line", [False, True], ids=["by-function", "by-line"])
@pytest.mark.parametrize(("seen", "functions", "lines"), LINES.values(), ids=LINES.keys())
def test_line_that_changes(
    by_line: bool,
    seen: list[str],
    functions: list[tuple[int, int, int, str]],
    lines: list[tuple[int, int, int, str]],
) -> None:
    """
    A function that goes on at another line goes on, and what it calls from there is another call; with
    ``lines`` it is another slice, and its caller goes on.
    """
    script = Script()
    for number, stack in enumerate(seen):
        script.at(10 * number, "main", stack)
    config = fgtrace.Config(state_frames="no", lines=by_line)
    assert draw(script, config=config) == (lines if by_line else functions)


@pytest.mark.parametrize(
    ("where", "names"),
    [("root", ["running", "a", "b"]), ("leaf", ["a", "b", "running"]), ("no", ["a", "b"])],
    ids=["root", "leaf", "no"],
)
def test_state_frames(where: str, names: list[str]) -> None:
    """
    The state is the outermost slice, the innermost, or absent.
    """
    script = Script()
    script.at(0, "main", "ab")
    config = fgtrace.Config(state_frames=where)  # type: ignore[arg-type]
    assert [name for *_, name in draw(script, config=config)] == names


def test_deep_stack_is_elided() -> None:
    """
    A stack that is too deep to draw lacks its middle, and a frame says so.
    """
    script = Script()
    script.at(0, "main", "ab" * 100)
    drawn = draw(script)
    assert len(drawn) == 128
    assert [name for *_, name in drawn if name.startswith("<")] == ["<73 frames elided>"]


@pytest.mark.parametrize(
    ("frames", "elided"), [(127, []), (128, []), (129, ["<2 frames elided>"]), (130, ["<3 frames elided>"])]
)
def test_how_deep(frames: int, elided: list[str]) -> None:
    """
    As many frames as can be drawn are drawn; of one more, the middle is left out.
    """
    script = Script()
    script.at(0, "main", "a" * frames)
    drawn = draw(script)
    assert len(drawn) == min(frames, 128)
    assert [name for *_, name in drawn if name.startswith("<")] == elided


def test_gaps_have_a_track() -> None:
    """
    Missed ticks are slices of a track of their own.
    """
    script = Script()
    script.at(0, "main", "a")
    script.recording.gaps.append(Gap(10, 30, "late", 2))
    timeline = Timeline(script.recording, NO_STATE, 100, 1)
    gaps = [s for s in timeline.slices() if s.track.kind == "tracer"]
    assert [(s.start, s.end, s.frame.name, s.frame.args) for s in gaps] == [
        (10, 30, "late ticks", (("ticks", 2),))
    ]


def test_tree_order() -> None:
    """
    Tasks stand below the one that started them, siblings are sorted by when they were first seen and by
    number.
    """
    script = Script()
    for time, name in [(0, "Task-10"), (0, "Task-2"), (0, "root"), (5, "kid"), (7, "grandkid")]:
        script.at(time, name, "a", "task")
    tracks = script.recording.tracks
    tracks[script.tracks["kid"]].parent = script.tracks["Task-2"]
    tracks[script.tracks["grandkid"]].parent = script.tracks["kid"]
    timeline = Timeline(script.recording, NO_STATE, 100, 1)
    assert [(track.level, track.name, track.tid) for track in timeline.tracks] == [
        (0, "Task-2", 1), (1, "kid", 2), (2, "grandkid", 3), (0, "Task-10", 4), (0, "root", 5),
    ]  # fmt: skip
    assert list(timeline.slices())
    assert [(flow.source.name, flow.target.name) for flow in timeline.flows()] == [
        ("Task-2", "kid"),
        ("kid", "grandkid"),
    ]


def test_main_threads_loop_comes_first() -> None:
    """
    The loop of the main thread is number one, whichever was seen first; its counter has the same number.
    """
    script = Script()
    script.recording.loops[0].thread = "server"
    script.recording.add_loop(LoopEntry("asyncio.Loop", "MainThread"))
    script.at(0, "theirs", "a", "task")
    script.at(0, "ours", "a", "task")
    script.recording.tracks[script.tracks["ours"]].loop = 1
    script.recording.note_ready_queue(5, 1, 7)
    script.recording.note_ready_queue(6, 0, 8)
    timeline = Timeline(script.recording, NO_STATE, 100, 1)
    assert [(track.name, track.group) for track in timeline.tracks] == [
        ("ours", "asyncio loop 1 (MainThread)"),
        ("theirs", "asyncio loop 2 (server)"),
    ]
    assert [(counter.pid, counter.value) for counter in timeline.counters()] == [
        (timeline.tracks[0].pid, 7),
        (timeline.tracks[1].pid, 8),
    ]
    assert timeline.tracks[0].pid != timeline.tracks[1].pid


def test_thread_id_that_came_again() -> None:
    """
    Two threads with one native id, one after the other, are two tracks.
    """
    script = Script()
    for time, name in [(0, "first"), (50, "second")]:
        script.at(time, name, "a")
        script.recording.tracks[script.tracks[name]].tid = 77
        script.at(time + 10, name, None)
    tracks = Timeline(script.recording, NO_STATE, 100, 1).tracks
    assert len({track.tid for track in tracks}) == 2


observations = st.lists(
    st.tuples(
        st.integers(0, 3), st.sampled_from(["x", "y", "z"]), st.one_of(st.none(), st.text("abc", max_size=6))
    ),
    max_size=60,
)


@given(observations, st.sampled_from(["root", "leaf", "no"]), st.integers(1, 40))
def test_slices_nest_and_lie_in_their_track(
    seen: list[tuple[int, str, str | None]], where: str, line: int
) -> None:
    """
    Slices of any observations nest, lie within the life of their track, and come by start, outermost first.
    """
    script, time, gone = Script(), 0, set[str]()
    for step, name, stack in seen:
        time += step
        if name not in gone:
            script.at(time, name, stack)
        if stack is None:
            gone.add(name)
    config = fgtrace.Config(state_frames=where)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fgtrace._timeline.slice_builder, "LONGEST_QUEUE", line)
        drawn = list(Timeline(script.recording, config, time + 1, 1).slices())
    by_track = defaultdict[int, list[Slice]](list)
    for slice_ in drawn:
        by_track[slice_.track.id].append(slice_)
    for found in by_track.values():
        assert_sound(found)


def assert_sound(found: list[Slice]) -> None:
    """
    Assert that slices of one track nest within its life, and that of equal ones the outer comes first.
    """
    still_open: list[Slice] = []
    for slice_ in sorted(found, key=lambda each: each.start):  # stable: ties stay in the order of the file
        assert slice_.track.start <= slice_.start < slice_.end <= slice_.track.end
        while still_open and still_open[-1].end <= slice_.start:
            still_open.pop()
        assert slice_.depth == len(still_open)
        assert not still_open or slice_.end <= still_open[-1].end
        still_open.append(slice_)
