"""
Pairs of events in a Trace Event file: begins and ends of slices, starts and ends of arrows.

They may stand in any order in the file. Their time decides, and at one time their place.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import NamedTuple

from fgtrace._formats.read.slice_store import SliceStore
from fgtrace._formats.rows_by_track import RowsByTrack
from fgtrace._model.values import Frame

__all__ = ["Arrows", "BeginEndPairs", "Point"]


class _Begun(NamedTuple):
    """
    A slice that has no end yet.
    """

    start: int
    place: int
    frame: int


class BeginEndPairs:
    """
    Begins and ends (``B`` and ``E``, ``b`` and ``e``) by row.

    Args:
        store: where whole slices go.
    """

    def __init__(self, store: SliceStore) -> None:
        self._store = store
        self._marks = RowsByTrack(3, sort=True)  # time, place in the file, frame and whether it ends
        self._latest = 0
        self._joined: dict[tuple[int, int], int] = {}

    def add(self, row: int, time: int, place: int, frame: int, *, ends: bool) -> None:
        """
        Add a begin or an end.
        """
        self._marks.rows(row).extend((time, place, 2 * frame + ends))
        self._marks.note_grown(1)
        self._latest = max(self._latest, time)

    def settle(self) -> None:
        """
        Make slices of the pairs. An end without a begin is left out; a begin without an end lasts to the last
        event.
        """
        self._marks.settle()
        for row in self._marks.tracks:
            begun: list[_Begun] = []
            for batch in self._marks.merged(row):
                for time, place, number in batch:
                    if number & 1:
                        self._end(row, begun, time, number >> 1)
                    else:
                        begun.append(_Begun(time, place, number >> 1))
            self._close(row, begun, self._latest)
        self._marks.close()

    def _end(self, row: int, begun: list[_Begun], time: int, end: int) -> None:
        """
        End the innermost slice that an end fits, and the slices within it.
        """
        frames = self._store.frames
        for depth in range(len(begun) - 1, -1, -1):
            if _fits(frames[begun[depth].frame], frames[end]):
                begun[depth] = begun[depth]._replace(frame=self._join(begun[depth].frame, end))
                self._close(row, begun[depth:], time)
                del begun[depth:]
                return

    def _join(self, begin: int, end: int) -> int:
        """
        Return the frame of a slice of which the end has arguments, too.
        """
        frames = self._store.frames
        if not frames[end].args:
            return begin
        found = self._joined.get((begin, end))
        if found is None:
            found = self._joined[begin, end] = len(frames)
            one = frames[begin]
            args = tuple({**dict(one.args), **dict(frames[end].args)}.items())
            frames.append(Frame(one.name, one.category, one.file, one.line, args))
        return found

    def _close(self, row: int, begun: list[_Begun], time: int) -> None:
        for start, place, frame in begun:
            self._store.slice(row, start, time, place, frame)


def _fits(begin: Frame, end: Frame) -> bool:
    """
    Return whether an end may be that of a begin, whose name and category it need not repeat.
    """
    return end.name in ("", begin.name) and end.category in ("", begin.category)


class Point(NamedTuple):
    """
    An end or a step of an arrow: when (ns), as which event of the file, its phase (``s``, ``t``, ``f``),
    where, and whether it is bound to the slice that begins next (else to the one around it).
    """

    time: int
    place: int
    phase: str
    row: int
    is_next: bool = False


_Arrow = tuple[str, Point, Point]


class Arrows:
    """
    Arrows, whose points come one by one.

    Args:
        store: where whole arrows go.
    """

    def __init__(self, store: SliceStore) -> None:
        self._store = store
        self._open: dict[Hashable, tuple[str, list[Point]]] = {}
        self._late: dict[int, list[_Arrow]] = {}  # row -> arrows to a slice that begins next there

    def add(self, key: Hashable, name: str, point: Point) -> None:
        """
        Add a point to the arrow of this key.
        """
        points = self._open.setdefault(key, (name, []))[1]
        points.append(point)
        if point.phase == "f" and points[0].phase == "s":
            self._finish(*self._open.pop(key))

    def settle(self) -> None:
        """
        Make the arrows that had to wait: for their start, or for all slices.
        """
        for name, points in self._open.values():
            self._finish(name, points)
        self._open.clear()
        for row, arrows in self._late.items():
            starts = self._store.starts(row)
            start = next(starts, None)
            for name, one, other in sorted(arrows, key=lambda arrow: arrow[2]):
                while start is not None and start < other.time:
                    start = next(starts, None)
                if start is not None:
                    self._store.flow(name, one.row, one.time, row, start)

    def _finish(self, name: str, points: list[Point]) -> None:
        for one, other in _pairs(sorted(points)):
            if other.is_next:
                self._late.setdefault(other.row, []).append((name, one, other))
            else:
                self._store.flow(name, one.row, one.time, other.row, other.time)


def _pairs(points: list[Point]) -> Iterator[tuple[Point, Point]]:
    before: Point | None = None
    for point in points:
        if before is not None and point.phase != "s":
            yield before, point
        starts = point.phase == "s" or (point.phase == "t" and before is not None)
        before = point if starts else None
