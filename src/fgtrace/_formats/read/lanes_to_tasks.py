"""
Tasks that share lanes in a file (`fgtrace._timeline.lanes`) get tracks of their own again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from itertools import chain

import orjson

from fgtrace._formats.read.own_annotations import whole
from fgtrace._formats.read.slice_store import SliceStore
from fgtrace._formats.read.trace_file import BadTrace, TraceFile
from fgtrace._model.values import Slice, Track
from fgtrace._timeline.lanes import FACTS, IDENTICAL

__all__ = ["LaneTasks", "lanes_to_tasks"]


class LaneTasks:
    """
    Tells which task a lane shows at which time.

    Args:
        tracks: all tracks of a file.
        slices: all slices, or those on lanes that lie in no other (``depth`` 0): a task each.

    Raises:
        ValueError: a slice on a lane has no annotation of its task.

    Attributes:
        tasks: the tasks on lanes.
    """

    def __init__(self, tracks: Iterable[Track], slices: Iterable[Slice]) -> None:
        self.tasks: list[Track] = []
        self._tracks = list(tracks)
        self._shown: dict[int, tuple[list[int], list[list[Track]]]] = {
            track.id: ([], []) for track in self._tracks if track.kind == "lane"
        }
        found = [each for each in slices if each.depth == 0 and each.track.id in self._shown]
        for each in sorted(found, key=lambda each: each.start):
            starts, tasks = self._shown[each.track.id]
            starts.append(each.start)
            tasks.append(_tasks(each))
            self.tasks.extend(tasks[-1])
        ids = [track.id for track in (*self._tracks, *self.tasks)]
        if len(set(ids)) < len(ids):
            raise BadTrace("two tracks have the same id")

    def tracks(self) -> list[Track]:
        """
        Return all tracks, with tasks instead of lanes, in display order.
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
        Return the task that a lane shows at this time (ns), of a crowd the first; return a track that is no
        lane.

        Raises:
            BadTrace: the lane shows no task yet.
        """
        return self._all_at(track, time)[0]

    def _all_at(self, track: Track, time: int) -> list[Track]:
        if track.id not in self._shown:
            return [track]
        starts, tasks = self._shown[track.id]
        place = bisect_right(starts, time) - 1
        if place < 0:
            raise BadTrace(f"on {track.name!r} is something before its first task")
        return tasks[place]

    def of_tasks(self, each: Slice) -> list[Slice]:
        """
        Return a slice of a lane as a slice of each of its tasks; none where it stands for a whole task.
        """
        if each.track.id not in self._shown:
            return [each]
        if each.depth == 0:
            return []
        tasks = self._all_at(each.track, each.start)
        return [each._replace(track=task, depth=each.depth - 1) for task in tasks]


def lanes_to_tasks(file: TraceFile) -> TraceFile:
    """
    Return a trace without lanes; if it has lanes, close it and return another one.

    Raises:
        ValueError: a lane has wrong annotations.
    """
    if all(track.kind != "lane" for track in file.tracks):
        return file
    store = SliceStore()
    try:
        lanes = LaneTasks(file.tracks, file.slices())
        tracks = lanes.tracks()
        store.tracks = {track.id: track for track in tracks}
        _move(file, lanes, store)
    except BaseException:
        store.close()
        raise
    finally:
        file.close()
    return TraceFile(store, [track.id for track in tracks], file.metadata)


def _move(file: TraceFile, lanes: LaneTasks, store: SliceStore) -> None:
    store.frames = file.store.frames
    numbers = {id(frame): number for number, frame in enumerate(store.frames)}
    for place, each in enumerate(chain.from_iterable(map(lanes.of_tasks, file.slices()))):
        store.slice(each.track.id, each.start, each.end, place, numbers[id(each.frame)])
    store.rows.settle()
    for name, source, source_time, target, target_time in file.flows():
        one, other = lanes.at(source, source_time), lanes.at(target, target_time)
        store.flow(name, one.id, source_time, other.id, target_time)
    for counter in file.counters():
        store.counter(counter)
    for name, track, time, args in file.instants():
        store.instant(lanes.at(track, time).id, time, store.describe(name, args))


def _tasks(each: Slice) -> list[Track]:
    """
    Return the tasks for which a lane's outermost slice stands.

    Raises:
        ValueError: it has no annotation of them.
    """
    args = dict(each.frame.args)
    crowd = args.pop(IDENTICAL, None)
    if crowd is None:
        annotations = [[*(args.pop(key, None) for key in FACTS.values()), each.frame.name]]
    else:
        annotations = orjson.loads(str(crowd))
    return [_task(each, annotation, tuple(args.items())) for annotation in annotations]


def _task(each: Slice, annotation: object, args: tuple[tuple[str, str | int], ...]) -> Track:
    match annotation:
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
