"""
Tasks that were written on lanes (`fgtrace._sharing`), each on a track of its own again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable

from fgtrace._decode._file import BadTrace, TraceFile
from fgtrace._decode._notes import whole
from fgtrace._model import Slice, Track
from fgtrace._sharing import FACTS

__all__ = ["Lanes", "unshared"]


class Lanes:
    """
    Whose turn it is on each lane.

    Args:
        tracks: all tracks of a file.
        slices: all slices, or those on lanes that lie in no other (``depth`` 0): a task each.

    Raises:
        ValueError: a slice on a lane does not say which task it is.

    Attributes:
        tasks: those that were on lanes.
    """

    def __init__(self, tracks: Iterable[Track], slices: Iterable[Slice]) -> None:
        self.tasks: list[Track] = []
        self._tracks = list(tracks)
        self._turns: dict[int, tuple[list[int], list[Track]]] = {
            track.id: ([], []) for track in self._tracks if track.kind == "lane"
        }
        found = [each for each in slices if each.depth == 0 and each.track.id in self._turns]
        for each in sorted(found, key=lambda each: each.start):
            starts, tasks = self._turns[each.track.id]
            starts.append(each.start)
            tasks.append(_task(each))
            self.tasks.append(tasks[-1])
        ids = [track.id for track in (*self._tracks, *self.tasks)]
        if len(set(ids)) < len(ids):
            raise BadTrace("two tracks have the same id")

    def arranged(self) -> list[Track]:
        """
        All tracks with tasks instead of lanes, in display order.
        """
        rows = defaultdict(list)
        for track in (*self._tracks, *self.tasks):
            if track.kind == "task":
                rows[track.pid].append(track)
        found: list[Track] = []
        for track in self._tracks:
            if track.kind in ("task", "lane"):
                found.extend(sorted(rows.pop(track.pid, ()), key=lambda task: task.tid))
            else:
                found.append(track)
        return found

    def at(self, track: Track, time: int) -> Track:
        """
        The task that a lane shows at this time (ns); any other track is its own.

        Raises:
            BadTrace: the lane shows none yet.
        """
        if track.id not in self._turns:
            return track
        starts, tasks = self._turns[track.id]
        place = bisect_right(starts, time) - 1
        if place < 0:
            raise BadTrace(f"on {track.name!r} is something before its first task")
        return tasks[place]

    def moved(self, each: Slice) -> Slice | None:
        """
        A slice as it was before; None: it stands for a whole task.
        """
        if each.track.id not in self._turns:
            return each
        if each.depth == 0:
            return None
        return each._replace(track=self.at(each.track, each.start), depth=each.depth - 1)


def unshared(file: TraceFile) -> TraceFile:
    """
    The same trace without lanes.

    Raises:
        ValueError: its lanes are none.
    """
    if all(track.kind != "lane" for track in file.tracks):
        return file
    lanes = Lanes(file.tracks, file.found)
    moved = map(lanes.moved, file.found)
    return TraceFile(
        tracks=lanes.arranged(),
        found=[each for each in moved if each is not None],
        arrows=[
            flow._replace(
                source=lanes.at(flow.source, flow.source_time), target=lanes.at(flow.target, flow.target_time)
            )
            for flow in file.arrows
        ],
        values=file.values,
        flags=[flag._replace(track=lanes.at(flag.track, flag.time)) for flag in file.flags],
        metadata=file.metadata,
    )


def _task(each: Slice) -> Track:
    said = dict(each.frame.args)
    facts = {name: whole(said.pop(key, None)) for name, key in FACTS.items()}
    lane = each.track
    return Track(
        "task", name=each.frame.name, group=lane.group, pid=lane.pid, start=each.start, end=each.end,
        args=tuple(said.items()), **facts,
    )  # fmt: skip
