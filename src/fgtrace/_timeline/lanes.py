"""
Lanes: where there are very many tasks, the short ones of a coroutine share tracks.

A lane holds tasks that do not overlap in time. Around the slices of each is one more, with the task's
name and facts (`task_frame`), of which `fgtrace._formats.read` makes tasks again: viewers see lanes, whoever
reads a trace sees tasks.

Which tasks keep a track of their own: those that lived for a tenth of the trace or longer. They are
wide enough to be seen at first glance, and fewer than ten of them could share a lane, so sharing
would save little. At most as many as there may be tracks without lanes, the longest first. Also the
only task of its coroutine: it has nobody to share with.

There are as many lanes as tasks were alive at once: a lane more could be spared only by drawing one
task over another. Sorting and two heaps: n log n. Tasks that did exactly the same (
`fgtrace._timeline.identical_tasks`), such
as those that waited all the time, are drawn once: a lane for them all, with the number of them in its name,
and who they are in its outermost slice (`crowd_frame`).
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

__all__ = ["CROWD", "FACTS", "MOST_TASKS", "crowd_frame", "task_frame", "with_lanes"]

#: Tasks that are drawn on a track each: Perfetto's UI opens so many without being slow.
MOST_TASKS = 2000
#: So many that did the same are drawn once; fewer one by one, for their names are seen so.
SMALLEST_CROWD = 10
#: What the slice of a crowd says of its tasks: their facts in the order of `FACTS`, and the name; as JSON.
CROWD = "tasks"
#: Which part of the trace is a long life: one in so many.
LONG = 10
#: What a task's slice says of its track, in this order; its other arguments come behind.
FACTS = {"id": "task.id", "parent": "task.parent", "level": "task.level", "tid": "task.place"}

_DIGITS = re.compile(r"\d+")


def with_lanes(drawing: Drawing, tracks: str, most: int = MOST_TASKS) -> Drawing:
    """
    The same drawing, its short tasks on lanes where that is asked for.

    Args:
        drawing: what is to be written.
        tracks: ``"task"``, ``"lane"``, or ``"auto"``: lanes where there are more than ``most`` tasks.
        most: tasks that may have a track of their own.
    """
    tasks = [track for track in drawing.tracks if track.kind == "task"]
    if tracks == "task" or (tracks == "auto" and len(tasks) <= most):
        return drawing
    crowds = [group for group in drawing.identical_tasks() if len(group) >= SMALLEST_CROWD]
    lanes = _lanes(drawing.tracks, tasks, crowds, most)
    return _Shared(drawing, lanes) if lanes else drawing


def task_frame(task: Track) -> Frame:
    """
    The slice of a task on a lane: its name, and what else is known of it.
    """
    facts = tuple((key, getattr(task, name)) for name, key in FACTS.items())
    return Frame(task.name, "task", args=(*facts, *task.args))


def crowd_frame(tasks: list[Track]) -> Frame:
    """
    The slice of tasks that did the same.
    """
    coroutine = _coroutine(tasks[0])
    told = orjson.dumps([[*(getattr(task, name) for name in FACTS), task.name] for task in tasks])
    return Frame(f"{len(tasks)} x {coroutine}", "task", args=((CROWD, told.decode()), *tasks[0].args))


class _Lane(NamedTuple):
    """
    A lane's track, its tasks by time, and whom they stand for: one of a crowd for all of it.
    """

    track: Track
    tasks: list[Track]
    crowd: list[Track] | None = None

    def frame(self, task: Track) -> Frame:
        return task_frame(task) if self.crowd is None else crowd_frame(self.crowd)


def _lanes(tracks: list[Track], tasks: list[Track], crowds: list[list[Track]], most: int) -> list[_Lane]:
    """
    All lanes, in display order.
    """
    span = max(track.end for track in tracks) - min(track.start for track in tracks)
    identical = {task.id for crowd in crowds for task in crowd}
    long = [task for task in tasks if LONG * _life(task) >= span and task.id not in identical]
    own = {task.id for task in nlargest(most, long, key=_life)}
    coroutines: dict[tuple[int, str], _Members] = defaultdict(lambda: _Members([], []))
    for task in tasks:
        if task.id not in own and task.id not in identical:
            coroutines[task.pid, _coroutine(task)].tasks.append(task)
    for crowd in crowds:
        coroutines[crowd[0].pid, _coroutine(crowd[0])].crowds.append(crowd)
    found: list[_Lane] = []
    number = max(track.id for track in tracks) + 1
    places = {task.pid: task.tid for task in sorted(tasks, key=lambda task: task.tid)}
    for (pid, name), members in sorted(coroutines.items(), key=lambda each: (-each[1].longest(), each[0])):
        if members.size() > 1:
            made = _of_coroutine(name, members, number + len(found), places[pid] + 1)
            places[pid] += len(made)
            found.extend(made)
    return found


class _Members(NamedTuple):
    """
    What runs a coroutine and has no track of its own.
    """

    tasks: list[Track]
    crowds: list[list[Track]]

    def size(self) -> int:
        return len(self.tasks) + sum(map(len, self.crowds))

    def longest(self) -> int:
        return _longest(self.tasks + [crowd[0] for crowd in self.crowds])

    def rows(self) -> list[tuple[list[Track], list[Track] | None]]:
        """
        What lies side by side on a lane, and the crowd for which it stands; the one with the longest first.
        """
        packed = [(row, None) for row in _packed(self.tasks)]
        alone = [([crowd[0]], crowd) for crowd in self.crowds]
        return sorted([*packed, *alone], key=lambda row: (_longest(row[0]), len(row[1] or ())), reverse=True)


def _of_coroutine(name: str, members: _Members, number: int, place: int) -> list[_Lane]:
    """
    The lanes of a coroutine: the one with the longest task first, the others below it.

    Args:
        name: the coroutine's.
        members: its tasks.
        number: the first lane's id; the others count on.
        place: the same of its ``tid``.
    """
    found = []
    for rank, (row, crowd) in enumerate(members.rows()):
        lane = f"{name}, lane {rank + 1}" + (f" ({len(crowd)} alike)" if crowd else "")
        track = Track(
            "lane", number + rank,
            name=lane if rank else f"{name} ({members.size()} tasks)",
            group=row[0].group, pid=row[0].pid, tid=place + rank,
            parent=number if rank else -1, level=1 if rank else 0,
            start=row[0].start, end=max(task.end for task in row),
        )  # fmt: skip
        found.append(_Lane(track, row, crowd))
    return found


def _packed(tasks: Iterable[Track]) -> list[list[Track]]:
    """
    Tasks in rows without an overlap: each in the first row that is free when it begins.
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
    What a task runs: the last word of its name, of that which it had before it was named by its request.
    One that has but a name counts with those like it.
    """
    whole = str(dict(task.args).get("task", task.name))
    name, space, coroutine = whole.rpartition(" ")
    return coroutine if name and space else _DIGITS.sub("*", whole)


class _Shared:
    """
    A drawing with lanes.

    Attributes:
        tracks: in each loop first the tasks that kept theirs, then the lanes.
    """

    def __init__(self, drawing: Drawing, lanes: list[_Lane]) -> None:
        self._drawing = drawing
        self._lanes = lanes
        self._lane_of = {task.id: lane for lane in lanes for task in lane.crowd or lane.tasks}
        self._undrawn = {task.id for lane in lanes for task in (lane.crowd or ())[1:]}
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
        make = tuple.__new__  # what Slice() comes to, in half the time
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
        turns = [_Turns(lane) for lane in self._lanes]
        places = {
            task.id: (each, place)
            for each, lane in zip(turns, self._lanes, strict=True)
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
            lane, place = found
            if place != lane.turn:
                yield from lane.until(place)
            lane.open += -1 if frame is None else 1
            yield make(BeginEnd, (lane.track, time, frame))
        yield from chain.from_iterable(each.until(each.last) for each in turns)

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


class _Turns:
    """
    A lane while its begins and ends are written: whose turn it is.

    Attributes:
        track: the lane's.
        turn: the place of the task whose turn it is; -1: nobody's yet.
        last: the place behind the last task.
        open: how many slices of that task are open.
    """

    def __init__(self, lane: _Lane) -> None:
        self._lane, self.track, self._tasks = lane, lane.track, lane.tasks
        self.turn, self.last, self.open = -1, len(lane.tasks), 0

    def until(self, place: int) -> Iterator[BeginEnd]:
        """
        The end of the task whose turn it was, the whole of those of which nothing is drawn, and the begin
        of this one.

        Raises:
            ValueError: its turn is over.
        """
        if place < self.turn:
            raise ValueError(f"slices of {self._tasks[place].name!r} come after those of a later task")
        while self.turn < place:
            if self.turn >= 0 and _life(self._tasks[self.turn]):
                for _ in range(self.open + 1):
                    yield BeginEnd(self.track, self._tasks[self.turn].end, None)
            self.turn, self.open = self.turn + 1, 0
            if self.turn < self.last and _life(self._tasks[self.turn]):
                task = self._tasks[self.turn]
                yield BeginEnd(self.track, task.start, self._lane.frame(task))
