"""
What all answers are made of: the lives of tracks as stretches of time, each in one state.

A million slices are a few hundred thousand stretches. Nothing is kept of a slice, and a stretch is three
numbers in arrays: start, end, and the number of its `Spot`, which says in which state and where.
Spots are shared, since a trace shows the same few stacks again and again.

Which task a slice is of, and which tasks there are, is decided in `fgtrace.reports._history_reader` alone.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from fgtrace._model.states import RUNNABLE, RUNNING, STATES
from fgtrace._model.values import Frame, Track

__all__ = ["UNSEEN", "WAITS", "Flight", "Life", "Lives", "Spot", "Stretch"]

#: The state of a time of which a trace says nothing.
UNSEEN = "not seen"
#: The states in which a track waits for something other than its turn.
WAITS = frozenset(state.name for state in STATES) - {RUNNING, RUNNABLE, "GIL wait"}


class Spot(NamedTuple):
    """
    A state, and the frames that were there with it.

    Args:
        state: the face of the state's slice; for a loop that of ``busy`` and ``select``.
        chain: the functions, outermost first.
    """

    state: Frame
    chain: tuple[Frame, ...] = ()

    @property
    def name(self) -> str:
        """
        The state's name.
        """
        return self.state.name

    def arg(self, name: str) -> str:
        """
        An argument of the state, such as ``on``; ``""``: it has none.
        """
        return next((str(value) for key, value in self.state.args if key == name), "")

    @property
    def functions(self) -> tuple[str, ...]:
        """
        The functions from the one that waits outwards: ``Pool.acquire``, ``handler``, ...
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


#: From when to when (ns) a track was at which spot, by its number.
Stretch = tuple[int, int, int]


@dataclass(slots=True)
class Life:
    """
    A task, thread, loop or its callbacks, from first to last sight.

    Args:
        id: unique; that of its track where it has one of its own.
        track: where it is drawn.
        name: a task's without its coroutine, or its request's. coroutine: a task's outermost function.
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
    spots: array[int] = field(default_factory=lambda: array("q"))

    @property
    def serves(self) -> bool:
        """
        Whether it is a task that is named by its request: then an argument has its own name.
        """
        return self.track.kind == "task" and any(name == "task" for name, _ in self.track.args)

    @property
    def title(self) -> str:
        """
        Who it is, in a line: ``Task-7 app.main``, ``GET /users/{id}``.
        """
        has_both = self.coroutine not in ("", self.name) and not self.serves
        return f"{self.name} {self.coroutine}" if has_both else self.name

    @property
    def length(self) -> int:
        """
        Its length, ns.
        """
        return self.end - self.start

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[Stretch]:
        return zip(self.starts, self.ends, self.spots, strict=True)

    def add(self, start: int, end: int, spot: int) -> None:
        """
        Add a stretch, later than all that are here.
        """
        self.starts.append(start)
        self.ends.append(end)
        self.spots.append(spot)

    def at(self, place: int) -> Stretch:
        """
        The stretch at a place.
        """
        return self.starts[place], self.ends[place], self.spots[place]

    def within(self, start: int, end: int) -> range:
        """
        The places of the stretches that reach into this time.
        """
        first = max(0, bisect_right(self.starts, start) - 1)
        if first < len(self) and self.ends[first] <= start:
            first += 1
        return range(first, bisect_right(self.starts, end - 1))


class Flight(NamedTuple):
    """
    An arrow between two lives, by their ids; see `fgtrace._model.values.Flow`.
    """

    name: str
    source: int
    source_time: int
    target: int
    target_time: int


@dataclass(slots=True)
class Lives:
    """
    All of a trace that answers need.

    Args:
        start: of the trace or its part, ns. end: the same.
        tick: the time between two looks, ns. is_exact: whether tasks were not sampled.
        by_id: the lives. spots: by number.
        wakes: arrows from what woke a task; those that do not only say who its parent is.
        queues: a loop's process id -> times and lengths of its ready queue, in turn.
        holders: who waits (id) -> who holds what it waits for (name), as the trace ended.
    """

    start: int = 0
    end: int = 0
    tick: int = 0
    is_exact: bool = False
    by_id: dict[int, Life] = field(default_factory=dict)
    spots: list[Spot] = field(default_factory=list)
    wakes: list[Flight] = field(default_factory=list)
    queues: dict[int, array[int]] = field(default_factory=dict)
    holders: dict[int, str] = field(default_factory=dict)

    def of(self, kind: str) -> list[Life]:
        """
        The lives of tracks of a kind, in display order.
        """
        return [life for life in self.by_id.values() if life.track.kind == kind]

    @property
    def tasks(self) -> list[Life]:
        """
        The tasks.
        """
        return self.of("task")

    def times(self, life: Life) -> dict[str, int]:
        """
        How a life divides into states, ns; what no slice says of it is `UNSEEN`. It adds up to its length.
        """
        found: dict[str, int] = {}
        by_spot: dict[int, int] = {}
        for start, end, spot in zip(life.starts, life.ends, life.spots, strict=True):
            by_spot[spot] = by_spot.get(spot, 0) + end - start
        for spot, time in by_spot.items():
            name = self.spots[spot].state.name
            found[name] = found.get(name, 0) + time
        rest = life.length - sum(found.values())
        if rest > 0:
            found[UNSEEN] = rest
        return found
