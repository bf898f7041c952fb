"""
Computes the critical path of a task: on what its life was spent, down to the causes of its waits.

Theory of operation: a history is a row of intervals. For each interval that is a wait, the walk finds the
cause, which is the task that ended the wait; the wait was spent on what that task did meanwhile, and so on.
The window of a cause lies within the wait that it explains, so every level adds up to the one above. Equal
steps (the same task in the same state at the same place, on the same way) are added up.

A waiting task cannot wake another, so no task causes its own wait; where a trace says otherwise (a sampler
may be wrong by a tick), the walk stops.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from heapq import nlargest

from fgtrace._model.states import RUNNING
from fgtrace.reports._state_history import UNSEEN, Place, StateHistory, TrackHistory
from fgtrace.reports._wait_causes import Causes

__all__ = ["Path", "Step", "fitting", "path"]

#: The depth to which causes of causes are followed.
DEEPEST = 48
#: A path that is cut to its top leaves out what took less than this share of the task's life.
LEAST = 0.002
#: The name of the one step for all that a level leaves out.
OTHERS = "others"
#: The time of a cause before it began, and from its end until the waiting task went on.
BEFORE, AFTER = "not started", "ended"
#: Waits whose cause is not known, at a place where that of others is.
UNKNOWN = "cause not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """
    A step of a critical path: one task in one state at one place.

    Args:
        task: the task's name. place: its state, and where.
        total_ns: how long. count: how often the task came there.
        parts: what the cause of the wait did meanwhile; if there are any, they add up to ``total_ns``.
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
        task: its name. life_ns: the length of its life. parts: on what it was spent; they add up to it.
    """

    task: str
    life_ns: int
    parts: tuple[Step, ...]


def fitting(histories: StateHistory, pattern: str) -> list[TrackHistory]:
    """
    Return the tasks whose own name, or whose name in the trace, is a name or fits a pattern.
    """
    return [
        history
        for history in histories.tasks
        if any(name == pattern or fnmatchcase(name, pattern) for name in (history.name, history.track.name))
    ]


def path(histories: StateHistory, causes: Causes, history: TrackHistory, top: int | None = None) -> Path:
    """
    Return the critical path of a task.

    Args:
        histories: of the trace.
        causes: of the same.
        history: the task's.
        top: how many steps of each level to return, with the rest as one; None: all.
    """
    root = _Node()
    _Walk(histories, causes).spend(root, history, (history.start, history.end), ())
    least = 0 if top is None else history.length * LEAST
    return Path(task=history.track.name, life_ns=history.length, parts=tuple(root.steps(top, least)))


class _Node:
    """
    A step while its time is added up.
    """

    __slots__ = ("blind", "count", "parts", "place", "task", "total")

    def __init__(self, task: str = "", place: Place | None = None) -> None:
        self.task, self.place = task, place or _nowhere("")
        self.total = self.count = self.blind = 0
        self.parts: dict[tuple[int, Place], _Node] = {}

    def part(self, history: TrackHistory, place: Place, time: int) -> _Node:
        """
        Add time to the part for a task at a place, and return that part.
        """
        found = self.parts.get((history.id, place))
        if found is None:
            found = self.parts[history.id, place] = _Node(history.name, place)
        found.total += time
        found.count += 1
        return found

    def steps(self, top: int | None, least: float) -> Iterator[Step]:
        """
        Yield its parts, the longest first; those that are not among the top, or too short, as one.
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
    Walks through histories and their causes.
    """

    def __init__(self, histories: StateHistory, causes: Causes) -> None:
        self._histories = histories
        self._causes = causes
        self._places: dict[int, Place] = {}

    def spend(
        self, node: _Node, history: TrackHistory, window: tuple[int, int], above: tuple[int, ...]
    ) -> None:
        """
        Divide a window of time by what a task did in it.

        Args:
            node: gets the parts.
            history: the task's.
            window: start and end, ns.
            above: the ids of the tasks that wait for this one.
        """
        start, end = window
        above = (*above, history.id)
        if history.start > start:
            self._before(node, history, (start, min(history.start, end)), above)
        seen = 0
        for at in history.within(start, end):
            first, last, stack = history.at(at)
            first, last = max(first, start), min(last, end)
            seen += last - first
            part = node.part(history, self._place(stack), last - first)
            cause = self._cause(history, at, stack, above)
            if cause is not None:
                self.spend(part, cause, (first, last), above)
            else:
                part.blind += 1
        if history.end < end:
            node.part(history, _nowhere(AFTER), end - max(start, history.end))
        rest = min(end, history.end) - max(start, history.start) - seen
        if rest > 0:
            node.part(history, _nowhere(UNSEEN), rest)

    def _before(
        self, node: _Node, history: TrackHistory, window: tuple[int, int], above: tuple[int, ...]
    ) -> None:
        """
        Divide the time before a cause began by what its parent did.
        """
        parent = self._histories.by_id.get(history.track.parent)
        part = node.part(history, _nowhere(BEFORE), window[1] - window[0])
        if parent is not None and parent.id not in above and len(above) < DEEPEST:
            self.spend(part, parent, window, above)

    def _cause(
        self, history: TrackHistory, at: int, stack: int, above: tuple[int, ...]
    ) -> TrackHistory | None:
        if not self._causes.is_wait(stack) or len(above) >= DEEPEST:
            return None
        cause = self._causes.of(history, at)
        return cause if cause is not None and cause.id not in above else None

    def _place(self, stack: int) -> Place:
        found = self._places.get(stack)
        if found is None:
            place = self._histories.stacks[stack].place
            if not self._causes.is_wait(stack):  # of a running task the innermost function is enough
                place = replace(place, on="", chain=place.chain[:1] if place.state == RUNNING else ())
            found = self._places[stack] = place
        return found


def _nowhere(state: str) -> Place:
    return Place(state=state, on="", file="", line=0, chain=())
