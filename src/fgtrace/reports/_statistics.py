"""
Figures that several answers share.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, isfinite
from typing import TypeGuard

from fgtrace.reports._state_history import Spot

__all__ = ["Place", "Spread", "is_number", "percentile", "place_of", "spread_of", "union"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """
    How a figure spreads, ns: half of all are at most ``p50_ns``, 95 of 100 at most ``p95_ns``.
    """

    p50_ns: int
    p95_ns: int
    max_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """
    Where a task waits.

    Args:
        state: as in docs/states.md. on: what is awaited, ``""``: not known.
        file: of the innermost code of the program's own; ``""``: not known. line: in it, or 0.
        chain: the functions from there outwards, up to the task's own coroutine.
    """

    state: str
    on: str
    file: str
    line: int
    chain: tuple[str, ...]


def place_of(spot: Spot) -> Place:
    """
    A spot as a place.
    """
    state = spot.state
    return Place(state=state.name, on=spot.arg("on"), file=state.file, line=state.line, chain=spot.functions)


def percentile(ordered: Sequence[int], share: float) -> int:
    """
    The least value that is not below this share of all; 0 of none.
    """
    return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else 0


def spread_of(values: Iterable[int]) -> Spread:
    """
    The spread of some values.
    """
    ordered = sorted(values)
    return Spread(
        p50_ns=percentile(ordered, 0.5), p95_ns=percentile(ordered, 0.95), max_ns=max(ordered, default=0)
    )


def is_number(value: object) -> TypeGuard[int | float]:
    """
    Whether it is a number that can be reckoned with.
    """
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


def union(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """
    The times that are in one of these spans at least, by time.
    """
    found: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        elif start < end:
            found.append((start, end))
    return found
