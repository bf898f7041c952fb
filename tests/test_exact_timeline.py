"""
The timeline of exact awaits: from steps, rows and garbage collections to slices, arrows and flags.
"""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fgtrace
from fgtrace._formats.read.trace_event import read
from fgtrace._formats.write.trace_event import encode
from fgtrace._model.values import Collection, Slice
from fgtrace._recording.recording import EMPTY
from fgtrace._recording.step_records import CALLBACK, NOBODY, SELECTOR, SOON, THREAD, THREADSAFE, TIMER
from fgtrace._timeline.timeline import Timeline
from scripted import Script
from test_timeline import assert_sound
from trace_processor import assert_valid_trace
from trace_processor.fixtures import AskTrace

pytestmark = pytest.mark.pure

CONFIG = fgtrace.Config(awaits="exact", slow_callback_duration=1e-6)


def drawn(script: Script, end: int = 100, config: fgtrace.Config = CONFIG) -> Timeline:
    """
    Return the timeline of a script whose loop has exact awaits.
    """
    script.exact()
    return Timeline(script.recording, config, end, 1)


def shown(timeline: Timeline, name: str) -> list[tuple[int, int, int, str]]:
    """
    The slices of a track as (start, end, depth, name without module).
    """
    return [
        (s.start, s.end, s.depth, s.frame.name.removeprefix("m."))
        for s in timeline.slices()
        if s.track.name == name
    ]


def states(timeline: Timeline, name: str) -> list[tuple[int, int, str, str]]:
    """
    The states of a task as (start, end, state, woken by).
    """
    return [
        (s.start, s.end, s.frame.name, str(dict(s.frame.args).get("woken by", "")))
        for s in timeline.slices()
        if s.track.name == name and s.frame.category == "state"
    ]


def test_a_task_from_birth_to_end() -> None:
    """
    A task is created, runs, suspends, is woken and runs to its end, each at its own time.
    """
    script = Script()
    script.step("root", 0, 20, "a")
    script.step("kid", 20, 25, "bc", ready=10, waker="root")
    script.step("root", 30, 40, "a")
    script.step("kid", 45, 50, None, ready=35, waker="root")
    timeline = drawn(script)
    assert states(timeline, "kid") == [
        (10, 20, "runnable", "root"),
        (20, 25, "running", ""),
        (25, 35, "future wait", ""),
        (35, 45, "runnable", "root"),
        (45, 50, "running", ""),
    ]
    assert [
        (f.name, f.source.name, f.source_time, f.target.name, f.target_time) for f in timeline.flows()
    ] == [
        ("create_task", "root", 10, "kid", 20),
        ("wakes", "root", 35, "kid", 45),
    ]


def test_nothing_merges_across_a_step() -> None:
    """
    Ten equal waits in a row are ten slices.
    """
    script = Script()
    for number in range(11):
        script.step("task", 8 * number, 8 * number + 1, "ab")
    found = [state for _, _, state, _ in states(drawn(script), "task")]
    assert found.count("future wait") == 11
    assert found.count("running") == 11


RUNS = {
    "common-frames": ("abc", "abd", [], [(20, 30, 0, "running"), (20, 30, 1, "a"), (20, 30, 2, "b")]),
    "nothing-in-common": ("abc", "xbc", [], [(20, 30, 0, "running")]),
    "to-the-end": ("abc", None, [], [(20, 30, 0, "running"), (20, 30, 1, "a")]),
    "sampled": (
        "ab",
        "ab",
        [(24, "axy"), (27, "ax")],
        [
            (20, 30, 0, "running"),
            (20, 30, 1, "a"),
            (20, 24, 2, "b"),
            (24, 30, 2, "x"),
            (24, 27, 3, "y"),
        ],
    ),
    "sampled-before-it-began": (
        "ab",
        "ab",
        [(15, "ax")],
        [(20, 30, 0, "running"), (20, 30, 1, "a"), (20, 30, 2, "x")],
    ),
}


