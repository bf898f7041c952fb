"""
Compares two traces of one program: what became slower.

Two runs have different tasks and different numbers of them. So the comparison is of the time for one task:
for the tasks of a coroutine their whole life, the time in each state, and the time at each place where they
wait. A place is compared by what stays when a line is inserted: state, functions, what is awaited and the
file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from fgtrace.errors import ConfigError
from fgtrace.reports._json_schema import plain
from fgtrace.reports._state_history import WAITS, StateHistory
from fgtrace.reports._statistics import is_number

__all__ = ["DIFF_SCHEMA", "DIFF_VERSION", "Change", "Diff", "compare"]

DIFF_SCHEMA = "fgtrace.diff"
DIFF_VERSION = 1
#: A change of less than this (ns) is noise; in a sampled trace also one of less than two ticks.
LEAST = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """
    A time for one task, in both traces.

    Args:
        coroutine: of the tasks. state: the state that is compared; ``""``: their whole life.
        site: where they waited, as ``on at file functions``; ``""``: anywhere.
        before_ns: the mean time in the first trace. after_ns: in the second.
        tasks_before: how many tasks of the coroutine the first trace has. tasks_after: the second.
        is_slower: whether both traces have such tasks, and it grew by more than the threshold and at least by
            ``least_ns`` of `Diff`.
        is_faster: whether it shrank as much.
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
        Return by how much the time grew.
        """
        return self.after_ns - self.before_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """
    The comparison of two traces.

    Args:
        threshold: the share from which on a change counts. least_ns: the time from which on it does.
        coroutines, states, sites: the changes, the largest growth first.
    """

    threshold: float
    least_ns: int
    coroutines: tuple[Change, ...]
    states: tuple[Change, ...]
    sites: tuple[Change, ...]

    @property
    def is_slower(self) -> bool:
        """
        Return whether anything became slower.
        """
        return any(each.is_slower for each in (*self.coroutines, *self.states, *self.sites))

    def to_dict(self) -> dict[str, Any]:
        """
        Return the comparison as plain values, as in its JSON: docs/diff.schema.json.
        """
        return {"schema": DIFF_SCHEMA, "version": DIFF_VERSION, **plain(self)}

    def cut(self, top: int) -> Diff:
        """
        Return the comparison with at most this many changes of each table.
        """
        return Diff(
            threshold=self.threshold, least_ns=self.least_ns, coroutines=self.coroutines[:top],
            states=self.states[:top], sites=self.sites[:top],
        )  # fmt: skip


_ChangeKey = tuple[str, str, str]  # coroutine, state, site


@dataclass(slots=True)
class _Sums:
    """
    The tasks and times of one trace, added up.
    """

    tasks: dict[str, int] = field(default_factory=dict)
    times: dict[_ChangeKey, int] = field(default_factory=dict)

    def add(self, key: _ChangeKey, time: int) -> None:
        self.times[key] = self.times.get(key, 0) + time


def compare(before: StateHistory, after: StateHistory, threshold: float = 0.1) -> Diff:
    """
    Compare two traces.

    Args:
        before: the history of the first.
        after: the history of the second.
        threshold: a share: 0.1 is a tenth.

    Raises:
        ConfigError: the threshold is no share.
    """
    if not (is_number(threshold) and threshold >= 0):
        raise ConfigError("threshold", threshold, "allowed is a share from 0 on, such as 0.1")
    old, new = _sums(before), _sums(after)
    least = max([LEAST, *(2 * histories.tick for histories in (before, after) if not histories.is_exact)])

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


def _sums(histories: StateHistory) -> _Sums:
    found = _Sums()
    sites = [_site(histories, number) for number in range(len(histories.stacks))]
    for history in histories.tasks:
        name = history.coroutine
        found.tasks[name] = found.tasks.get(name, 0) + 1
        found.add((name, "", ""), history.length)
        for state, time in histories.times(history).items():
            found.add((name, state, ""), time)
        for start, end, stack in history:
            if sites[stack]:
                found.add((name, histories.stacks[stack].name, sites[stack]), end - start)
    return found


def _site(histories: StateHistory, number: int) -> str:
    """
    Return where a task waits at a stack, without the line; ``""``: it does not wait.
    """
    place = histories.stacks[number].place
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
