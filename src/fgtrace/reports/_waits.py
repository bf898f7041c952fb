"""
Where tasks wait: by state and place; and who held what they waited for.

Who held a lock is told by who released it: with exact awaits the task that woke the next one. That
one got it when its own wait for it ended, or else (nobody was before it) had it all the time that
others waited. So each wait is divided among those who held the lock in turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import nlargest

from fgtrace._model.states import LOCK_WAIT, POOL_WAIT
from fgtrace.reports._state_history import Life, Lives
from fgtrace.reports._statistics import Place, Spread, place_of, spread_of, union
from fgtrace.reports._wait_causes import Causes

__all__ = ["Holder", "Wait", "waits"]

#: What somebody holds while others wait for it.
_HELD = (LOCK_WAIT, POOL_WAIT)
#: Holders that are followed back within one wait; what is before counts for the last one.
MOST_TURNS = 64
MOST_HOLDERS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """
    A task that had what others waited for.

    Args:
        task: its name. held_ns: how long it had it while somebody waited.
        kept_ns: how long others waited for that, together. waits: how many waits it was part of.
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
        count: how many waits; of those that were sampled it is the least that it can be.
        tasks: of how many tasks. total_ns: together.
        each: for one wait.
        holders: who held it, where that is known; the one that kept others the longest first.
    """

    place: Place
    count: int
    tasks: int
    total_ns: int
    each: Spread
    holders: tuple[Holder, ...] = ()


def waits(lives: Lives, causes: Causes, top: int | None = None) -> tuple[Wait, ...]:
    """
    The places where tasks wait, the longest first.

    Args:
        lives: of a trace.
        causes: of the same.
        top: so many; None: all.
    """
    found: dict[Place, _Sum] = {}
    sums: dict[int, _Sum] = {}  # by spot: several may show the same place
    for number, spot in enumerate(lives.spots):
        if causes.is_wait(number):
            place = place_of(spot)
            sums[number] = found.setdefault(place, _Sum(place))
    for life in lives.tasks:
        for at, (start, end, here) in enumerate(life):
            if here in sums:
                sums[here].add(life, at, end - start)
    some = [each for each in found.values() if each.total]
    longest = nlargest(len(some) if top is None else top, some, key=lambda each: each.total)
    held = _Held(lives, causes)
    return tuple(each.wait(held) for each in longest)


class _Sum:
    """
    The waits at one place, while they are counted.
    """

    def __init__(self, place: Place) -> None:
        self.total = 0
        self._place = place
        self._times: list[int] = []
        self._who: dict[int, list[int]] = {}
        self._lives: dict[int, Life] = {}
        self._is_held = place.state in _HELD

    def add(self, life: Life, at: int, time: int) -> None:
        self.total += time
        self._times.append(time)
        places = self._who.get(life.id)
        if places is None:
            places = self._who[life.id] = []
            self._lives[life.id] = life
        if self._is_held:
            places.append(at)

    def wait(self, held: _Held) -> Wait:
        """
        What came of it.
        """
        stretches = [(self._lives[who], at) for who, places in self._who.items() for at in places]
        return Wait(
            place=self._place, count=len(self._times), tasks=len(self._who), total_ns=self.total,
            each=spread_of(self._times), holders=held.holders(stretches),
        )  # fmt: skip


class _Held:
    """
    Tells who held what was waited for.
    """

    def __init__(self, lives: Lives, causes: Causes) -> None:
        self._lives = lives
        self._causes = causes

    def holders(self, stretches: list[tuple[Life, int]]) -> tuple[Holder, ...]:
        """
        The holders of what these stretches, all at one place, waited for.
        """
        times: dict[int, list[tuple[int, int]]] = {}
        for life, at in stretches:
            for who, start, end in self._turns(life, at):
                times.setdefault(who, []).append((start, end))
        found = [
            Holder(
                task=self._lives.by_id[who].track.name,
                held_ns=sum(end - start for start, end in union(spans)),
                kept_ns=sum(end - start for start, end in spans),
                waits=len(spans),
            )
            for who, spans in times.items()
        ]
        return tuple(sorted(found, key=lambda holder: (-holder.kept_ns, holder.task))[:MOST_HOLDERS])

    def _turns(self, life: Life, at: int) -> Iterator[tuple[int, int, int]]:
        """
        Who held it from when to when during a wait, the last one first.
        """
        start, until, spot = life.at(at)
        what = self._what(spot)
        holder = self._causes.of(life, at)
        for turn in range(MOST_TURNS):
            if holder is None:
                return
            got = self._got(holder, what, start, until) if turn < MOST_TURNS - 1 else None
            if got is None:
                yield holder.id, max(start, min(holder.start, until)), until
                return
            since = holder.ends[got]
            if since < until:
                yield holder.id, since, until
            holder, until = self._causes.of(holder, got), since

    def _got(self, holder: Life, what: tuple[str, str], start: int, until: int) -> int | None:
        """
        The place of the wait of its own by which a holder got it, within this time; None: before it.
        """
        for place in reversed(holder.within(start, until + 1)):
            is_over = place + 1 < len(holder) and start < holder.ends[place] <= until
            if is_over and self._what(holder.spots[place]) == what:
                return place
        return None

    def _what(self, spot: int) -> tuple[str, str]:
        found = self._lives.spots[spot]
        return found.name, found.arg("on")