@pytest.mark.parametrize(("before", "after", "samples", "slices"), RUNS.values(), ids=RUNS.keys())
def test_what_a_step_shows(
    before: str, after: str | None, samples: list[tuple[int, str]], slices: list[tuple[int, int, int, str]]
) -> None:
    """
    A step shows the frames that were there before and after it, and from a sample on those of the sample.
    """
    script = Script()
    script.step("task", 0, 10, before)
    for time, stack in samples:
        script.sample(time, "task", stack)
    script.step("task", 20, 30, after)
    assert [each for each in shown(drawn(script), "task") if 20 <= each[0] < 30] == slices


def test_first_step_shows_its_own_coroutine() -> None:
    """
    A first step without samples shows the task's own coroutine, also where nothing else is known.
    """
    script = Script()
    script.step("task", 10, 20, "abc", ready=5, waker=THREAD)
    script.step("short", 30, 40, None, ready=25, waker="task")
    script.recording.tracks[script.tracks["short"]].root = "f"
    timeline = drawn(script)
    assert shown(timeline, "task")[:3] == [(5, 10, 0, "runnable"), (10, 20, 0, "running"), (10, 20, 1, "a")]
    assert shown(timeline, "short f") == [
        (25, 30, 0, "runnable"), (25, 30, 1, "f"), (30, 40, 0, "running"), (30, 40, 1, "f"),
    ]  # fmt: skip


def test_suspended_before_the_trace() -> None:
    """
    A task that was waiting when the trace began waits from there on; who woke it may be unknown.
    """
    script = Script()
    script.at(0, "task", "ab", "task")
    script.step("task", 50, 60, "ab")
    assert states(drawn(script), "task") == [
        (0, 50, "future wait", ""), (50, 60, "running", ""), (60, 100, "future wait", ""),
    ]  # fmt: skip


def test_running_at_the_end() -> None:
    """
    A step that the end of the trace cuts off is shown as far as samples show it.
    """
    script = Script()
    script.step("task", 0, 10, "ab")
    script.sample(70, "task", "ax")
    assert states(drawn(script), "task") == [
        (0, 10, "running", ""), (10, 70, "future wait", ""), (70, 100, "running", ""),
    ]  # fmt: skip


def test_found_ended_by_the_last_tick() -> None:
    """
    A task whose end the last tick finds a little after the trace's own end is shown until the latter.
    """
    script = Script()
    script.step("task", 0, 10, "ab")
    script.at(107, "task", None, "task")
    assert states(drawn(script), "task") == [(0, 10, "running", ""), (10, 100, "future wait", "")]


WAKERS = {
    "timer": (CALLBACK | TIMER << 24, TIMER, "timer", "timer"),
    "selector": (CALLBACK | SELECTOR << 24, SELECTOR, "selector", "selector"),
    "thread-callback": (CALLBACK | THREADSAFE << 24, THREADSAFE, "thread", "thread"),
    "callback": (CALLBACK | SOON << 24, SOON, "callback m.done", "callback"),
}


@pytest.mark.parametrize(("waker", "source", "by", "arrow"), WAKERS.values(), ids=WAKERS.keys())
def test_woken_by_a_callback(waker: int, source: int, by: str, arrow: str) -> None:
    """
    A task that a callback woke names it, and the arrow starts at the callback.
    """
    script = Script()
    script.step("task", 0, 10, "ab")
    script.callback("done", 40, 50, source)
    script.step("task", 60, 70, "ab", ready=45, waker=waker)
    timeline = drawn(script)
    assert (45, 60, "runnable", by) in states(timeline, "task")
    (flow,) = timeline.flows()
    assert (flow.name, flow.source.name, flow.source_time, flow.target_time) == (arrow, "callbacks", 45, 60)


@pytest.mark.parametrize(("waker", "by"), [(THREAD, "thread"), (NOBODY, "")], ids=["thread", "nobody"])
def test_woken_from_elsewhere(waker: int, by: str) -> None:
    """
    Another thread is named; there is no arrow without a slice to start from.
    """
    script = Script()
    script.step("task", 0, 10, "ab")
    script.step("task", 60, 70, "ab", ready=45, waker=waker)
    timeline = drawn(script)
    assert (45, 60, "runnable", by) in states(timeline, "task")
    assert list(timeline.flows()) == []


