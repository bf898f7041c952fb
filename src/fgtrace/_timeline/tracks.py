"""
The tracks of a trace, in the order in which a viewer shows them.

Threads come first, by native id; then each event loop with its tasks as a tree. A task stands below the one
that started it; siblings are sorted by when they were first seen and then by name, in which numbers count as
numbers. With exact awaits a loop's own two tracks stand above its tasks.

Process and thread ids must fit in 32 bits, or a viewer merges tracks without an error. A loop has a process
id above the largest that Linux gives (2 to the 22nd); its tasks are numbered from 1.
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

__all__ = ["LOOP_PID", "Tracks", "loop_name", "loop_order", "make_tracks", "natural_key"]

#: The process id of the first event loop; the others count on.
LOOP_PID = 4_194_304
#: Thread ids from here on are above those that Linux gives.
_SPARE_TID = 1 << 30
_DIGITS = re.compile(r"(\d+)")

#: A track's id, and its entry in the recording.
_Entry = tuple[int, TrackEntry]


class Tracks(NamedTuple):
    """
    All tracks of a recording.

    ``shown`` has all of them in display order, ``by_id`` threads and tasks, ``loops`` and ``callbacks`` the
    two tracks of each loop with exact awaits, by the loop's index. ``requests`` has the requests that tasks
    served.
    """

    shown: list[Track]
    by_id: dict[int, Track]
    loops: dict[int, Track]
    callbacks: dict[int, Track]
    requests: RequestSlices


def loop_name(index: int, thread: str) -> str:
    """
    Return the name of a loop, such as ``asyncio loop 1 (MainThread)``; index 0 is loop 1.
    """
    return f"asyncio loop {index + 1}" + (f" ({thread})" if thread else "")


def make_tracks(recording: Recording, end: int, pid: int) -> Tracks:
    """
    Return the tracks of a recording.

    Args:
        recording: complete.
        end: the trace's end, ns; tracks that live on end with it.
        pid: the id of the process that was traced.
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
        # a thread id that no thread has; tasks belong to other processes
        used = {track.tid for track in found.shown if track.kind == "thread"}
        tid = next(tid for tid in range(1, len(used) + 2) if tid not in used)
        number = len(recording.tracks) + 2 * len(recording.loops)
        found.shown.append(Track("tracer", number, "fgtrace: gaps", tid=tid, pid=pid, end=end))
    return found


def _loop(index: int, recording: Recording, model: Track) -> tuple[Track, Track]:
    """
    Return the two tracks of a loop with exact awaits, whose numbers are behind those of threads and tasks.

    The thread id of the first is the process id, as that of a main thread is: viewers show that one first.
    """
    entry = recording.loops[index]
    number = len(recording.tracks) + 2 * index
    end = min(entry.end, model.end) if entry.end >= 0 else model.end
    loop = replace(model, id=number, name="event loop", tid=model.pid, start=max(0, entry.start), end=end)
    return loop, replace(loop, kind="callbacks", id=number + 1, name="callbacks", tid=_SPARE_TID)


def loop_order(recording: Recording) -> list[int]:
    """
    Return the loops in display order: that of the main thread first, then in the order in which they were
    seen.
    """
    loops = recording.loops
    return sorted(range(len(loops)), key=lambda index: (loops[index].thread != "MainThread", index))


def _threads(threads: list[_Entry], end: int, pid: int) -> list[Track]:
    found: dict[int, Track] = {}
    for index, entry in sorted(threads, key=lambda each: (each[1].tid, each[0])):
        is_free = entry.tid and entry.tid not in found  # the system may have given it to a second thread
        tid = entry.tid if is_free else _SPARE_TID + index
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
    Yield (level, id, entry) with parents before their children. There is no recursion, since chains can be
    long.
    """
    here = {index for index, _ in tasks}
    children: dict[int, list[_Entry]] = defaultdict(list)
    for index, entry in tasks:
        children[entry.parent if entry.parent in here else -1].append((index, entry))
    for siblings in children.values():
        siblings.sort(key=lambda each: (each[1].start, natural_key(each[1].name), each[0]), reverse=True)
    line = [(0, *each) for each in children[-1]]
    while line:
        level, index, entry = line.pop()
        yield level, index, entry
        line.extend((level + 1, *each) for each in children.get(index, ()))


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """
    Return a key that sorts Task-2 before Task-10.
    """
    return [
        (0, int(part), "") if part.isdigit() and part.isascii() else (1, 0, part)
        for part in _DIGITS.split(name)
    ]


def _task_name(entry: TrackEntry) -> str:
    return f"{entry.name} {entry.root.rpartition('<locals>.')[2]}" if entry.root else entry.name


def _end(entry: TrackEntry, end: int) -> int:
    return max(0, min(entry.end, end) if entry.end >= 0 else end)
