"""
One track while it is drawn: paths in, the numbers of slices out.

Order: a track's slices come by start, the outermost first, for of two slices with the same start
and duration a viewer takes the first as the parent. A slice is complete only when it ends, so
its followers wait in line. A line that grows too long is let out early, save those that begin
together with a slice that is still open: memory is bounded by a chunk for each track, and what
matters about the order is kept.
"""

from __future__ import annotations

from array import array
from operator import is_

from fgtrace._model import Track
from fgtrace._resolve import Path

__all__ = ["Lane"]

#: Slices of one track that may wait in line for an outer one to end.
LONGEST_LINE = 4096
#: Numbers of a slice in the line.
FIELDS = 4
#: The end of a slice that has none yet.
OPEN = -1


class Lane:
    """
    One track while it is drawn: its last path, the open slices, and the line.

    A slice in the making is four numbers in the line: start, end, depth and the number of its
    frame. Numbers, not objects: what waits in line would otherwise be what the garbage collector
    counts, and it would search the program's whole heap for as long as it is large.
    """

    __slots__ = ("line", "open", "path", "track")

    def __init__(self, track: Track) -> None:
        self.track = track
        self.path: Path = ()
        self.open: list[int] = []
        self.line: array[int] = array("q")

    def advance(self, time: int, path: Path) -> array[int] | None:
        """
        From this time on the track has this path; the part of the line that can go is returned.
        """
        kept = _kept(self.path, path)
        for place in self.open[kept:]:
            self.line[place + 1] = time
        del self.open[kept:]
        ready = self._release() if self.line else None
        self.path = path
        for depth in range(kept, len(path)):
            self.open.append(len(self.line))
            self.line.extend((time, OPEN, depth, path[depth].number))
        return ready

    def _release(self) -> array[int] | None:
        """
        All of the line where nothing is open; where it grew too long, what may go early.
        """
        line = self.line
        if not self.open:
            self.line = array("q")
            return line
        if len(line) <= LONGEST_LINE * FIELDS:
            return None
        starts = {line[place] for place in self.open}
        ready, rest = array("q"), array("q")
        for place in range(0, len(line), FIELDS):
            (rest if line[place] in starts else ready).extend(line[place : place + FIELDS])
        self.open = [place for place in range(0, len(rest), FIELDS) if rest[place + 1] == OPEN]
        self.line = rest
        return ready


def _kept(old: Path, new: Path) -> int:
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