def test_a_loops_own_tracks() -> None:
    """
    A loop is busy or in its selector; its callbacks have a track, and both stand above its tasks.
    """
    script = Script()
    script.step("task", 2000, 3000, "ab")
    script.callback("tick", 3500, 4000)
    script.step("task", 9000, 9500, "ab")
    timeline = drawn(script, end=20_000, config=fgtrace.Config(awaits="exact"))
    assert shown(timeline, "event loop") == [
        (0, 2000, 0, "select"), (2000, 4000, 0, "busy"), (4000, 9000, 0, "select"),
        (9000, 9500, 0, "busy"), (9500, 20_000, 0, "select"),
    ]  # fmt: skip
    assert [s.frame.args for s in timeline.slices() if s.frame.name == "busy"] == [
        (("handles", 2),),
        (("handles", 1),),
    ]
    (tick,) = (s for s in timeline.slices() if s.track.kind == "callbacks")
    assert (tick.start, tick.end, tick.frame.name, tick.frame.file, tick.frame.line) == (
        3500, 4000, "m.tick", "m.py", 7,
    )  # fmt: skip
    assert tick.frame.args == (("source", "soon"),)
    assert [track.kind for track in timeline.tracks] == ["loop", "callbacks", "task"]
    assert len({(track.pid, track.tid) for track in timeline.tracks}) == 3
    assert len({track.id for track in timeline.tracks}) == 3


def test_loop_blocked() -> None:
    """
    A step or callback that lasts too long has a flag, with the stack that most of its samples show.
    """
    script = Script()
    script.at(0, "MainThread", "m")
    script.step("task", 0, 10, "ab")
    for time, stack in [(2010, "ax"), (2020, "ay"), (2900, "ax")]:
        script.sample(time, "task", stack)
    script.step("task", 2000, 3000, "ab")
    script.at(4100, "MainThread", "mz")
    script.callback("slow", 4000, 5000)
    script.callback("quick", 5000, 5999)
    timeline = drawn(script, end=9000)
    assert list(timeline.slices())
    assert [(i.name, i.track.name, i.time, dict(i.args)) for i in timeline.instants()] == [
        ("loop blocked", "task", 2000, {"duration (ms)": 0.001, "stack": "m.a > m.y"}),
        ("loop blocked", "callbacks", 4000, {"duration (ms)": 0.001, "stack": "m.m > m.z"}),
    ]


def test_garbage_collection() -> None:
    """
    A run of the garbage collector is the innermost frame of its thread, whatever the samples show.
    """
    script = Script()
    script.at(0, "MainThread", "ab")
    script.at(35, "MainThread", "ac")
    native = script.recording.tracks[script.tracks["MainThread"]].tid
    script.recording.note_collection(Collection(10, 20, native, 2, 77))
    script.recording.note_collection(Collection(30, 40, native, 0, 0))
    script.recording.note_collection(Collection(50, 60, native + 1, 0, 0))
    timeline = drawn(script, config=fgtrace.Config(state_frames="no"))
    assert [
        (s.start, s.end, s.depth, s.frame.name, s.frame.args) for s in timeline.slices() if s.depth > 1
    ] == [
        (10, 20, 2, "garbage collection", (("generation", 2), ("collected", 77))),
        (30, 35, 2, "garbage collection", (("generation", 0), ("collected", 0))),
        (35, 40, 2, "garbage collection", (("generation", 0), ("collected", 0))),
    ]


def test_a_sampled_loop_beside() -> None:
    """
    Tasks of a loop without steps are drawn from samples.
    """
    script = Script()
    script.recording.loops[0].exact = False
    script.at(0, "task", "ab", "task")
    script.at(50, "task", None, "task")
    script.recording.note_collection(Collection(10, 20, 1, 0, 0))
    timeline = Timeline(script.recording, CONFIG, 100, 1)
    assert shown(timeline, "task") == [(0, 50, 0, "future wait"), (0, 50, 1, "a"), (0, 50, 2, "b")]


tasks = st.sampled_from(["x", "y", "z"])
stacks = st.one_of(st.none(), st.text("abc", min_size=1, max_size=4))
wakers = st.one_of(tasks, st.sampled_from([NOBODY, THREAD, CALLBACK, CALLBACK | TIMER << 24]))
steps = st.tuples(
    st.sampled_from(["step", "step", "sample", "callback"]),
    tasks, st.integers(0, 3), st.integers(0, 3), st.integers(-1, 4), stacks, wakers,
)  # fmt: skip


