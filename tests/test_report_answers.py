"""
The answers of reports, from slices that are written by hand or drawn at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fgtrace
from drawn import Drawn, nested
from fgtrace._model.states import TASK_STATES
from fgtrace._model.values import LOCK_HELD, Flow, Frame, Instant, Slice, Track
from fgtrace._timeline.timeline import Timeline
from fgtrace.reports import GROUPS, Ask, Report, Step, make_report
from fgtrace.reports._diff import compare
from fgtrace.reports._history_reader import FOREVER, read_histories
from fgtrace.reports._report import answer
from fgtrace.reports._statistics import spread_of, union
from fgtrace.reports._stuck_and_deadlocked import circles
from scripted import Script
from test_exact_timeline import drawn, play, steps

pytestmark = pytest.mark.pure

EXACT = {"fgtrace": {"awaits": "exact", "stats": {"hz": 1e9}}}
GROUP = "asyncio loop 1 (MainThread)"
ALL = Ask(top=None)
Life = Sequence[tuple[Any, int]]


def state(name: str, **args: str) -> Frame:
    """
    Return a state's frame; ``woken_by`` stands for ``woken by``.
    """
    pairs = tuple((key.replace("_", " "), value) for key, value in args.items())
    return Frame(name, "state", "a.py", 1 + sorted(TASK_STATES).index(name), pairs)


def row(
    number: int, life: Life, *, name: str = "", function: str = "", start: int = 0, parent: int = -1
) -> list[Slice]:
    """
    Return the slices of a task: its states in turn, each with its length, and its own coroutine below.
    """
    end = start + sum(length for _, length in life)
    function = function or f"f{number % 2}"
    track = Track(
        "task", number, f"{name or f'Task-{number}'} {function}", GROUP, number + 1, 4_194_304,
        parent=parent, start=start, end=end,
    )  # fmt: skip
    found, time = [], start
    for each, length in life:
        found.append(Slice(track, time, time + length, 0, each if isinstance(each, Frame) else state(each)))
        found.append(Slice(track, time, time + length, 1, Frame(f"m.{function}", "python", "a.py", 3)))
        time += length
    return found


def asked(*rows: list[Slice], flows: Sequence[Flow] = (), ask: Ask = ALL, metadata: Any = EXACT) -> Report:
    slices = [each for found in rows for each in found]
    return make_report(Drawn(slices, list(flows)), metadata, ask)


def tree(parts: tuple[Step, ...]) -> list[Any]:
    """
    Return steps as (task, state, ns, parts).
    """
    return [(step.task, step.place.state, step.total_ns, tree(step.parts)) for step in parts]


def assert_adds_up(parts: tuple[Step, ...], total: int) -> None:
    assert sum(step.total_ns for step in parts) == total
    for step in parts:
        assert step.total_ns > 0
        if step.parts:
            assert_adds_up(step.parts, step.total_ns)


lives = st.lists(
    st.tuples(
        st.lists(st.tuples(st.sampled_from(TASK_STATES), st.integers(1, 50)), min_size=1, max_size=8),
        st.integers(0, 60),
        st.integers(-1, 5),
    ),
    min_size=1,
    max_size=6,
)
arrows = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 8)), max_size=20)


@given(lives, arrows, st.sampled_from(GROUPS), st.integers(0, 100), st.none() | st.integers(1, 3))
def test_all_adds_up(
    rows: list[tuple[Life, int, int]],
    woken: list[tuple[int, int, int]],
    group: str,
    cut: int,
    top: int | None,
) -> None:
    """
    Parts add up to their whole in every table, whatever the trace says.
    """
    found = [
        row(number, life, start=start, parent=parent if parent != number else -1)
        for number, (life, start, parent) in enumerate(rows)
    ]
    flows = [
        Flow("wakes", found[source][0].track, 1, found[target][0].track, found[target][0].start + 7 * place)
        for source, target, place in woken
        if source < len(found) and target < len(found)
    ]
    is_left = any(each[0].track.end > cut for each in found)
    ask = Ask(top=top, group=group, task="*" if is_left else None, start=cut / 1e9)
    report = asked(*found, flows=flows, ask=ask)
    for each in report.groups:
        assert sum(part.total_ns for part in each.parts) == each.total_ns
        assert each.each.p50_ns <= each.each.p95_ns <= each.each.max_ns <= each.total_ns
    for loop in report.loops:
        assert loop.busy_ns + loop.idle_ns == loop.life_ns
        assert min(loop.busy_ns, loop.idle_ns) >= 0
    for path in report.paths:
        assert_adds_up(path.parts, path.life_ns)
    for wait in report.waits:
        assert sum(holder.kept_ns for holder in wait.holders) <= wait.total_ns
        assert all(holder.held_ns <= holder.kept_ns for holder in wait.holders)


@given(st.lists(steps, max_size=40))
def test_what_was_recorded_adds_up(
    moves: list[tuple[str, str, int, int, int, str | None, str | int]],
) -> None:
    """
    For a recording each task's states add up to its life, wherever the state is drawn.
    """
    reports = []
    for where in ("root", "leaf"):
        script = Script()
        end = play(script, moves)
        timeline = drawn(script, end, fgtrace.Config(state_frames=where))
        found = read_histories(timeline, EXACT)
        for life in found.tasks:
            assert sum(found.times(life).values()) == life.length
            assert "not seen" not in found.times(life)
        reports.append(
            make_report(
                timeline_again(script, end, where), EXACT, replace(ALL, task="*") if found.tasks else ALL
            )
        )
    assert reports[0].groups == reports[1].groups
    assert reports[0].loops == reports[1].loops
    for path in reports[0].paths:
        assert_adds_up(path.parts, path.life_ns)


def timeline_again(script: Script, end: int, where: str) -> Timeline:
    """
    Return another timeline of the same recording, for a timeline is drawn once.
    """
    return Timeline(script.recording, fgtrace.Config(state_frames=where), end, 1)  # type: ignore[arg-type]


def test_path_down_to_the_cause() -> None:
    """
    If a waits for b, b for c, and c for its socket, then a's time went to that socket.
    """
    a = row(0, [("running", 2), ("task wait", 10), ("running", 3)])
    b = row(1, [("runnable", 3), (state("lock wait", on="Lock"), 7), ("running", 2)])
    c = row(2, [("I/O wait", 9), ("running", 1)])
    flows = [
        Flow("wakes", b[0].track, 12, a[0].track, 12),
        Flow("wakes", c[0].track, 10, b[0].track, 10),
    ]
    path = asked(a, b, c, flows=flows, ask=Ask(task="Task-0")).paths[0]
    assert (path.task, path.life_ns) == ("Task-0 f0", 15)
    assert tree(path.parts) == [
        ("Task-0", "task wait", 10, [
            ("Task-1", "lock wait", 7, [("Task-2", "I/O wait", 6, []), ("Task-2", "running", 1, [])]),
            ("Task-1", "running", 2, []),
            ("Task-1", "runnable", 1, []),
        ]),
        ("Task-0", "running", 5, []),
    ]  # fmt: skip


def test_path_before_and_after_the_cause() -> None:
    """
    The time before a cause began is what its creator did; the time after its end has no parts.
    """
    a = row(0, [("queue wait", 20), ("running", 1)])
    maker = row(1, [("sleep", 8), ("running", 30)])
    b = row(2, [("running", 9)], start=8, parent=1)
    path = asked(
        a, maker, b, flows=[Flow("wakes", b[0].track, 17, a[0].track, 20)], ask=Ask(task="Task-0")
    ).paths[0]
    assert tree(path.parts[:1]) == [
        ("Task-0", "queue wait", 20, [
            ("Task-2", "running", 9, []),
            ("Task-2", "not started", 8, [("Task-1", "sleep", 8, [])]),
            ("Task-2", "ended", 3, []),
        ]),
    ]  # fmt: skip


def test_path_of_a_sampled_gather() -> None:
    """
    Without wakeups a task waits for the child that ended last, within a tick.
    """
    a = row(0, [("task wait", 100), ("task wait", 1)])
    short = row(1, [("sleep", 30)], parent=0)
    long = row(2, [("I/O wait", 95)], parent=0)
    later = row(3, [("sleep", 20)], start=98, parent=0)
    sampled = {"fgtrace": {"awaits": "sampled", "config": {"hz": 1e8}}}
    path = asked(a, short, long, later, ask=Ask(task="Task-0"), metadata=sampled).paths[0]
    assert tree(path.parts)[0][3][0] == ("Task-2", "I/O wait", 95, [])


def test_path_follows_no_circle() -> None:
    """
    Two tasks that woke each other at one time are followed once.
    """
    a, b = row(0, [("lock wait", 10), ("running", 1)]), row(1, [("lock wait", 10), ("running", 1)])
    flows = [Flow("wakes", x[0].track, 10, y[0].track, 10) for x, y in ((a, b), (b, a))]
    path = asked(a, b, flows=flows, ask=Ask(task="Task-0")).paths[0]
    assert tree(path.parts) == [
        ("Task-0", "lock wait", 10, [("Task-1", "lock wait", 10, [])]),
        ("Task-0", "running", 1, []),
    ]


def test_who_held_the_lock() -> None:
    """
    Ten tasks wait for one that holds the lock; those that get it in turn hold it for a moment each.
    """
    lock = state("lock wait", on="asyncio.Lock")
    holder = row(0, [("sleep", 50), ("running", 60)])
    waiting = [row(number, [(lock, 49 + number), ("running", 1)], function="f") for number in range(1, 11)]
    ready = [holder, *waiting]
    flows = [
        Flow("wakes", ready[number - 1][0].track, 49 + number, ready[number][0].track, 49 + number)
        for number in range(1, 11)
    ]
    report = asked(*ready, flows=flows)
    (wait,) = (each for each in report.waits if each.place.on)
    assert (wait.count, wait.tasks, wait.total_ns) == (10, 10, sum(range(50, 60)))
    first = wait.holders[0]
    assert (first.task, first.held_ns, first.kept_ns, first.waits) == ("Task-0 f0", 50, 500, 10)
    assert (wait.holders[1].task, wait.holders[1].held_ns, wait.holders[1].kept_ns) == ("Task-1 f", 1, 9)


def test_blocked_and_kept_waiting() -> None:
    """
    A long step counts the tasks that were ready meanwhile, not those that were ready before, or asleep.
    """
    report = asked(
        row(0, [("sleep", 10), ("running", 100), ("sleep", 10)]),
        row(1, [("runnable", 50), ("running", 1), ("sleep", 60)]),
        row(2, [("sleep", 30), ("runnable", 80), ("running", 1)]),
        row(3, [("runnable", 10), ("running", 1), ("sleep", 100)]),
        ask=Ask(slow_callback_duration=100e-9),
    )
    (blocked,) = report.blocked
    assert (blocked.name, blocked.start_ns, blocked.duration_ns) == ("Task-0 m.f0", 10, 100)
    assert blocked.kept_waiting == 2
    assert report.loops[0].longest_ns == 100
    assert (report.loops[0].late_max_ns, report.loops[0].steps) == (80, 4)


def test_lateness_of_each_step() -> None:
    """
    A step that came at once is not late, whatever the one before was.
    """
    task = row(0, [("runnable", 30), ("running", 5), ("sleep", 10), ("running", 5), ("sleep", 10)])
    others = [
        row(number, [("sleep", 10), ("running", 5), ("sleep", 40 + number)]) for number in range(1, 100)
    ]
    loop = asked(task, *others).loops[0]
    assert (loop.steps, loop.late_max_ns, loop.late_p99_ns) == (101, 30, 0)


def test_stuck_and_in_a_circle() -> None:
    """
    A task that waits all along is stuck; two that wait for each other, or one for itself, are a deadlock.
    """
    sleeper = row(0, [("sleep", 100)])
    one = row(1, [("running", 40), (state("task wait", task="two"), 60)], name="one")
    two = row(2, [("running", 30), (state("task wait", task="one"), 70)], name="two")
    still = row(3, [("running", 1), (state("event wait"), 99)], name="still")
    moved = row(4, [("sleep", 10), (state("event wait"), 90)], name="moved")
    selfish = row(5, [("running", 60), (state("lock wait"), 40)], name="selfish")
    slices = [each for found in (sleeper, one, two, still, moved, selfish) for each in found]
    flag = Instant(LOCK_HELD, selfish[0].track, 99, (("by", "selfish"),))
    report = make_report(Drawn(slices, instants=[flag]), EXACT, ALL)
    assert [each.task for each in report.stuck] == ["still f1", "two f0", "one f1"]
    assert [each.tasks for each in report.cycles] == [("one f1", "two f0"), ("selfish f1",)]


@given(st.dictionaries(st.integers(0, 9), st.integers(0, 9)))
def test_circles(follows: dict[int, int]) -> None:
    """
    Each circle is found once, and none is missing.
    """
    found = circles(follows)
    for circle in found:
        assert [follows[each] for each in circle] == [*circle[1:], circle[0]]
        assert min(circle) == circle[0]
    on_one = {each for each in follows if each in way(follows, each)}
    assert sorted(each for circle in found for each in circle) == sorted(on_one)


def way(follows: dict[int, int], start: int) -> set[int]:
    """
    Return all nodes that can be reached from one.
    """
    found: set[int] = set()
    at = follows.get(start)
    while at is not None and at not in found:
        found.add(at)
        at = follows.get(at)
    return found


@pytest.mark.parametrize(
    ("values", "figures"),
    [([], (0, 0, 0)), ([5], (5, 5, 5)), ([1, 2], (1, 2, 2)), (range(1, 101), (50, 95, 100))],
    ids=["none", "one", "two", "hundred"],
)
def test_spread(values: Sequence[int], figures: tuple[int, int, int]) -> None:
    """
    Half of all values are at most the median, and so on; each figure is one of the values.
    """
    spread = spread_of(values)
    assert (spread.p50_ns, spread.p95_ns, spread.max_ns) == figures


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30))))
def test_union(spans: list[tuple[int, int]]) -> None:
    """
    The union covers what the spans cover, once.
    """
    found = union(spans)
    covered = [time for start, end in found for time in range(start, end)]
    assert len(covered) == len(set(covered))
    assert set(covered) == {time for start, end in spans for time in range(start, end)}


def test_a_part_of_a_trace() -> None:
    """
    In a part of a trace only that part counts, and lives end where it ends.
    """
    report = asked(row(0, [("sleep", 100), ("running", 50)]), ask=Ask(start=90e-9, end=120e-9))
    assert (report.start_ns, report.duration_ns) == (90, 30)
    assert {part.name: part.total_ns for part in report.groups[0].parts} == {"sleep": 10, "running": 20}


def test_slower() -> None:
    """
    The time of one task is compared, however many there are; noise does not count.
    """
    ms = 1_000_000
    slow, quick = state("lock wait", on="Lock"), state("sleep")
    old = read_histories(Drawn(row(0, [(slow, 10 * ms), (quick, 5 * ms)])), EXACT)
    new = read_histories(
        Drawn([
            *row(0, [(slow, 20 * ms), (quick, 5 * ms + 10)]),
            *row(2, [(slow, 14 * ms), (quick, 5 * ms)]),
        ]),
        EXACT,
    )  # fmt: skip
    diff = compare(old, new, 0.2)
    (coroutine,) = diff.coroutines
    assert (coroutine.before_ns, coroutine.after_ns, coroutine.is_slower) == (15 * ms, 22 * ms + 5, True)
    assert {(each.state, each.is_slower) for each in diff.states} == {("lock wait", True), ("sleep", False)}
    assert [each.site for each in diff.sites if each.is_slower] == ["Lock at a.py m.f0"]
    assert diff.is_slower
    assert not compare(old, new, 2.0).is_slower
    assert not compare(old, old, 0).is_slower
    back = compare(new, old, 0.2)
    assert not back.is_slower
    assert back.coroutines[0].is_faster


@pytest.mark.parametrize(
    "bad",
    [
        {"top": 0}, {"top": 1.5}, {"top": "x"}, {"group": "thread"}, {"slow_callback_duration": 0},
        {"slow_callback_duration": float("nan")}, {"start": -1}, {"start": 2, "end": 1}, {"end": "x"},
    ],
    ids=str,
)  # fmt: skip
def test_bad_questions(bad: dict[str, Any]) -> None:
    """
    A value that is not allowed raises an error that says what is.
    """
    with pytest.raises(fgtrace.ConfigError, match="allowed is"):
        Ask(**bad)


def test_bad_threshold() -> None:
    """
    A threshold that is no share raises an error.
    """
    with pytest.raises(fgtrace.ConfigError, match="threshold"):
        compare(read_histories(Drawn([]), {}), read_histories(Drawn([]), {}), -1)


def test_an_empty_trace() -> None:
    """
    The report of an empty trace is empty.
    """
    report = asked()
    assert (report.tasks, report.duration_ns, report.groups, report.loops) == (0, 0, (), ())


@given(nested(), st.integers(0, 10**10))
def test_slices_or_begins_and_ends(slices: list[Slice], cut: int) -> None:
    """
    Whole slices give the same histories as their begins and ends.
    """
    faces = [state("sleep"), state("running"), Frame("m.f"), Frame("m.g", "native"), Frame("busy", "loop")]
    slices = [
        each._replace(frame=faces[len(each.frame.name + each.frame.category) % len(faces)]) for each in slices
    ]
    slices.append(row(77, [("sleep", 5)])[0])
    drawing = Drawn(slices)
    first, second = (
        read_histories(drawing, EXACT, (cut, FOREVER), in_order=in_order) for in_order in (False, True)
    )
    assert answer(second, ALL) == answer(first, ALL)
    assert [life.length for life in second.by_id.values()] == [life.length for life in first.by_id.values()]


def test_slices_that_overlap() -> None:
    """
    Slices that overlap in part, or are not in order, are refused either way.
    """
    track = row(0, [("sleep", 100)])[0].track
    for spans in (((0, 10), (5, 15)), ((5, 10), (0, 3))):
        slices = [Slice(track, *span, 0, state("sleep")) for span in spans]
        for in_order in (False, True):
            with pytest.raises(ValueError, match="overlaps another slice"):
                read_histories(Drawn(slices), EXACT, in_order=in_order)


def test_order_of_a_file_does_not_matter() -> None:
    """
    The slices of a file may come in any order of tracks.
    """
    rows = [row(number, [("sleep", 10 + number), ("running", 5)]) for number in range(4)]
    slices = [each for found in rows for each in found]
    shuffled = sorted(slices, key=lambda each: (-each.track.id, each.start, -each.end))
    tracks = [found[0].track for found in rows]
    assert make_report(Drawn(slices, tracks=tracks), EXACT, ALL) == make_report(
        Drawn(shuffled, tracks=tracks), EXACT, ALL
    )
