"""
Something to write that is no recording: slices, arrows and flags as they are given.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from fgtrace._model.drawing import BeginEnd, begins_and_ends_by_track
from fgtrace._model.values import Counter, Flow, Frame, Instant, Slice, Track

__all__ = ["CHILD", "LOOP", "MAIN", "SLICES", "TASK", "Drawn", "crossing", "nested"]

MAIN = Track(kind="thread", id=0, name="main", tid=7, pid=7, end=10**12)
LOOP = {"group": "asyncio loop 1", "pid": 4_194_304, "end": 10**12}
TASK = Track(kind="task", id=1, name="Task-1 f", tid=1, level=1, **LOOP)  # type: ignore[arg-type]

CHILD = Track(kind="task", id=5, name="child", tid=2, parent=1, level=2, args=(("label", "x"),), **LOOP)  # type: ignore[arg-type]

#: A thread with calls, and a task that waits.
SLICES = [
    Slice(MAIN, 0, 1000, 0, Frame("running", "state")),
    Slice(MAIN, 0, 1000, 1, Frame("m.main", "python", "a.py", 3)),
    Slice(MAIN, 100, 400, 2, Frame("m.f", "python", "a.py", 7)),
    Slice(MAIN, 500, 600, 2, Frame("m.f", "python", "a.py", 8)),
    Slice(TASK, 50, 80, 0, Frame("lock wait", "state", "a.py", 9, (("on", "asyncio.Lock"),))),
]

#: A loop of another thread: what it shares with the first one is every thread id of a track.
OTHER_LOOP = {"group": "asyncio loop 2", "pid": 4_194_305, "end": 10**12}


def crossing() -> tuple[list[Slice], list[Flow]]:
    """
    Two loops whose tasks wake each other, and a thread: where an arrow must not end, there is a slice, too.

    The slices of no two tracks begin at the same time.
    """
    tracks = [
        Track(kind="task", id=10 * number + place, name=f"{number}.{place}", tid=place, level=1, **loop)  # type: ignore[arg-type]
        for number, loop in ((1, LOOP), (2, OTHER_LOOP))
        for place in (1, 2, 3)
    ]
    main = Track(kind="thread", id=0, name="main", tid=1, pid=7, end=10**12)
    slices = [
        Slice(track, 10 * turn + place, 10 * turn + place + 10, 0, Frame(f"{track.name} turn {turn}"))
        for place, track in enumerate((main, *tracks))
        for turn in range(20)
    ]
    pairs = [
        (source, target)
        for source in tracks
        for target in (tracks[4], tracks[0], tracks[2])
        if source is not target
    ]
    flows = []
    for turn, (source, target) in enumerate(pairs):
        time = 10 * turn + 8
        until = min(each.start for each in slices if each.track is target and each.start > time)
        flows.append(Flow("wakes" if turn % 3 else "create_task", source, time, target, until))
    return slices, flows


frames = st.builds(
    Frame,
    st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1),
    st.sampled_from(["python", "native", "state"]),
    st.sampled_from(["", "a.py"]),
    st.just(0) | st.integers(0, 2**32 - 1),
    st.lists(
        st.tuples(
            st.sampled_from(["on", "task", "größe"]),
            st.text("ab\n\x00é", min_size=1)
            | st.integers(-(2**63), 2**63 - 1)
            | st.booleans()
            | st.none()
            | st.lists(st.integers(0, 9), max_size=2),
        ),
        max_size=2,
        unique_by=lambda arg: arg[0],
    ).map(tuple),
).map(lambda frame: frame if frame.file else Frame(frame.name, frame.category, args=frame.args))


@st.composite
def nested(draw: st.DrawFn) -> list[Slice]:
    """
    Slices of some tracks, well nested, in the order in which they begin.
    """
    found: list[Slice] = []
    for track in draw(st.lists(st.sampled_from([MAIN, TASK, CHILD]), unique=True)):
        time, still_open = 0, list[int]()
        for step, goes_down, frame in draw(
            st.lists(st.tuples(st.integers(0, 10**10) | st.just(1), st.booleans(), frames), max_size=12)
        ):
            time += step
            if still_open and not goes_down and time > found[still_open[-1]].start:
                place = still_open.pop()
                found[place] = found[place]._replace(end=time)
            else:
                still_open.append(len(found))
                found.append(Slice(track, time, -1, len(still_open) - 1, frame))
        time += 1
        for place in still_open:
            found[place] = found[place]._replace(end=time)
    return found


class Drawn:
    """
    A drawing of given slices.
    """

    def __init__(
        self,
        slices: list[Slice],
        flows: list[Flow] | None = None,
        instants: list[Instant] | None = None,
        tracks: list[Track] | None = None,
    ) -> None:
        self.tracks = tracks or list({s.track.id: s.track for s in slices}.values())
        self.metadata: dict[str, Any] = {}
        self._slices = slices
        self._flows = flows or []
        self._instants = instants or []

    def identical_tasks(self) -> list[list[Track]]:
        return []

    def slices(self) -> Iterator[Slice]:
        return iter(self._slices)

    def begins_and_ends(self) -> Iterator[BeginEnd]:
        return begins_and_ends_by_track(self._slices)

    def flows(self) -> Iterator[Flow]:
        return iter(self._flows)

    def instants(self) -> Iterator[Instant]:
        return iter(self._instants)

    def counters(self) -> Iterator[Counter]:
        return iter([Counter(4_194_304, "ready queue", 5, 3)])
