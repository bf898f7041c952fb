"""
Tasks that were written on lanes (`fgtrace._timeline.lanes`), each on a track of its own again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from itertools import chain

import orjson

from fgtrace._formats.read.own_annotations import whole
from fgtrace._formats.read.slice_store import Kept
from fgtrace._formats.read.trace_file import BadTrace, TraceFile
from fgtrace._model.values import Slice, Track
from fgtrace._timeline.lanes import CROWD, FACTS

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
        self._turns: dict[int, tuple[list[int], list[list[Track]]]] = {
            track.id: ([], []) for track in self._tracks if track.kind == "lane"
        }
        found = [each for each in slices if each.depth == 0 and each.track.id in self._turns]
        for each in sorted(found, key=lambda each: each.start):
            starts, tasks = self._turns[each.track.id]
            starts.append(each.start)
            tasks.append(_tasks(each))
            self.tasks.extend(tasks[-1])
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
        The task that a lane shows at this time (ns), of a crowd the first; any other track is its own.

        Raises:
            BadTrace: the lane shows none yet.
        """
        return self._all_at(track, time)[0]

    def _all_at(self, track: Track, time: int) -> list[Track]:
        if track.id not in self._turns:
            return [track]
        starts, tasks = self._turns[track.id]
        place = bisect_right(starts, time) - 1
        if place < 0:
            raise BadTrace(f"on {track.name!r} is something before its first task")
        return tasks[place]

    def moved(self, each: Slice) -> list[Slice]:
        """
        A slice as it was before, on each task's track that had it; none where it stands for a whole task.
        """
        if each.track.id not in self._turns:
            return [each]
        if each.depth == 0:
            return []
        tasks = self._all_at(each.track, each.start)
        return [each._replace(track=task, depth=each.depth - 1) for task in tasks]


def unshared(file: TraceFile) -> TraceFile:
    """
    The same trace without lanes. A file with lanes is closed.

    Raises:
        ValueError: its lanes are none.
    """
    if all(track.kind != "lane" for track in file.tracks):
        return file
    kept = Kept()
    try:
        lanes = Lanes(file.tracks, file.slices())
        tracks = lanes.arranged()
        kept.tracks = {track.id: track for track in tracks}
        _move(file, lanes, kept)
    except BaseException:
        kept.close()
        raise
    finally:
        file.close()
    return TraceFile(kept, [track.id for track in tracks], file.metadata)


def _move(file: TraceFile, lanes: Lanes, kept: Kept) -> None:
    kept.frames = file.kept.frames
    numbers = {id(frame): number for number, frame in enumerate(kept.frames)}
    for place, each in enumerate(chain.from_iterable(map(lanes.moved, file.slices()))):
        kept.slice(each.track.id, each.start, each.end, place, numbers[id(each.frame)])
    kept.rows.settle()
    for name, source, source_time, target, target_time in file.flows():
        one, other = lanes.at(source, source_time), lanes.at(target, target_time)
        kept.flow(name, one.id, source_time, other.id, target_time)
    for counter in file.counters():
        kept.counter(counter)
    for name, track, time, args in file.instants():
        kept.flag(lanes.at(track, time).id, time, kept.named(name, args))


def _tasks(each: Slice) -> list[Track]:
    """
    The tasks for which a lane's outermost slice stands.

    Raises:
        ValueError: it does not say which.
    """
    said = dict(each.frame.args)
    crowd = said.pop(CROWD, None)
    if crowd is None:
        facts = [[*(said.pop(key, None) for key in FACTS.values()), each.frame.name]]
    else:
        facts = orjson.loads(str(crowd))
    return [_task(each, told, tuple(said.items())) for told in facts]


def _task(each: Slice, told: object, args: tuple[tuple[str, str | int], ...]) -> Track:
    match told:
        case [*numbers, str() as name] if len(numbers) == len(FACTS):
            facts = dict(zip(FACTS, map(whole, numbers), strict=True))
        case _:
            raise BadTrace(
                f"{each.frame.name!r} on {each.track.name!r} does not say which tasks it stands for"
            )
    lane = each.track
    return Track(
        "task", name=name, group=lane.group, pid=lane.pid, start=each.start, end=each.end, args=args, **facts
    )
