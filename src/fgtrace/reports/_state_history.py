"""
The state history of a trace, from which all answers are computed: each track as intervals in one state each.

A million slices are a few hundred thousand intervals. No slice is kept; an interval is three numbers in
arrays: start, end, and the number of its `StateStack`, which says in which state the track was, and where.
The stacks are shared, since a trace shows the same few again and again.

`fgtrace.reports._history_reader` alone decides which tasks there are, and to which of them a slice belongs.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from fgtrace._model.states import RUNNABLE, RUNNING, STATES
from fgtrace._model.values import Frame, Track

__all__ = ["UNSEEN", "WAITS", "Interval", "Place", "StateHistory", "StateStack", "TrackHistory", "Wakeup"]

#: The state of time that no slice covers.
UNSEEN = "not seen"
#: The states in which a track waits for something other than the loop or the GIL.
WAITS = frozenset(state.name for state in STATES) - {RUNNING, RUNNABLE, "GIL wait"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """
    Where a task waits.

    Args:
        state: its name, as in docs/states.md. on: what is awaited; ``""``: not known.
        file: of the program's innermost own function; ``""``: not known. line: in that file, or 0.
        chain: the functions from there outwards, up to the task's own coroutine.
    """

    state: str
    on: str
    file: str
    line: int
    chain: tuple[str, ...]


class StateStack(NamedTuple):
    """
    A state, and the functions that were on the track with it.

    Args:
        state: the frame of the state's slice; for a loop that of ``busy`` or ``select``.
        chain: the functions, outermost first.
    """

    state: Frame
    chain: tuple[Frame, ...] = ()

    @property
    def name(self) -> str:
        """
        Return the state's name.
        """
        return self.state.name

    def arg(self, name: str) -> str:
        """
        Return an argument of the state, such as ``on``; ``""``: it has none.
        """
        return next((str(value) for key, value in self.state.args if key == name), "")

    @property
    def place(self) -> Place:
        """
        Return where the track is.
        """
        state = self.state
        return Place(
            state=state.name, on=self.arg("on"), file=state.file, line=state.line, chain=self.functions
        )

    @property
    def functions(self) -> tuple[str, ...]:
        """
        Return the functions from the waiting one outwards: ``Pool.acquire``, ``handler``, ...
        """
        names = [frame.name for frame in self.chain if frame.category == "python"]
        if self.state.file:
            sites = [
                place
                for place, frame in enumerate(frame for frame in self.chain if frame.category == "python")
                if (frame.file, frame.line) == (self.state.file, self.state.line)
            ]
            names = names[: sites[-1] + 1] if sites else names
        return tuple(reversed(names))


#: Start and end (ns) of a time in which a track was at one stack, and that stack's number.
Interval = tuple[int, int, int]


@dataclass(slots=True)
class TrackHistory:
    """
    The history of a task, a thread, a loop or a loop's callbacks, from its first sample to its last.

    Args:
        id: unique; its track's id, if it has a track of its own.
        track: where it is drawn.
        name: a task's name without its coroutine, or its request's. coroutine: a task's outermost function.
        start: ns from the trace's start. end: the same.
    """

    id: int
    track: Track
    name: str
    coroutine: str
    start: int
    end: int
    starts: array[int] = field(default_factory=lambda: array("q"))
    ends: array[int] = field(default_factory=lambda: array("q"))
    stacks: array[int] = field(default_factory=lambda: array("q"))

    @property
    def serves(self) -> bool:
        """
        Return whether it is a task with its request's name; an argument of the track has the task's own name.
        """
        return self.track.kind == "task" and any(name == "task" for name, _ in self.track.args)

    @property
    def title(self) -> str:
        """
        Return its name in a line: ``Task-7 app.main``, ``GET /users/{id}``.
        """
        has_both = self.coroutine not in ("", self.name) and not self.serves
        return f"{self.name} {self.coroutine}" if has_both else self.name

    @property
    def length(self) -> int:
        """
        Return its length, ns.
        """
        return self.end - self.start

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[Interval]:
        return zip(self.starts, self.ends, self.stacks, strict=True)

    def add(self, start: int, end: int, stack: int) -> None:
        """
        Add an interval, later than all others.
        """
        self.starts.append(start)
        self.ends.append(end)
        self.stacks.append(stack)

    def at(self, index: int) -> Interval:
        """
        Return the interval at an index.
        """
        return self.starts[index], self.ends[index], self.stacks[index]

    def within(self, start: int, end: int) -> range:
        """
        Return the indexes of the intervals that overlap with a time.
        """
        first = max(0, bisect_right(self.starts, start) - 1)
        if first < len(self) and self.ends[first] <= start:
            first += 1
        return range(first, bisect_right(self.starts, end - 1))


class Wakeup(NamedTuple):
    """
    An arrow from what woke a task to that task, by the ids of their histories.
    """

    name: str
    source: int
    source_time: int
    target: int
    target_time: int


@dataclass(slots=True)
class StateHistory:
    """
    The histories of all tracks, and what else of a trace the answers need.

    Args:
        start: of the trace or its part, ns. end: the same.
        tick: the time between two samples, ns. is_exact: whether every step of the tasks was noted.
        by_id: the histories. stacks: the stacks by number.
        wakeups: the arrows to tasks from what woke them.
        queues: a loop's process id -> times and lengths of its ready queue, alternating.
        holders: a waiting task's id -> the name of the task that holds its lock, as the trace ended.
    """

    start: int = 0
    end: int = 0
    tick: int = 0
    is_exact: bool = False
    by_id: dict[int, TrackHistory] = field(default_factory=dict)
    stacks: list[StateStack] = field(default_factory=list)
    wakeups: list[Wakeup] = field(default_factory=list)
    queues: dict[int, array[int]] = field(default_factory=dict)
    holders: dict[int, str] = field(default_factory=dict)

    def of(self, kind: str) -> list[TrackHistory]:
        """
        Return the histories of tracks of a kind, in display order.
        """
        return [history for history in self.by_id.values() if history.track.kind == kind]

    @property
    def tasks(self) -> list[TrackHistory]:
        """
        Return the histories of the tasks.
        """
        return self.of("task")

    def times(self, history: TrackHistory) -> dict[str, int]:
        """
        Return the ns that a track was in each state, which add up to its length; time without a slice is
        `UNSEEN`.
        """
        found: dict[str, int] = {}
        by_spot: dict[int, int] = {}
        for start, end, stack in zip(history.starts, history.ends, history.stacks, strict=True):
            by_spot[stack] = by_spot.get(stack, 0) + end - start
        for stack, time in by_spot.items():
            name = self.stacks[stack].state.name
            found[name] = found.get(name, 0) + time
        rest = history.length - sum(found.values())
        if rest > 0:
            found[UNSEEN] = rest
        return found
