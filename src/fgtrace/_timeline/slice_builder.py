"""
One track while it is drawn: paths in, the numbers of slices out.

Order: a track's slices come by start, the outermost first, for of two slices with the same start
and duration a viewer takes the first as the parent. A slice is complete only when it ends, so
its followers wait in line. A line that grows too long is let out early, save those that begin
together with a slice that is still open: memory is bounded by a chunk for each track, and what
matters about the order is kept.

A format that writes a slice's begin and its end apart needs no line, but strict order: that is
``in_time``. Then a long line is let out whole, what is open with the end `OPEN`; its end comes
later, behind all that happened before, as a record that starts at `BEGUN`.
"""

from __future__ import annotations

from array import array
from operator import is_

from fgtrace._model.values import Track
from fgtrace._timeline.request_slices import Outer
from fgtrace._timeline.stack_resolver import DrawnStack

__all__ = ["BEGUN", "OPEN", "SliceBuilder"]

#: Slices of one track that may wait in line for an outer one to end.
LONGEST_LINE = 4096
#: The same where they need not wait.
SHORT_LINE = 256
#: Numbers of a slice in the line.
FIELDS = 4
#: The end of a slice that has none yet.
OPEN = -1
#: The start in a record that says only when the innermost slice that was let out open has ended.
BEGUN = -1
#: The place of a slice that was let out open.
_OUT = -1


class SliceBuilder:
    """
    One track while it is drawn: its last path, the open slices, and the line.

    A slice in the making is four numbers in the line: start, end, depth and the number of its
    frame. Numbers, not objects: what waits in line would otherwise be what the garbage collector
    counts, and it would search the program's whole heap for as long as it is large.

    Args:
        track: its track.
        in_time: let slices out that are open; see the module.
        outer: what is drawn around the paths, by time.
    """

    __slots__ = ("changes", "depth", "in_time", "inner", "line", "open", "outer", "path", "track")

    def __init__(self, track: Track, *, in_time: bool = False, outer: Outer = ()) -> None:
        self.track = track
        self.outer: DrawnStack = ()
        self.inner: DrawnStack = ()
        self.depth = 0
        self.changes = list(reversed(outer))
        self.in_time = in_time
        self.path: DrawnStack = ()
        self.open: list[int] = []
        self.line: array[int] = array("q")

    def advance(self, time: int, path: DrawnStack, depth: int = 0) -> array[int] | None:
        """
        From this time on the track has this path; the part of the line that can go is returned.

        Args:
            time: ns.
            path: what is drawn within ``outer``.
            depth: it is drawn only where so much is around it.
        """
        if not (self.outer or self.changes):
            return self._draw(time, path)
        ready = array("q")
        while self.changes and self.changes[-1][0] <= time:
            at, self.outer = self.changes.pop()
            if self.inner and at < time:
                inner = self.inner if self.depth <= len(self.outer) else ()
                ready.extend(self._draw(at, (*self.outer, *inner)) or ())
        self.inner, self.depth = path, depth
        inner = () if self._comes_later() else path
        ready.extend(self._draw(time, (*self.outer, *inner) if path else ()) or ())
        return ready or None

    def _comes_later(self) -> bool:
        """
        Whether what the path is within is still to come: a late look is noted as of when it was due.
        """
        return self.depth > len(self.outer) and bool(self.changes) and len(self.changes[-1][1]) >= self.depth

    def _draw(self, time: int, path: DrawnStack) -> array[int] | None:
        kept = _kept(self.path, path)
        for place in reversed(self.open[kept:]):
            if place == _OUT:
                self.line.extend((BEGUN, time, 0, 0))
            else:
                self.line[place + 1] = time
        del self.open[kept:]
        ready = self._release(time) if self.line else None
        self.path = path
        for depth in range(kept, len(path)):
            self.open.append(len(self.line))
            self.line.extend((time, OPEN, depth, path[depth].number))
        return ready

    def _release(self, time: int) -> array[int] | None:
        """
        All of the line where nothing is open; where it grew too long, what may go early.
        """
        line = self.line
        if not self.open:
            self.line = array("q")
            return line
        if len(line) <= (SHORT_LINE if self.in_time else LONGEST_LINE) * FIELDS:
            return None
        if self.in_time:
            return self._release_open(time)
        starts = {line[place] for place in self.open}
        ready, rest = array("q"), array("q")
        for place in range(0, len(line), FIELDS):
            (rest if line[place] in starts else ready).extend(line[place : place + FIELDS])
        self.open = [place for place in range(0, len(rest), FIELDS) if rest[place + 1] == OPEN]
        self.line = rest
        return ready

    def _release_open(self, time: int) -> array[int] | None:
        """
        All of the line; but not while something begins, which may yet turn out to be of no length.
        """
        line, last = self.line, self.open[-1]
        if last != _OUT and line[last] == time:
            return None
        self.line = array("q")
        self.open = [_OUT] * len(self.open)
        return line


def _kept(old: DrawnStack, new: DrawnStack) -> int:
    """
    How many steps of a path go on.
    """
    same = list(map(is_, old, new))  # most steps are the very same, and this is C's speed
    if False not in same:
        return len(same)
    for kept in range(same.index(False), len(same)):
        before, now = old[kept], new[kept]
        if before.key != now.key:
            return kept
        if before.at != now.at:
            return kept + 1
    return len(same)
