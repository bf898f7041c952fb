"""
The critical path of a task: on what its life was spent, down to the causes.

Theory of operation: a life is a row of stretches. Of each that is a wait, the cause is asked for: the task
that ended it. What that task did meanwhile is what the wait was spent on, and so on. The window of
a cause lies within the wait that it explains, so every level adds up to the one above. Equal
steps (the same task in the same state at the same place, with the same way to it) are one.

A task that waits cannot wake another, so no cause is its own; a trace that says otherwise (a sampler may be
wrong by a tick) is followed no further.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from heapq import nlargest

from fgtrace._model.states import RUNNING
from fgtrace.reports._state_history import UNSEEN, Life, Lives
from fgtrace.reports._statistics import Place, place_of
from fgtrace.reports._wait_causes import Causes

__all__ = ["Path", "Step", "fitting", "path"]

#: Causes of causes that are followed.
DEEPEST = 48
#: Of a path that is cut to its top, what took less than this share of the life is left out.
LEAST = 0.002
#: What is left out of a level is one step of this name.
OTHERS = "others"
#: The time of a cause before it was there, and after its end, until who waited for it noticed.
BEFORE, AFTER = "not started", "ended"
#: Waits of which the cause is not known, at a place where it is known of others.
UNKNOWN = "cause not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """
    On what time was spent.

    Args:
        task: whose time. place: its state, and where.
        total_ns: how long. count: how often it went there.
        parts: what the task that it waited for did meanwhile; they add up to ``total_ns``, if there are any.
    """

    task: str
    place: Place
    total_ns: int
    count: int
    parts: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """
    The critical path of a task.

    Args:
        task: its name. life_ns: its life. parts: on what it was spent; they add up to it.
    """

    task: str
    life_ns: int
    parts: tuple[Step, ...]


def fitting(lives: Lives, pattern: str) -> list[Life]:
    """
    The tasks of a name, or whose name fits a pattern: by the task's name, or the one in the trace.
    """
    return [
        life
        for life in lives.tasks
        if any(name == pattern or fnmatchcase(name, pattern) for name in (life.name, life.track.name))
    ]


def path(lives: Lives, causes: Causes, life: Life, top: int | None = None) -> Path:
    """
    The critical path of a life.

    Args:
        lives: of the trace.
        causes: of the same.
        life: the task's.
        top: so many steps of each level, and what else there is as one; None: all.
    """
    root = _Node()
    _Walk(lives, causes).spend(root, life, (life.start, life.end), ())
    least = 0 if top is None else life.length * LEAST
    return Path(task=life.track.name, life_ns=life.length, parts=tuple(root.steps(top, least)))


class _Node:
    """
    A step in the making.
    """

    __slots__ = ("blind", "count", "parts", "place", "task", "total")

    def __init__(self, task: str = "", place: Place | None = None) -> None:
        self.task, self.place = task, place or _nowhere("")
        self.total = self.count = self.blind = 0
        self.parts: dict[tuple[int, Place], _Node] = {}

    def part(self, life: Life, place: Place, time: int) -> _Node:
        """
        The part for this place of this task, which takes so much more time.
        """
        found = self.parts.get((life.id, place))
        if found is None:
            found = self.parts[life.id, place] = _Node(life.name, place)
        found.total += time
        found.count += 1
        return found

    def steps(self, top: int | None, least: float) -> Iterator[Step]:
        """
        Its parts, the longest first; what is not among the top, or too short, as one.
        """
        parts = list(self.parts.values())
        if parts and self.blind:
            unknown = _Node("", _nowhere(UNKNOWN))
            unknown.total, unknown.count = self.total - sum(each.total for each in parts), self.blind
            parts.append(unknown)
        kept = nlargest(len(parts) if top is None else top, parts, key=lambda each: each.total)
        kept = [each for each in kept if each.total > least]
        for each in kept:
            yield Step(
                task=each.task, place=each.place, total_ns=each.total, count=each.count,
                parts=tuple(each.steps(top, least)),
            )  # fmt: skip
        rest = sum(each.total for each in parts) - sum(each.total for each in kept)
        if rest:
            count = sum(each.count for each in parts) - sum(each.count for each in kept)
            yield Step(task="", place=_nowhere(OTHERS), total_ns=rest, count=count)


class _Walk:
    """
    Goes through lives and their causes.
    """

    def __init__(self, lives: Lives, causes: Causes) -> None:
        self._lives = lives
        self._causes = causes
        self._places: dict[int, Place] = {}

    def spend(self, node: _Node, life: Life, window: tuple[int, int], above: tuple[int, ...]) -> None:
        """
        Divide a window of time by what a life did in it.

        Args:
            node: to whose parts it goes.
            life: whose time it is.
            window: from when to when, ns.
            above: the ids of those that wait for this one.
        """
        start, end = window
        above = (*above, life.id)
        if life.start > start:
            self._before(node, life, (start, min(life.start, end)), above)
        seen = 0
        for at in life.within(start, end):
            first, last, spot = life.at(at)
            first, last = max(first, start), min(last, end)
            seen += last - first
            part = node.part(life, self._place(spot), last - first)
            cause = self._cause(life, at, spot, above)
            if cause is not None:
                self.spend(part, cause, (first, last), above)
            else:
                part.blind += 1
        if life.end < end:
            node.part(life, _nowhere(AFTER), end - max(start, life.end))
        rest = min(end, life.end) - max(start, life.start) - seen
        if rest > 0:
            node.part(life, _nowhere(UNSEEN), rest)

    def _before(self, node: _Node, life: Life, window: tuple[int, int], above: tuple[int, ...]) -> None:
        """
        A cause was not there yet: then it is what its parent did.
        """
        parent = self._lives.by_id.get(life.track.parent)
        part = node.part(life, _nowhere(BEFORE), window[1] - window[0])
        if parent is not None and parent.id not in above and len(above) < DEEPEST:
            self.spend(part, parent, window, above)

    def _cause(self, life: Life, at: int, spot: int, above: tuple[int, ...]) -> Life | None:
        if not self._causes.is_wait(spot) or len(above) >= DEEPEST:
            return None
        cause = self._causes.of(life, at)
        return cause if cause is not None and cause.id not in above else None

    def _place(self, spot: int) -> Place:
        found = self._places.get(spot)
        if found is None:
            place = place_of(self._lives.spots[spot])
            if not self._causes.is_wait(spot):  # of what runs it is enough to say where it was
                place = replace(place, on="", chain=place.chain[:1] if place.state == RUNNING else ())
            found = self._places[spot] = place
        return found


def _nowhere(state: str) -> Place:
    return Place(state=state, on="", file="", line=0, chain=())
