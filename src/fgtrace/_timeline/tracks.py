"""
The tracks of a trace, in the order in which a viewer shows them.

Threads come first, by native id; then each event loop, its tasks as a tree: a task stands below
the one that started it, siblings by first sight and then by name, numbers in it as numbers. With
exact awaits a loop's own two tracks stand above its tasks.

Process and thread ids must fit in 32 bits, or a viewer merges tracks without a word. A loop gets
a process id above the largest that Linux gives (2 to the 22nd), its tasks count from 1.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from fgtrace._model.values import Track
from fgtrace._recording.recording import Recording, TrackEntry
from fgtrace._timeline.request_slices import RequestSlices

__all__ = ["LOOP_PID", "Tracks", "loop_name", "loop_order", "make_tracks", "natural"]

LOOP_PID = 4_194_304
#: Above what Linux gives to threads.
_SPARE_TID = 1 << 30
_DIGITS = re.compile(r"(\d+)")

#: A track's id with what is known of it.
_Entry = tuple[int, TrackEntry]


class Tracks(NamedTuple):
    """
    All tracks of a recording.

    ``shown``: in display order. ``by_id``: threads and tasks. ``loops`` and ``callbacks``: those of
    the loops with exact awaits, by the loop's index. ``requests``: the requests.
    """

    shown: list[Track]
    by_id: dict[int, Track]
    loops: dict[int, Track]
    callbacks: dict[int, Track]
    requests: RequestSlices


def loop_name(index: int, thread: str) -> str:
    """
    ``asyncio loop 1 (MainThread)``: loops are counted from 1 for people.
    """
    return f"asyncio loop {index + 1}" + (f" ({thread})" if thread else "")


def make_tracks(recording: Recording, end: int, pid: int) -> Tracks:
    """
    The tracks of a recording.

    Args:
        recording: complete.
        end: the end of the trace, and so of the tracks that live on.
        pid: the process that was traced.
    """
    threads, loops = [], defaultdict[int, list[_Entry]](list)
    for index, entry in enumerate(recording.tracks):
        if entry.kind == "thread":
            threads.append((index, entry))
        else:
            loops[entry.loop].append((index, entry))
    requests = RequestSlices(recording)
    found = Tracks(_threads(threads, end, pid), {}, {}, {}, requests)
    for place, index in enumerate(loop_order(recording)):
        name = loop_name(place, recording.loops[index].thread)
        if recording.loops[index].exact:
            own = _loop(index, recording, Track("loop", -1, "", name, pid=LOOP_PID + place, end=end))
            found.loops[index], found.callbacks[index] = own
            found.shown.extend(own)
        found.shown.extend(_tasks(loops[index], name, LOOP_PID + place, end, requests))
    found.by_id.update((track.id, track) for track in found.shown if track.kind in ("thread", "task"))
    if recording.gaps:
        # tasks are of other processes
        taken = {track.tid for track in found.shown if track.kind == "thread"}
        tid = next(tid for tid in range(1, len(taken) + 2) if tid not in taken)
        number = len(recording.tracks) + 2 * len(recording.loops)
        found.shown.append(Track("tracer", number, "fgtrace: gaps", tid=tid, pid=pid, end=end))
    return found


def _loop(index: int, recording: Recording, model: Track) -> tuple[Track, Track]:
    """
    The two tracks of a loop with exact awaits, numbered behind the threads and tasks.

    The first has the process's own id, as a main thread has: viewers show that one first.
    """
    entry = recording.loops[index]
    number = len(recording.tracks) + 2 * index
    end = min(entry.end, model.end) if entry.end >= 0 else model.end
    loop = replace(model, id=number, name="event loop", tid=model.pid, start=max(0, entry.start), end=end)
    return loop, replace(loop, kind="callbacks", id=number + 1, name="callbacks", tid=_SPARE_TID)


def loop_order(recording: Recording) -> list[int]:
    """
    The loops in display order: the main thread's first, then by first sight.
    """
    loops = recording.loops
    return sorted(range(len(loops)), key=lambda index: (loops[index].thread != "MainThread", index))


def _threads(threads: list[_Entry], end: int, pid: int) -> list[Track]:
    found: dict[int, Track] = {}
    for index, entry in sorted(threads, key=lambda each: (each[1].tid, each[0])):
        tid = (
            entry.tid if entry.tid and entry.tid not in found else _SPARE_TID + index
        )  # the system's came again
        found[tid] = Track(
            kind="thread", id=index, name=entry.name, tid=tid, pid=pid,
            start=max(0, entry.start), end=_end(entry, end), args=tuple(entry.args.items()),
        )  # fmt: skip
    return list(found.values())


def _tasks(tasks: list[_Entry], group: str, pid: int, end: int, requests: RequestSlices) -> list[Track]:
    found = []
    for place, (level, index, entry) in enumerate(_in_tree_order(tasks), 1):
        start, until, name, args = max(0, entry.start), _end(entry, end), _task_name(entry), entry.args
        request = requests.name(index, start, until)
        found.append(
            Track(
                kind="task", id=index, name=request or name, group=group, tid=place, pid=pid,
                parent=entry.parent, level=level, start=start, end=until,
                args=tuple((args | {"task": name} if request else args).items()),
            )
        )  # fmt: skip
    return found


def _in_tree_order(tasks: list[_Entry]) -> Iterator[tuple[int, int, TrackEntry]]:
    """
    (level, id, entry), parents before their children; without recursion, chains can be long.
    """
    here = {index for index, _ in tasks}
    children: dict[int, list[_Entry]] = defaultdict(list)
    for index, entry in tasks:
        children[entry.parent if entry.parent in here else -1].append((index, entry))
    for siblings in children.values():
        siblings.sort(key=lambda each: (each[1].start, natural(each[1].name), each[0]), reverse=True)
    line = [(0, *each) for each in children[-1]]
    while line:
        level, index, entry = line.pop()
        yield level, index, entry
        line.extend((level + 1, *each) for each in children.get(index, ()))


def natural(name: str) -> list[tuple[int, int, str]]:
    """
    A key by which Task-2 comes before Task-10.
    """
    return [
        (0, int(part), "") if part.isdigit() and part.isascii() else (1, 0, part)
        for part in _DIGITS.split(name)
    ]


def _task_name(entry: TrackEntry) -> str:
    return f"{entry.name} {entry.root.rpartition('<locals>.')[2]}" if entry.root else entry.name


def _end(entry: TrackEntry, end: int) -> int:
    return max(0, min(entry.end, end) if entry.end >= 0 else end)
