"""
The timeline: a recording in, slices out. Pure: no clock, no bytes.

Theory of operation: for each track, the path of an observation is compared with the one before,
from the outermost step inwards. What is the same goes on; what is not ends, and the rest of the
new path begins. So equal samples merge, and slices nest by construction.

Order: a track's slices come by start, the outermost first, for of two slices with the same start
and duration a viewer takes the first as the parent. A slice is complete only when it ends, so
its followers wait in line. A line that grows too long is let out early, save those that begin
together with a slice that is still open: memory is bounded by a chunk for each track, and what
matters about the order is kept.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from operator import is_

from fgtrace._config import Options
from fgtrace._model import Counter, Flow, Frame, Slice, Track
from fgtrace._recording import GONE, Recording
from fgtrace._resolve import Path, Resolver
from fgtrace._tracks import LOOP_PID, loop_order, make_tracks

__all__ = ["Timeline"]

#: Slices of one track that may wait in line for an outer one to end.
LONGEST_LINE = 4096
#: Numbers of a slice in the line.
FIELDS = 4
PROGRESS_EVERY = 4096
#: The end of a slice that has none yet.
OPEN = -1


class _Lane:
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


class Timeline:
    """
    What a viewer draws, made of one recording.

    Args:
        recording: complete; its times are ns on the trace's clock, from 0.
        options: see `Options`.
        end: the trace's end, ns.
        pid: the process that was traced.

    Attributes:
        tracks: all tracks, in display order.
        end: as given.
    """

    def __init__(self, recording: Recording, options: Options, end: int, pid: int) -> None:
        self.end = end
        self.tracks, self._by_id = make_tracks(recording, end, pid)
        self._recording = recording
        self._first: dict[int, int] = {}
        self._progress: Callable[[int, int], None] | None = None
        self._resolver = Resolver(recording, options)

    def on_progress(self, progress: Callable[[int, int], None]) -> None:
        """
        Call this with the observations drawn and their total, now and then.
        """
        self._progress = progress

    def slices(self) -> Iterator[Slice]:
        """
        The slices, one by one.
        """
        frames = self._resolver.frames
        make = tuple.__new__  # what Slice() comes to, in half the time
        for track, ready in self._parts():
            self._first.setdefault(track.id, ready[0] if ready else self.end)
            values = iter(ready)
            for start, end, depth, number in zip(values, values, values, values, strict=True):
                if start != end:
                    yield make(Slice, (track, start, end, depth, frames[number]))
        yield from self._gaps()

    def flows(self) -> Iterator[Flow]:
        """
        An arrow from each parent to its child's first slice, where the parent has one then.

        To be asked after `slices`: an arrow without a slice at both its ends is an error.
        """
        for track in self.tracks:
            parent = self._by_id.get(track.parent)
            first = self._first.get(track.parent, self.end)
            if parent is None or self._first.get(track.id) != track.start:
                continue
            if first <= track.start < min(parent.end, track.end):
                yield Flow("create_task", parent, track.start, track, track.start)

    def counters(self) -> Iterator[Counter]:
        """
        The length of each loop's ready queue.
        """
        values = iter(self._recording.counters)
        pids = {loop: LOOP_PID + place for place, loop in enumerate(loop_order(self._recording))}
        for time, loop, value in zip(values, values, values, strict=True):
            yield Counter(pids[loop], "ready queue", max(0, time), value)

    def _parts(self) -> Iterator[tuple[Track, array[int]]]:
        """
        What can go, track by track: see `_Lane`.
        """
        lanes: dict[int, _Lane] = {}
        tracks = self._recording.tracks
        path = self._resolver.path
        for drawn, (time, track, stack, detail) in enumerate(self._recording.read()):
            lane = lanes.get(track)
            if lane is None:
                lane = lanes[track] = _Lane(self._by_id[track])
            if stack == GONE:
                ready = lane.advance(time, ())
                del lanes[track]
            else:
                ready = lane.advance(time, path(tracks[track].kind, stack, detail))
            if ready:
                yield lane.track, ready
            if self._progress is not None and drawn % PROGRESS_EVERY == 0:
                self._progress(drawn, self._recording.observations)
        for lane in lanes.values():
            yield lane.track, lane.advance(self.end, ()) or array("q")

    def _gaps(self) -> list[Slice]:
        track = next((track for track in self.tracks if track.kind == "tracer"), None)
        if track is None:
            return []
        return [
            Slice(
                track, gap.start, gap.end, 0, Frame(f"{gap.kind} ticks", "gap", args=(("ticks", gap.ticks),))
            )
            for gap in self._recording.gaps
        ]
