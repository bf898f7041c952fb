"""
Computes where tasks wait, by state and place, and which tasks held what they waited for.

With exact awaits the task that released a lock is known: it woke the next one. It had the lock since its own
wait for it ended, or, if it never waited, all the time that others did. So each wait is divided among the
tasks that held the lock in turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from heapq import nsmallest

from fgtrace._model.states import LOCK_WAIT, POOL_WAIT
from fgtrace.reports._state_history import Place, StateHistory, TrackHistory
from fgtrace.reports._statistics import Spread, spread_of, union
from fgtrace.reports._wait_causes import Causes

__all__ = ["Holder", "Wait", "waits"]

#: The states of waits for something that another task holds.
_HELD = (LOCK_WAIT, POOL_WAIT)
#: How many holders are followed back within one wait; the time before counts for the last of them.
MOST_FOLLOWED = 64
MOST_HOLDERS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """
    A task that held what others waited for.

    Args:
        task: its name. held_ns: how long it held it while others waited.
        kept_ns: how long others waited for that, together. waits: in how many waits it was a holder.
    """

    task: str
    held_ns: int
    kept_ns: int
    waits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """
    All waits at one place.

    Args:
        place: where, and for what.
        count: how many waits; in a sampled trace the least number that it can be.
        tasks: of how many tasks. total_ns: together.
        each: for one wait.
        holders: the tasks that held it, if known; the one that kept others the longest first.
    """

    place: Place
    count: int
    tasks: int
    total_ns: int
    each: Spread
    holders: tuple[Holder, ...] = ()


def waits(histories: StateHistory, causes: Causes, top: int | None = None) -> tuple[Wait, ...]:
    """
    Return the places where tasks wait, the longest total first.

    Args:
        histories: of a trace.
        causes: of the same.
        top: how many to return; None: all.
    """
    found: dict[Place, _Sum] = {}
    sums: dict[int, _Sum] = {}  # by stack, for several may be at the same place
    for number, stack in enumerate(histories.stacks):
        if causes.is_wait(number):
            place = stack.place
            sums[number] = found.setdefault(place, _Sum(place))
    for history in histories.tasks:
        for at, (start, end, here) in enumerate(history):
            if here in sums:
                sums[here].add(history, at, end - start)
    some = [each for each in found.values() if each.total]
    longest = nsmallest(
        len(some) if top is None else top, some, key=lambda each: (-each.total, *astuple(each.place))
    )
    finder = _HolderFinder(histories, causes)
    return tuple(each.wait(finder) for each in longest)


class _Sum:
    """
    Adds up the waits at one place.
    """

    def __init__(self, place: Place) -> None:
        self.total = 0
        self.place = place
        self._times: list[int] = []
        self._who: dict[int, list[int]] = {}
        self._histories: dict[int, TrackHistory] = {}
        self._is_held = place.state in _HELD

    def add(self, history: TrackHistory, at: int, time: int) -> None:
        self.total += time
        self._times.append(time)
        places = self._who.get(history.id)
        if places is None:
            places = self._who[history.id] = []
            self._histories[history.id] = history
        if self._is_held:
            places.append(at)

    def wait(self, finder: _HolderFinder) -> Wait:
        """
        Return the sum as a row of the report.
        """
        intervals = [(self._histories[who], at) for who, places in self._who.items() for at in places]
        return Wait(
            place=self.place, count=len(self._times), tasks=len(self._who), total_ns=self.total,
            each=spread_of(self._times), holders=finder.holders(intervals),
        )  # fmt: skip


class _HolderFinder:
    """
    Finds the tasks that held what others waited for.
    """

    def __init__(self, histories: StateHistory, causes: Causes) -> None:
        self._histories = histories
        self._causes = causes

    def holders(self, intervals: list[tuple[TrackHistory, int]]) -> tuple[Holder, ...]:
        """
        Return the holders during some waits, all at one place.
        """
        times: dict[int, list[tuple[int, int]]] = {}
        for history, at in intervals:
            for who, start, end in self._holders_in(history, at):
                times.setdefault(who, []).append((start, end))
        found = [
            Holder(
                task=self._histories.by_id[who].track.name,
                held_ns=sum(end - start for start, end in union(spans)),
                kept_ns=sum(end - start for start, end in spans),
                waits=len(spans),
            )
            for who, spans in times.items()
        ]
        return tuple(sorted(found, key=lambda holder: (-holder.kept_ns, holder.task))[:MOST_HOLDERS])

    def _holders_in(self, history: TrackHistory, at: int) -> Iterator[tuple[int, int, int]]:
        """
        Yield each holder during a wait, with start and end, the last one first.
        """
        start, until, stack = history.at(at)
        what = self._awaited(stack)
        holder = self._causes.of(history, at)
        for count in range(MOST_FOLLOWED):
            if holder is None:
                return
            got = self._got(holder, what, start, until) if count < MOST_FOLLOWED - 1 else None
            if got is None:
                yield holder.id, max(start, min(holder.start, until)), until
                return
            since = holder.ends[got]
            if since < until:
                yield holder.id, since, until
            holder, until = self._causes.of(holder, got), since

    def _got(self, holder: TrackHistory, what: tuple[str, str], start: int, until: int) -> int | None:
        """
        Return the index of the wait by which a holder got the lock within a span; None: it had it before.
        """
        for place in reversed(holder.within(start, until + 1)):
            is_over = place + 1 < len(holder) and start < holder.ends[place] <= until
            if is_over and self._awaited(holder.stacks[place]) == what:
                return place
        return None

    def _awaited(self, stack: int) -> tuple[str, str]:
        found = self._histories.stacks[stack]
        return found.name, found.arg("on")
