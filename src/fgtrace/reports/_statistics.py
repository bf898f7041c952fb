"""
The statistics that several answers need: percentiles, spreads and unions of time spans.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, isfinite
from typing import TypeGuard

__all__ = ["Spread", "is_number", "percentile", "spread_of", "union"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """
    The spread of a figure, ns: half of all values are at most ``p50_ns``, 95 of 100 at most ``p95_ns``.
    """

    p50_ns: int
    p95_ns: int
    max_ns: int


def percentile(ordered: Sequence[int], share: float) -> int:
    """
    Return the least value that is not below this share of all values; 0 if there are none.
    """
    return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else 0


def spread_of(values: Iterable[int]) -> Spread:
    """
    Return the spread of some values.
    """
    ordered = sorted(values)
    return Spread(
        p50_ns=percentile(ordered, 0.5), p95_ns=percentile(ordered, 0.95), max_ns=max(ordered, default=0)
    )


def is_number(value: object) -> TypeGuard[int | float]:
    """
    Return whether a value is a finite number.
    """
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


def union(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """
    Return the times that lie in at least one of some spans, by time.
    """
    found: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        elif start < end:
            found.append((start, end))
    return found
