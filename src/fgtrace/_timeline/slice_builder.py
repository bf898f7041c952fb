"""
Makes the slices of one track: stacks by time in, slices as numbers out.

Theory of operation: each stack is compared with the one before, from the outermost frame inwards. Frames that
are the same go on; the slices of the others end, and those of the new frames begin.

Order: the slices of a track come by start, outer ones before inner ones, since of two slices with the same
start and duration a viewer takes the first as the parent. A slice is complete only when it ends, so the
slices behind it wait in a queue. When the queue becomes too long, slices leave it early, except for those
that begin together with a slice that is still open. So memory is bounded by a chunk for each track, and the
order is kept where it matters.

A format that writes the begin and the end of a slice separately needs no complete slices, but all begins and
ends by time: that is ``by_time``. Then a long queue is emptied, and open slices leave it with the end `OPEN`.
The end of such a slice comes later, behind all that happened before, as a record whose start is `BEGUN`.
"""

from __future__ import annotations

from array import array
from operator import is_

from fgtrace._model.values import Track
from fgtrace._timeline.request_slices import OuterStacks
from fgtrace._timeline.stack_resolver import DrawnStack

__all__ = ["BEGUN", "OPEN", "SliceBuilder"]

#: Slices of one track that may wait in the queue for an outer one to end.
LONGEST_QUEUE = 4096
#: The same with ``by_time``, where they need not wait for it.
SHORT_QUEUE = 256
#: Numbers of a slice in the queue.
FIELDS = 4
#: The end of a slice that is open.
OPEN = -1
#: The start in a record that says when the innermost slice that left the queue open has ended.
BEGUN = -1
#: The place of a slice that left the queue open.
_OUT = -1


class SliceBuilder:
    """
    Makes the slices of one track, and keeps its last stack, its open slices, and the queue.

    A slice in the queue is four numbers: start, end, depth and the number of its frame. It is no object,
    since the garbage collector counts objects: while many of them wait, it would search the whole heap of the
    program again and again.

    Args:
        track: the track.
        by_time: whether slices leave the queue while they are open; see the module.
        outer: the frames outside the track's own stacks (requests), by time.
    """

    __slots__ = ("by_time", "changes", "depth", "drawn", "inner", "open", "outer", "queue", "track")

    def __init__(self, track: Track, *, by_time: bool = False, outer: OuterStacks = ()) -> None:
        self.track = track
        self.outer: DrawnStack = ()
        self.inner: DrawnStack = ()
        self.depth = 0
        self.changes = list(reversed(outer))
        self.by_time = by_time
        self.drawn: DrawnStack = ()
        self.open: list[int] = []
        self.queue: array[int] = array("q")

    def advance(self, time: int, drawn: DrawnStack, depth: int = 0) -> array[int] | None:
        """
        Give the track a new stack from this time on, and return the slices that can leave the queue (None:
        none).

        Args:
            time: ns.
            drawn: the stack, without ``outer``; empty: the track shows nothing.
            depth: the stack is shown only while there are at least this many outer frames.
        """
        if not (self.outer or self.changes):
            return self._draw(time, drawn)
        ready = array("q")
        while self.changes and self.changes[-1][0] <= time:
            at, self.outer = self.changes.pop()
            if self.inner and at < time:
                inner = self.inner if self.depth <= len(self.outer) else ()
                ready.extend(self._draw(at, (*self.outer, *inner)) or ())
        self.inner, self.depth = drawn, depth
        inner = () if self._comes_later() else drawn
        ready.extend(self._draw(time, (*self.outer, *inner) if drawn else ()) or ())
        return ready or None

    def _comes_later(self) -> bool:
        """
        Return whether the outer frames of the stack begin later: the sample of a late tick is noted as of
        when the tick was due.
        """
        return self.depth > len(self.outer) and bool(self.changes) and len(self.changes[-1][1]) >= self.depth

    def _draw(self, time: int, drawn: DrawnStack) -> array[int] | None:
        kept = _kept(self.drawn, drawn)
        for place in reversed(self.open[kept:]):
            if place == _OUT:
                self.queue.extend((BEGUN, time, 0, 0))
            else:
                self.queue[place + 1] = time
        del self.open[kept:]
        ready = self._release(time) if self.queue else None
        self.drawn = drawn
        for depth in range(kept, len(drawn)):
            self.open.append(len(self.queue))
            self.queue.extend((time, OPEN, depth, drawn[depth].number))
        return ready

    def _release(self, time: int) -> array[int] | None:
        """
        Return the whole queue if no slice is open; if the queue is too long, the slices that may leave it
        early.
        """
        queue = self.queue
        if not self.open:
            self.queue = array("q")
            return queue
        if len(queue) <= (SHORT_QUEUE if self.by_time else LONGEST_QUEUE) * FIELDS:
            return None
        if self.by_time:
            return self._release_open(time)
        starts = {queue[place] for place in self.open}
        ready, rest = array("q"), array("q")
        for place in range(0, len(queue), FIELDS):
            (rest if queue[place] in starts else ready).extend(queue[place : place + FIELDS])
        self.open = [place for place in range(0, len(rest), FIELDS) if rest[place + 1] == OPEN]
        self.queue = rest
        return ready

    def _release_open(self, time: int) -> array[int] | None:
        """
        Return the whole queue, unless a slice begins at this time: that one may still turn out to have no
        length.
        """
        queue, last = self.queue, self.open[-1]
        if last != _OUT and queue[last] == time:
            return None
        self.queue = array("q")
        self.open = [_OUT] * len(self.open)
        return queue


def _kept(old: DrawnStack, new: DrawnStack) -> int:
    """
    Return how many frames of a stack go on in the next one.
    """
    same = list(map(is_, old, new))  # most frames are the same objects, and `map` compares them in C
    if False not in same:
        return len(same)
    for kept in range(same.index(False), len(same)):
        before, now = old[kept], new[kept]
        if before.key != now.key:
            return kept
        if before.at != now.at:
            return kept + 1
    return len(same)
