"""
What most drawings of the benchmarks have not.
"""

from __future__ import annotations

from collections.abc import Iterator

from fgtrace._model.values import Counter, Flow, Instant, Track

__all__ = ["Bare"]


class Bare:
    """
    A drawing without arrows, counters, flags, and tasks that are alike.
    """

    def identical_tasks(self) -> list[list[Track]]:
        return []

    def flows(self) -> Iterator[Flow]:
        return iter(())

    def counters(self) -> Iterator[Counter]:
        return iter(())

    def instants(self) -> Iterator[Instant]:
        return iter(())
