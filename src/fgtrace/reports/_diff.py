"""
Two traces of one program, compared: what became slower.

Two runs do not have the same tasks, nor as many. So what is compared is the time for one task: of a
coroutine's tasks the life, the time in each state, and the time at each place where they wait. Of a
place only what stays when a line is inserted counts: state, functions, what is awaited and the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from fgtrace.errors import ConfigError
from fgtrace.reports._json_schema import plain
from fgtrace.reports._state_history import WAITS, Lives
from fgtrace.reports._statistics import is_number, place_of

__all__ = ["DIFF_SCHEMA", "DIFF_VERSION", "Change", "Diff", "compare"]

DIFF_SCHEMA = "fgtrace.diff"
DIFF_VERSION = 1
#: Less than this (ns) is noise; of a sampled trace less than two ticks.
LEAST = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """
    A figure in both traces: nanoseconds for one task.

    Args:
        coroutine: of which tasks. state: in which state; ``""``: their whole life.
        site: where they waited, as ``on at file functions``; ``""``: anywhere.
        before_ns: in the first trace. after_ns: in the second.
        tasks_before: how many tasks of the coroutine the first one has. tasks_after: the second.
        is_slower: it grew by more than the threshold, and by more than what is noise.
        is_faster: it shrank so.
    """

    coroutine: str
    state: str
    site: str
    before_ns: int
    after_ns: int
    tasks_before: int
    tasks_after: int
    is_slower: bool
    is_faster: bool

    @property
    def change_ns(self) -> int:
        """
        By how much it grew.
        """
        return self.after_ns - self.before_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """
    Two traces, compared.

    Args:
        threshold: the share from which on a change counts. least_ns: what is noise.
        coroutines, states, sites: the changes, those that grew most first.
    """

    threshold: float
    least_ns: int
    coroutines: tuple[Change, ...]
    states: tuple[Change, ...]
    sites: tuple[Change, ...]

    @property
    def is_slower(self) -> bool:
        """
        Whether anything became slower.
        """
        return any(each.is_slower for each in (*self.coroutines, *self.states, *self.sites))

    def to_dict(self) -> dict[str, Any]:
        """
        The same in plain values, as in its JSON: docs/diff.schema.json.
        """
        return {"schema": DIFF_SCHEMA, "version": DIFF_VERSION, **plain(self)}

    def cut(self, top: int) -> Diff:
        """
        The same with so many changes of each table at most.
        """
        return Diff(
            threshold=self.threshold, least_ns=self.least_ns, coroutines=self.coroutines[:top],
            states=self.states[:top], sites=self.sites[:top],
        )  # fmt: skip


_ChangeKey = tuple[str, str, str]  # coroutine, state, site


@dataclass(slots=True)
class _Sums:
    """
    The sums of one trace.
    """

    tasks: dict[str, int] = field(default_factory=dict)
    times: dict[_ChangeKey, int] = field(default_factory=dict)

    def add(self, key: _ChangeKey, time: int) -> None:
        self.times[key] = self.times.get(key, 0) + time


def compare(before: Lives, after: Lives, threshold: float = 0.1) -> Diff:
    """
    Compare two traces.

    Args:
        before: the first.
        after: the second.
        threshold: a share: 0.1 is a tenth.

    Raises:
        ConfigError: the threshold is no share.
    """
    if not (is_number(threshold) and threshold >= 0):
        raise ConfigError("threshold", threshold, "allowed is a share from 0 on, such as 0.1")
    old, new = _sums(before), _sums(after)
    least = max([LEAST, *(2 * lives.tick for lives in (before, after) if not lives.is_exact)])

    def table(belongs: Callable[[_ChangeKey], bool]) -> tuple[Change, ...]:
        found = _changes(old, new, threshold, least, belongs)
        return tuple(sorted(found, key=lambda each: (-each.change_ns, each.coroutine, each.state, each.site)))

    return Diff(
        threshold=threshold,
        least_ns=least,
        coroutines=table(lambda key: not key[1]),
        states=table(lambda key: bool(key[1] and not key[2])),
        sites=table(lambda key: bool(key[2])),
    )


def _sums(lives: Lives) -> _Sums:
    found = _Sums()
    sites = [_site(lives, number) for number in range(len(lives.spots))]
    for life in lives.tasks:
        name = life.coroutine
        found.tasks[name] = found.tasks.get(name, 0) + 1
        found.add((name, "", ""), life.length)
        for state, time in lives.times(life).items():
            found.add((name, state, ""), time)
        for start, end, spot in life:
            if sites[spot]:
                found.add((name, lives.spots[spot].name, sites[spot]), end - start)
    return found


def _site(lives: Lives, number: int) -> str:
    """
    Where it waits, without the line; ``""``: it does not.
    """
    place = place_of(lives.spots[number])
    if place.state not in WAITS:
        return ""
    return " ".join(
        filter(None, (place.on, f"at {place.file}" if place.file else "", " <- ".join(place.chain)))
    )


def _changes(
    old: _Sums, new: _Sums, threshold: float, least: int, belongs: Callable[[_ChangeKey], bool]
) -> Iterator[Change]:
    for key in {**old.times, **new.times}:
        if belongs(key):
            coroutine, state, site = key
            tasks = old.tasks.get(coroutine, 0), new.tasks.get(coroutine, 0)
            before, after = (
                round(each.times.get(key, 0) / max(1, number))
                for each, number in zip((old, new), tasks, strict=True)
            )
            grew = after - before
            counts = all(tasks) and abs(grew) >= least and abs(grew) > threshold * before
            yield Change(
                coroutine=coroutine, state=state, site=site, before_ns=before, after_ns=after,
                tasks_before=tasks[0], tasks_after=tasks[1],
                is_slower=counts and grew > 0, is_faster=counts and grew < 0,
            )  # fmt: skip