def play(script: Script, moves: list[tuple[str, str, int, int, int, str | None, str | int]]) -> int:
    """
    Play moves one after the other, each of a task that has not ended, and return the end.
    """
    time, gone = 0, set[str]()
    for kind, name, pause, length, before, stack, waker in moves:
        start = time + pause
        time = start + length
        if name in gone:
            continue
        if kind == "callback":
            script.callback(name, start, time)
        elif kind == "sample":
            script.sample(start, name, stack or "a")
        else:
            known = waker if isinstance(waker, int) or waker in script.tracks else NOBODY
            ready = -1 if before < 0 else max(0, start - before)
            script.step(name, start, time, stack, ready=ready, waker=known)
            if stack is None:
                gone.add(name)
    return time + 5


@given(st.lists(steps, max_size=40), st.sampled_from(["root", "leaf", "no"]))
def test_contiguous_and_sound(
    moves: list[tuple[str, str, int, int, int, str | None, str | int]], where: str
) -> None:
    """
    The states of a task follow one another without a hole or an overlap, from its start
    to its end, and every arrow has a slice at both ends.
    """
    script = Script()
    end = play(script, moves)
    config = fgtrace.Config(state_frames=where)  # type: ignore[arg-type]
    timeline = drawn(script, end, config)
    by_track = defaultdict[int, list[Slice]](list)
    for slice_ in timeline.slices():
        by_track[slice_.track.id].append(slice_)
    for found in by_track.values():
        assert_sound(found)
        if found[0].track.kind == "task" and where == "root":
            roots = [each for each in found if each.depth == 0]
            assert [each.end for each in roots[:-1]] == [each.start for each in roots[1:]]
            assert (roots[0].start, roots[-1].end) == (found[0].track.start, found[0].track.end)
    for flow in timeline.flows():
        for track, time in ((flow.source, flow.source_time), (flow.target, flow.target_time)):
            assert any(each.start <= time < each.end for each in by_track[track.id]), flow


def test_file_is_valid_and_comes_back(ask_trace: AskTrace) -> None:
    """
    Perfetto reads all of it without a loss, and `load` knows the kinds of tracks.
    """
    script = Script()
    script.at(0, "MainThread", "m")
    script.step("root", 100, 5000, "a")
    script.step("kid", 6000, 9000, "bc", ready=3000, waker="root")
    script.callback("done", 20_000, 30_000, TIMER)
    script.step("kid", 30_000, 33_000, None, ready=25_000, waker=CALLBACK | TIMER << 24)
    script.recording.note_collection(Collection(100, 200, script.recording.tracks[0].tid, 1, 5))
    data = b"".join(encode(drawn(script, 50_000), {}))
    tp = ask_trace(data)
    assert_valid_trace(tp)
    assert {row["name"] for row in tp.rows("select name from slice where category = 'loop'")} == {
        "select", "busy", "loop blocked",
    }  # fmt: skip
    assert len(tp.rows("select id from flow")) == 2
    tracks = {slice_.track.kind: slice_.track for slice_ in read([data]).slices()}
    assert {*tracks} == {"thread", "loop", "callbacks", "task"}
    assert tracks["loop"].group == tracks["task"].group == "asyncio loop 1 (MainThread)"


def test_memory_is_bounded() -> None:
    """
    The memory for the past does not grow with the number of steps.
    """
    script = Script()
    for number in range(30_000):
        script.callback("f", 40 * number, 40 * number + 10)
        script.step("task", 40 * number + 20, 40 * number + 30, "ab", ready=40 * number + 5, waker=CALLBACK)
    timeline = drawn(script, 2_000_000, fgtrace.Config(awaits="exact", slow_callback_duration=1e-9))
    assert sum(1 for slice_ in timeline.slices() if slice_.track.kind == "task") > 90_000
    exact = timeline._exact
    assert exact is not None
    assert len(list(timeline.instants())) == 10_000
    assert all(len(late.starts) < 20_000 for late in exact._wakers._recent.values())
    assert script.stack("") == EMPTY
