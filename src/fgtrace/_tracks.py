"""
The tracks of a trace, in the order in which a viewer shows them.

Threads come first, by native id; then each event loop, its tasks as a tree: a task stands below
the one that started it, siblings by first sight and then by name, numbers in it as numbers.

Process and thread ids must fit in 32 bits, or a viewer merges tracks without a word. A loop gets
a process id above the largest that Linux gives (2 to the 22nd), its tasks count from 1.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from fgtrace._model import Track
from fgtrace._recording import Recording, TrackEntry

__all__ = ["LOOP_PID", "loop_name", "loop_order", "make_tracks"]

LOOP_PID = 4_194_304
#: Above what Linux gives to threads.
_SPARE_TID = 1 << 30
_DIGITS = re.compile(r"(\d+)")

#: A track's id with what is known of it.
_Entry = tuple[int, TrackEntry]


def loop_name(index: int, thread: str) -> str:
    """
    ``asyncio loop 1 (MainThread)``: loops are counted from 1 for people.
    """
    return f"asyncio loop {index + 1}" + (f" ({thread})" if thread else "")


def make_tracks(recording: Recording, end: int, pid: int) -> tuple[list[Track], dict[int, Track]]:
    """
    All tracks of a recording.

    Args:
        recording: complete.
        end: the end of the trace, and so of the tracks that live on.
        pid: the process that was traced.

    Returns:
        The tracks in display order, and the same by id.
    """
    threads, loops = [], defaultdict[int, list[_Entry]](list)
    for index, entry in enumerate(recording.tracks):
        if entry.kind == "thread":
            threads.append((index, entry))
        else:
            loops[entry.loop].append((index, entry))
    tracks = _threads(threads, end, pid)
    for place, loop in enumerate(loop_order(recording)):
        tracks.extend(
            _tasks(loops[loop], loop_name(place, recording.loops[loop].thread), LOOP_PID + place, end)
        )
    by_id = {track.id: track for track in tracks}
    if recording.gaps:
        taken = {track.tid for track in tracks if track.kind == "thread"}  # tasks are of other processes
        tid = next(tid for tid in range(1, len(taken) + 2) if tid not in taken)
        tracks.append(Track(kind="tracer", id=len(by_id), name="fgtrace: gaps", tid=tid, pid=pid, end=end))
    return tracks, by_id


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


def _tasks(tasks: list[_Entry], group: str, pid: int, end: int) -> list[Track]:
    return [
        Track(
            kind="task", id=index, name=_task_name(entry), group=group, tid=place, pid=pid,
            parent=entry.parent, level=level, start=max(0, entry.start), end=_end(entry, end),
            args=tuple(entry.args.items()),
        )
        for place, (level, index, entry) in enumerate(_in_tree_order(tasks), 1)
    ]  # fmt: skip


def _in_tree_order(tasks: list[_Entry]) -> Iterator[tuple[int, int, TrackEntry]]:
    """
    (level, id, entry), parents before their children; without recursion, chains can be long.
    """
    here = {index for index, _ in tasks}
    children: dict[int, list[_Entry]] = defaultdict(list)
    for index, entry in tasks:
        children[entry.parent if entry.parent in here else -1].append((index, entry))
    for siblings in children.values():
        siblings.sort(key=lambda each: (each[1].start, _natural(each[1].name), each[0]), reverse=True)
    line = [(0, *each) for each in children[-1]]
    while line:
        level, index, entry = line.pop()
        yield level, index, entry
        line.extend((level + 1, *each) for each in children.get(index, ()))


def _natural(name: str) -> list[tuple[int, int, str]]:
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
    return max(0, entry.end if entry.end >= 0 else end)
