"""
The ring: a window of a recording shows what the whole recording shows of that time, and no list grows.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

import fgtrace
from amount import times
from fgtrace._formats.write import encoder_of
from fgtrace._model.values import Collection, Gap, Slice
from fgtrace._recording.recording import FORGOTTEN, Recording
from fgtrace._recording.ring import Ring
from fgtrace._recording.window import Window
from fgtrace._timeline.timeline import Timeline
from scripted import Script
from trace_processor import assert_valid_trace
from trace_processor.fixtures import AskTrace

pytestmark = pytest.mark.pure

EVERYTHING = 1 << 40
OPTIONS = fgtrace.Config()

#: (time since the last one, what happens, to whom, stack; None: it ends)
_events = st.lists(
    st.tuples(
        st.integers(0, 30),
        st.sampled_from(["thread", "task", "step", "sample", "callback", "gap", "count", "collect", "roll"]),
        st.sampled_from("pqrs"),
        st.none() | st.text("abc", min_size=1, max_size=3),
    ),
    max_size=60,
)
Events = list[tuple[int, str, str, str | None]]
Drawn = tuple[str, int, int, int, fgtrace.Frame]


class Player:
    """
    Plays events into a recording, with a clock that only they move.
    """

    def __init__(self, length: int = 0, *, exact: bool = False) -> None:
        self.script = Script()
        self.script.recording.spills = False
        self.ring = Ring(self.script.recording, length) if length else None
        self.time = 0
        self.lives: dict[str, str] = {}
        self.born = 0
        self.last = 0  # the end of the last step: those of one loop follow one another
        self.seen: dict[str, int] = {}
        self.gap_end = 0
        self.is_exact = exact
        if exact:
            self.script.exact()

    def play(self, events: Events, budget: int = EVERYTHING) -> None:
        """
        Play; a ring is rolled where it says so.
        """
        for wait, what, who, stack in events:
            self.time += wait
            if what == "roll":
                if self.ring is not None:
                    self.ring.roll(self.time, budget)
            else:
                getattr(self, what)(who, stack)

    def life(self, who: str, kind: str, *, ends: bool) -> str | None:
        """
        The name of a thread or task: one that ended comes back as another. None: it never lived.
        """
        key = kind + who
        if key not in self.lives:
            if ends:
                return None
            self.born += 1
            self.lives[key] = f"{key}{self.born}"
        return self.lives.pop(key) if ends else self.lives[key]

    def thread(self, who: str, stack: str | None) -> None:
        name = self.life(who, "thread", ends=stack is None)
        if name is not None:
            self.script.at(self.time, name, stack)

    def task(self, who: str, stack: str | None) -> None:
        name = self.life(who, "task", ends=stack is None and not self.is_exact)
        if name is not None and not self.is_exact:
            self.script.at(self.time, name, stack, "task")
        elif name is not None and name not in self.script.tracks:  # found at the trace's start
            self.script.at(self.time, name, stack or "a", "task")

    def step(self, who: str, stack: str | None) -> None:
        name = self.life(who, "task", ends=stack is None) if self.is_exact else None
        if name is not None and self.time > self.last:
            start = self.last + (self.time - self.last) // 2
            start = max(self.last, min(start, self.seen.pop(name, start)))  # what was seen was within it
            born = self.script.recording.tracks[self.script.track(name, start, "task")].start
            self.script.step(name, max(start, born), self.time, stack, ready=max(born, self.last))
            self.last = self.time

    def sample(self, who: str, stack: str | None) -> None:
        name = self.lives.get("task" + who)
        if self.is_exact and name in self.script.tracks:
            self.seen.setdefault(str(name), self.time)
            self.script.sample(self.time, name, stack or "a")

    def callback(self, who: str, stack: str | None) -> None:
        if self.is_exact and stack and self.time > self.last:
            self.script.callback(who, self.last, self.time)
            self.last = self.time

    def gap(self, who: str, stack: str | None) -> None:
        gaps = self.script.recording.gaps
        start = max(0, self.time - ord(who), self.gap_end)
        self.gap_end = self.time
        gaps.append(Gap(start, self.time, "late", 1))

    def count(self, who: str, stack: str | None) -> None:
        self.script.recording.note_ready_queue(self.time, 0, ord(who))

    def collect(self, who: str, stack: str | None) -> None:
        if self.is_exact:
            self.script.recording.note_collection(Collection(self.time, self.time + 1, 101, 0, 1))


def drawn(recording: Recording, end: int) -> list[Drawn]:
    timeline = Timeline(recording, OPTIONS, end, 1)
    return sorted((_drawn(each) for each in timeline.slices() if each.track.kind != "tracer"), key=repr)


def _drawn(slice_: Slice) -> Drawn:
    return (slice_.track.name, slice_.start, slice_.end, slice_.depth, slice_.frame)


def clipped(whole: list[Drawn], cut: int) -> list[Drawn]:
    found = [(n, max(0, s - cut), e - cut, d, frame) for n, s, e, d, frame in whole if e > cut]
    return sorted(found, key=repr)


def window_and_whole(
    events: Events, length: int, asked: int, *, exact: bool
) -> tuple[Window, list[Drawn], int]:
    """
    The last ``asked`` ns of a ring, what the whole recording shows of that time, and its end.
    """
    whole, kept = Player(exact=exact), Player(length, exact=exact)
    whole.play(events)
    kept.play(events)
    assert kept.ring is not None
    end = kept.time + 1
    kept.ring.roll(end, EVERYTHING)
    window = Window(kept.ring, end - asked)
    return window, clipped(drawn(whole.script.recording, whole.time + 1), end - window.length), end


@times(6)
@given(_events, st.integers(1, 200), st.integers(1, 200))
@example(
    [(0, "thread", "p", "a"), (5, "roll", "p", ""), (5, "thread", "p", "ab"), (0, "roll", "p", "")], 4, 4
)
def test_window_is_the_whole_clipped(events: Events, length: int, asked: int) -> None:
    """
    What a window shows is what the whole recording shows of that time, to the nanosecond.
    """
    window, shown, end = window_and_whole(events, length, asked, exact=False)
    assert window.length >= min(asked, length, end)
    assert drawn(window, window.length) == shown


def without_args(found: list[Drawn]) -> list[tuple[object, ...]]:
    return [(*each[:4], each[4].name, each[4].category) for each in found]


@times(6)
@given(_events, st.integers(1, 200), st.integers(1, 200))
@example([(1, "step", "q", "a"), (0, "sample", "q", "a")], 1, 1)  # a tick at the very end of a step
@example([(0, "task", "q", None), (0, "sample", "q", None), (2, "step", "q", None)], 1, 3)  # and at the begin
def test_window_with_exact_awaits_is_the_whole_clipped(events: Events, length: int, asked: int) -> None:
    """
    The same with steps: one that began before the cut is cut there. By whom it was woken is not known then.
    """
    window, shown, _ = window_and_whole(events, length, asked, exact=True)
    assert without_args(drawn(window, window.length)) == without_args(shown)


@pytest.mark.parametrize("exact", [False, True], ids=["sampled", "exact"])
@times(0.25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_events, st.integers(1, 300), st.integers(0, 100_000))
def test_every_window_is_a_valid_trace(  # noqa: PLR0917 - what hypothesis draws
    exact: bool,
    ask_trace: AskTrace,
    tmp_path_factory: pytest.TempPathFactory,
    events: Events,
    length: int,
    budget: int,
) -> None:
    """
    What is dumped at any moment, however little memory there is, Perfetto reads without a complaint.
    """
    kept = Player(length, exact=exact)
    kept.play(events, budget)
    assert kept.ring is not None
    kept.ring.roll(kept.time + 1, budget)
    window = Window(kept.ring, kept.time + 1 - length)
    timeline = Timeline(window, OPTIONS, window.length, 1)
    path = tmp_path_factory.mktemp("ring") / "t.json"
    path.write_bytes(b"".join(encoder_of("json")(timeline, {"fgtrace": {"complete": True}})))
    assert_valid_trace(ask_trace(path), empty=True)


def test_ended_meanwhile() -> None:
    """
    A track whose end is known before the row that says so lives until the end of the window.
    """
    kept = Player(100)
    kept.play([(10, "task", "p", "a")])
    assert kept.ring is not None
    kept.ring.roll(30, EVERYTHING)
    kept.script.recording.tracks[kept.script.tracks["taskp1"]].end = 20
    window = Window(kept.ring, 0)
    assert Timeline(window, OPTIONS, window.length, 1).tracks[0].end == window.length == 30


@pytest.mark.parametrize("what", ["thread", "gap", "count", "collect", "step"])
def test_noted_meanwhile(what: str) -> None:
    """
    What is noted between the question for the time and the taking lies within the window, too.
    """
    kept = Player(100, exact=what in ("collect", "step"))
    kept.play([(10, "thread", "p", "a"), (20, what, "p", "ab")])
    assert kept.ring is not None
    kept.ring.roll(15, EVERYTHING)
    window = Window(kept.ring, 0)
    assert window.length == (31 if what == "collect" else 30)
    assert all(end <= window.length for _, _, end, _, _ in drawn(window, window.length))


def test_counters_and_gaps_are_clipped() -> None:
    """
    A counter begins with the value that it had at the cut, and a gap across the cut begins there.
    """
    kept = Player(100)
    kept.play([(10, "count", "p", ""), (50, "roll", "p", ""), (100, "roll", "p", ""), (5, "count", "q", "")])
    kept.play([(5, "gap", "d", ""), (0, "roll", "p", "")])
    assert kept.ring is not None
    window = Window(kept.ring, 120)
    assert list(window.counters) == [0, 0, ord("p"), 45, 0, ord("q")]
    assert window.gaps == [Gap(0, 50, "late", 1)]


def test_nothing_grows_with_time() -> None:
    """
    After many windows of short lives what is kept is what one window has.
    """
    kept = Player(1000)
    sizes: list[int] = []
    for _ in range(60):
        for number in range(200):
            kept.play([(1, "thread", "p", "a"), (1, "task", "q", "ab"), (1, "thread", "p", None)])
            kept.play(
                [(1, "task", "q", None), (0, "count", "r", "")] + [(0, "roll", "p", "")] * (number % 50 == 49)
            )
        assert kept.ring is not None
        sizes.append(kept.ring.memory - kept.ring.recording.held)
        assert len(kept.ring.chunks) <= 6
        living = [entry for entry in kept.ring.recording.tracks if entry is not FORGOTTEN]
        assert len(living) == len(kept.ring.recording.tracks) - kept.ring.recording.forgotten
    assert max(sizes[20:]) <= 1.05 * max(sizes[:20])


def test_little_memory_shortens_the_window() -> None:
    """
    What does not fit is left out from the old end; the last chunk always stays.
    """
    kept = Player(10_000)
    assert kept.ring is not None
    budget = kept.ring.memory + 20_000
    for _ in range(50):
        events: Events = [(1, "thread", "p", "a"), (1, "thread", "p", "ab")]
        kept.play([*events * 20, (0, "roll", "p", "")], budget)
        assert kept.ring.memory <= budget + 50_000
    assert 0 < kept.ring.start < kept.ring.end
    assert kept.ring.end - kept.ring.start < 10_000
    kept.ring.roll(kept.time + 1, 0)
    assert len(kept.ring.chunks) == 1
