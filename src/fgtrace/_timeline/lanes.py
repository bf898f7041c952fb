"""
Lanes: where there are very many tasks, the short ones of a coroutine share tracks in a file.

A lane holds tasks that do not overlap in time. Around the slices of each task is one more slice, with the
task's name and facts (`task_frame`). `fgtrace._formats.read` makes tasks of these again: a viewer shows
lanes, and who reads a trace gets tasks.

A task that lived for a tenth of the trace or longer keeps a track of its own. It is wide enough to be seen at
first glance, and fewer than ten such tasks could share a lane, so that sharing would save little. At most
``most`` tasks keep theirs, the longest first. The only task of a coroutine keeps its track as well, since it
has no other to share with.

A coroutine has as many lanes as it had tasks at one time; with fewer lanes one task would be drawn over
another. Sorting and two heaps make that n log n. Identical tasks (`fgtrace._timeline.identical_tasks`), such
as those that waited all the time, are drawn once: all of a group have one lane, with their number in its
name, and their names in its outermost slice (`group_frame`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush, nlargest
from itertools import chain
from typing import NamedTuple

import orjson

from fgtrace._model.drawing import BeginEnd, Drawing
from fgtrace._model.values import Counter, Flow, Frame, Instant, Slice, Track

__all__ = ["FACTS", "IDENTICAL", "MOST_TASKS", "group_frame", "task_frame", "with_lanes"]

#: Tasks that may have a track each: Perfetto's UI opens as many without being slow.
MOST_TASKS = 2000
#: The smallest group of identical tasks that is drawn once. Smaller ones are drawn one by one, so that their
#: names can be seen.
SMALLEST_GROUP = 10
#: The argument of a group's slice that lists its tasks, as JSON: the facts in the order of `FACTS`, and the
#: name.
IDENTICAL = "tasks"
#: A task is long if it lived for at least a tenth of the trace.
LONG = 10
#: Field of a task's track -> the argument of its slice that has it; further arguments come behind these.
FACTS = {"id": "task.id", "parent": "task.parent", "level": "task.level", "tid": "task.place"}

_DIGITS = re.compile(r"\d+")


def with_lanes(drawing: Drawing, tracks: str, most: int = MOST_TASKS) -> Drawing:
    """
    Return a drawing with its short tasks on lanes, where the options ask for that.

    Args:
        drawing: the trace that is to be written.
        tracks: ``"task"``, ``"lane"``, or ``"auto"``: lanes where there are more than ``most`` tasks.
        most: tasks that may have a track of their own.
    """
    tasks = [track for track in drawing.tracks if track.kind == "task"]
    if tracks == "task" or (tracks == "auto" and len(tasks) <= most):
        return drawing
    groups = [group for group in drawing.identical_tasks() if len(group) >= SMALLEST_GROUP]
    lanes = _lanes(drawing.tracks, tasks, groups, most)
    return _DrawingWithLanes(drawing, lanes) if lanes else drawing


def task_frame(task: Track) -> Frame:
    """
    Return the frame of a task's slice on a lane: the task's name, and its facts as arguments.
    """
    facts = tuple((key, getattr(task, name)) for name, key in FACTS.items())
    return Frame(task.name, "task", args=(*facts, *task.args))


def group_frame(tasks: list[Track]) -> Frame:
    """
    Return the frame of the slice of a group of identical tasks.
    """
    coroutine = _coroutine(tasks[0])
    facts = orjson.dumps([[*(getattr(task, name) for name in FACTS), task.name] for task in tasks])
    return Frame(f"{len(tasks)} x {coroutine}", "task", args=((IDENTICAL, facts.decode()), *tasks[0].args))


class _Lane(NamedTuple):
    """
    A lane: its track and its tasks by time; or one of a group of identical tasks, and the group.
    """

    track: Track
    tasks: list[Track]
    group: list[Track] | None = None

    def frame(self, task: Track) -> Frame:
        return task_frame(task) if self.group is None else group_frame(self.group)


def _lanes(tracks: list[Track], tasks: list[Track], groups: list[list[Track]], most: int) -> list[_Lane]:
    """
    Return all lanes, in display order.
    """
    span = max(track.end for track in tracks) - min(track.start for track in tracks)
    identical = {task.id for group in groups for task in group}
    long = [task for task in tasks if LONG * _life(task) >= span and task.id not in identical]
    own = {task.id for task in nlargest(most, long, key=_life)}
    coroutines: dict[tuple[int, str], _Members] = defaultdict(lambda: _Members([], []))
    for task in tasks:
        if task.id not in own and task.id not in identical:
            coroutines[task.pid, _coroutine(task)].tasks.append(task)
    for group in groups:
        coroutines[group[0].pid, _coroutine(group[0])].groups.append(group)
    found: list[_Lane] = []
    number = max(track.id for track in tracks) + 1
    places = {task.pid: task.tid for task in sorted(tasks, key=lambda task: task.tid)}
    for (pid, name), members in sorted(coroutines.items(), key=lambda each: (-each[1].longest(), each[0])):
        if members.size() > 1:
            lanes = _of_coroutine(name, members, number + len(found), places[pid] + 1)
            places[pid] += len(lanes)
            found.extend(lanes)
    return found


class _Members(NamedTuple):
    """
    The tasks of a coroutine that have no track of their own: single ones, and groups of identical ones.
    """

    tasks: list[Track]
    groups: list[list[Track]]

    def size(self) -> int:
        return len(self.tasks) + sum(map(len, self.groups))

    def longest(self) -> int:
        return _longest(self.tasks + [group[0] for group in self.groups])

    def rows(self) -> list[tuple[list[Track], list[Track] | None]]:
        """
        Return the tasks of each lane, with the group for which they stand if there is one; the lane with the
        longest task comes first.
        """
        packed = [(row, None) for row in _packed(self.tasks)]
        alone = [([group[0]], group) for group in self.groups]
        return sorted([*packed, *alone], key=lambda row: (_longest(row[0]), len(row[1] or ())), reverse=True)


def _of_coroutine(name: str, members: _Members, number: int, place: int) -> list[_Lane]:
    """
    Return the lanes of a coroutine: the one with the longest task first, the others below it.

    Args:
        name: the coroutine's.
        members: its tasks.
        number: the id of the first lane; the others count on.
        place: the ``tid`` of the first lane; the others count on.
    """
    found = []
    for rank, (row, group) in enumerate(members.rows()):
        lane = f"{name}, lane {rank + 1}" + (f" ({len(group)} alike)" if group else "")
        track = Track(
            "lane", number + rank,
            name=lane if rank else f"{name} ({members.size()} tasks)",
            group=row[0].group, pid=row[0].pid, tid=place + rank,
            parent=number if rank else -1, level=1 if rank else 0,
            start=row[0].start, end=max(task.end for task in row),
        )  # fmt: skip
        found.append(_Lane(track, row, group))
    return found


def _packed(tasks: Iterable[Track]) -> list[list[Track]]:
    """
    Return tasks in rows without an overlap: each task in the first row that is free when it begins.
    """
    rows: list[list[Track]] = []
    busy: list[tuple[int, int]] = []
    free: list[int] = []
    for task in sorted(tasks, key=lambda task: (task.start, task.id)):
        while busy and busy[0][0] <= task.start:
            heappush(free, heappop(busy)[1])
        if free:
            row = heappop(free)
        else:
            row = len(rows)
            rows.append([])
        rows[row].append(task)
        heappush(busy, (task.end, row))
    return rows


def _life(task: Track) -> int:
    return task.end - task.start


def _longest(tasks: list[Track]) -> int:
    return max(map(_life, tasks))


def _coroutine(task: Track) -> str:
    """
    Return the coroutine of a task: the last word of its own name, also where it is named after a request.

    Tasks whose name has no coroutine count as one coroutine if their names differ in numbers alone.
    """
    whole = str(dict(task.args).get("task", task.name))
    name, space, coroutine = whole.rpartition(" ")
    return coroutine if name and space else _DIGITS.sub("*", whole)


class _DrawingWithLanes:
    """
    A drawing whose short tasks are on lanes.

    Attributes:
        tracks: of each loop first the tasks that kept their track, then the lanes.
    """

    def __init__(self, drawing: Drawing, lanes: list[_Lane]) -> None:
        self._drawing = drawing
        self._lanes = lanes
        self._lane_of = {task.id: lane for lane in lanes for task in lane.group or lane.tasks}
        self._undrawn = {task.id for lane in lanes for task in (lane.group or ())[1:]}
        self.tracks = list(self._arranged())

    def _arranged(self) -> Iterator[Track]:
        last = {track.pid: place for place, track in enumerate(self._drawing.tracks)}
        lanes = defaultdict(list)
        for lane in self._lanes:
            lanes[lane.track.pid].append(lane.track)
        for place, track in enumerate(self._drawing.tracks):
            if track.id not in self._lane_of:
                yield track
            if place == last[track.pid]:
                yield from lanes[track.pid]

    def identical_tasks(self) -> list[list[Track]]:
        return []

    def slices(self) -> Iterator[Slice]:
        tasks = {task.id: task for lane in self._lanes for task in lane.tasks if _life(task)}
        find = self._lane_of.get
        undrawn = self._undrawn
        make = tuple.__new__  # does what Slice() does, in half the time
        for each in self._drawing.slices():
            track, start, end, depth, frame = each
            lane = find(track.id)
            if lane is None:
                yield each
                continue
            if track.id in undrawn:
                continue
            if track.id in tasks:
                yield _whole(tasks.pop(track.id), lane)
            yield make(Slice, (lane.track, start, end, depth + 1, frame))
        for task in tasks.values():
            yield _whole(task, self._lane_of[task.id])

    def begins_and_ends(self) -> Iterator[BeginEnd]:
        writers = [_LaneWriter(lane) for lane in self._lanes]
        places = {
            task.id: (writer, place)
            for writer, lane in zip(writers, self._lanes, strict=True)
            for place, task in enumerate(lane.tasks)
        }
        make = tuple.__new__  # as in `slices`
        for each in self._drawing.begins_and_ends():
            track, time, frame = each
            found = places.get(track.id)
            if found is None:
                if track.id not in self._undrawn:
                    yield each
                continue
            writer, place = found
            if place != writer.current:
                yield from writer.until(place)
            writer.open += -1 if frame is None else 1
            yield make(BeginEnd, (writer.track, time, frame))
        yield from chain.from_iterable(each.until(each.last) for each in writers)

    def flows(self) -> Iterator[Flow]:
        for flow in self._drawing.flows():
            if flow.source.id in self._undrawn or flow.target.id in self._undrawn:
                continue
            yield flow._replace(source=self._drawn(flow.source), target=self._drawn(flow.target))

    def counters(self) -> Iterator[Counter]:
        return self._drawing.counters()

    def instants(self) -> Iterator[Instant]:
        for instant in self._drawing.instants():
            yield instant._replace(track=self._drawn(instant.track))

    def _drawn(self, track: Track) -> Track:
        lane = self._lane_of.get(track.id)
        return track if lane is None else lane.track


def _whole(task: Track, lane: _Lane) -> Slice:
    return Slice(lane.track, task.start, task.end, 0, lane.frame(task))


class _LaneWriter:
    """
    Writes the tasks of a lane, one after the other, as begins and ends.

    Attributes:
        track: the lane's.
        current: the place of the task that is being written; -1: none yet.
        last: the place behind the last task.
        open: how many slices of the current task are open.
    """

    def __init__(self, lane: _Lane) -> None:
        self._lane, self.track, self._tasks = lane, lane.track, lane.tasks
        self.current, self.last, self.open = -1, len(lane.tasks), 0

    def until(self, place: int) -> Iterator[BeginEnd]:
        """
        Yield the end of the current task, the begins and ends of tasks without slices, and the begin of the
        task at this place, which becomes the current one.

        Raises:
            ValueError: the task at this place was written before.
        """
        if place < self.current:
            raise ValueError(f"slices of {self._tasks[place].name!r} come after those of a later task")
        while self.current < place:
            if self.current >= 0 and _life(self._tasks[self.current]):
                for _ in range(self.open + 1):
                    yield BeginEnd(self.track, self._tasks[self.current].end, None)
            self.current, self.open = self.current + 1, 0
            if self.current < self.last and _life(self._tasks[self.current]):
                task = self._tasks[self.current]
                yield BeginEnd(self.track, task.start, self._lane.frame(task))
