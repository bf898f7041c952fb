"""
Something to write that is no recording: slices, arrows and flags as they are given.
"""

from __future__ import annotations

from collections.abc import Iterator

from fgtrace._edges import Edge, edges
from fgtrace._model import Counter, Flow, Instant, Slice, Track

__all__ = ["LOOP", "MAIN", "TASK", "Drawn"]

MAIN = Track(kind="thread", id=0, name="main", tid=7, pid=7, end=10**12)
LOOP = {"group": "asyncio loop 1", "pid": 4_194_304, "end": 10**12}
TASK = Track(kind="task", id=1, name="Task-1 f", tid=1, level=1, **LOOP)  # type: ignore[arg-type]


class Drawn:
    """
    A drawing of given slices.
    """

    def __init__(
        self,
        slices: list[Slice],
        flows: list[Flow] | None = None,
        instants: list[Instant] | None = None,
        tracks: list[Track] | None = None,
    ) -> None:
        self.tracks = tracks or list({s.track.id: s.track for s in slices}.values())
        self._slices = slices
        self._flows = flows or []
        self._instants = instants or []

    def slices(self) -> Iterator[Slice]:
        return iter(self._slices)

    def edges(self) -> Iterator[Edge]:
        return edges(self._slices)

    def flows(self) -> Iterator[Flow]:
        return iter(self._flows)

    def instants(self) -> Iterator[Instant]:
        return iter(self._instants)

    def counters(self) -> Iterator[Counter]:
        return iter([Counter(4_194_304, "ready queue", 5, 3)])
