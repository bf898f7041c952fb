"""
The tracks of a Perfetto trace: process > threads, and process > loop > task > child task.

What trace_processor (v52) does with them:

- a thread's descriptor binds its packet sequence to that thread, so threads are described on a
  sequence of their own;
- tasks nest under a plain track of their loop; straight under a process they would be no tree;
- siblings of one name become one track, unless they have `TrackDescriptor.MERGE_NONE`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from fgtrace._formats.perfetto_fields import (
    EVENTS,
    OWN_ANNOTATION,
    THREADS,
    ProcessDescriptor,
    ThreadDescriptor,
    TracePacket,
    TrackDescriptor,
)
from fgtrace._formats.write.safe_text import safe_name
from fgtrace._formats.write.wire import message, number, text
from fgtrace._model.values import Track

__all__ = ["Uuids", "descriptors", "own_annotation", "packet"]

_OF_LOOPS = ("task", "lane", "loop", "callbacks")
_LARGEST_ID = (1 << 31) - 1


class Uuids:
    """
    The uuids of all tracks: numbers of one length as varints, so that no packet's length needs to be counted.

    Args:
        tracks: all of them.

    Attributes:
        process: pid -> uuid, for processes that have threads; the loops belong to the first.
        loops: pid of a loop -> uuid.
        tracks: track id -> uuid.
    """

    def __init__(self, tracks: list[Track]) -> None:
        pids = dict.fromkeys(track.pid for track in tracks if track.kind not in _OF_LOOPS)
        loops = dict.fromkeys(track.pid for track in tracks if track.kind in _OF_LOOPS)
        size = 2
        while len(pids) + 2 * len(loops) + len(tracks) + 1 > 127 << 7 * (size - 1):
            size += 1
        self._next = 1 << 7 * (size - 1)
        self.process = {pid: self.new() for pid in pids or [0]}
        self.loops = {pid: self.new() for pid in loops}
        self.tracks = {track.id: self.new() for track in tracks}

    def new(self) -> int:
        """
        Return a uuid that nothing has yet.
        """
        self._next += 1
        return self._next - 1

    @property
    def home(self) -> int:
        """
        The uuid of the process in which the loops are.
        """
        return next(iter(self.process.values()))

    def above(self, track: Track) -> int:
        """
        Return the uuid of the track under which a track stands.
        """
        if track.kind not in _OF_LOOPS:
            return self.process[track.pid]
        return self.tracks.get(track.parent, self.loops[track.pid])


def packet(sequence: int, *fields: bytes) -> bytes:
    """
    Return a packet on a sequence.
    """
    return message(1, number(TracePacket.SEQUENCE, sequence), *fields)


def own_annotation(value: Mapping[str, Any]) -> bytes:
    """
    Return a field of our own, for values that Perfetto has no field for.
    """
    return message(OWN_ANNOTATION, orjson.dumps(value, default=str))


def descriptors(tracks: list[Track], uuids: Uuids, pid: int) -> Iterator[bytes]:
    """
    Yield the packets that describe the tracks, parents before their children.

    Args:
        tracks: in display order.
        uuids: of the tracks.
        pid: the process's, where no thread has it.
    """
    for own, uuid in uuids.process.items():
        first = next((track for track in tracks if track.kind not in _OF_LOOPS and track.pid == own), None)
        number_ = pid if first is None else own
        yield _process(uuid, number_, (first and first.group) or f"python {number_}")
    loops: set[int] = set()
    for rank, track in enumerate(tracks):
        if track.kind in _OF_LOOPS and track.pid not in loops:
            loops.add(track.pid)
            yield packet(EVENTS, _plain(uuids.loops[track.pid], uuids.home, track.group, rank))
        yield _track(track, uuids, rank)


def _process(uuid: int, pid: int, name: str) -> bytes:
    if not 0 <= pid <= _LARGEST_ID:  # 32 bits there: two could become one
        return packet(
            EVENTS,
            message(
                TracePacket.DESCRIPTOR, number(TrackDescriptor.UUID, uuid), text(TrackDescriptor.NAME, name)
            ),
        )
    own = message(
        TrackDescriptor.PROCESS, number(ProcessDescriptor.PID, pid), text(ProcessDescriptor.NAME, name)
    )
    return packet(THREADS, message(TracePacket.DESCRIPTOR, number(TrackDescriptor.UUID, uuid), own))


def _track(track: Track, uuids: Uuids, rank: int) -> bytes:
    uuid, above, name = uuids.tracks[track.id], uuids.above(track), safe_name(track.name)
    facts = own_annotation({
        "kind": track.kind, "id": track.id, "name": _text(name), "group": _text(track.group),
        "tid": track.tid, "pid": track.pid, "parent": track.parent, "level": track.level,
        "life": [track.start, track.end],
        "args": [[_text(key), _value(value)] for key, value in track.args],
    })  # fmt: skip
    if track.kind != "thread" or not (0 <= track.tid <= _LARGEST_ID and 0 <= track.pid <= _LARGEST_ID):
        return packet(EVENTS, _plain(uuid, above, name, rank), facts)
    thread = message(
        TrackDescriptor.THREAD,
        number(ThreadDescriptor.PID, track.pid),
        number(ThreadDescriptor.TID, track.tid),
        number(ThreadDescriptor.SORT, rank),
        text(ThreadDescriptor.NAME, name),
    )
    ids = number(TrackDescriptor.UUID, uuid) + number(TrackDescriptor.PARENT, above)
    return packet(THREADS, message(TracePacket.DESCRIPTOR, ids, thread), facts)


def _plain(uuid: int, above: int, name: str, rank: int) -> bytes:
    return message(
        TracePacket.DESCRIPTOR,
        number(TrackDescriptor.UUID, uuid),
        number(TrackDescriptor.PARENT, above),
        text(TrackDescriptor.NAME, name),
        number(TrackDescriptor.CHILD_ORDERING, TrackDescriptor.EXPLICIT),
        number(TrackDescriptor.RANK, rank),
        number(TrackDescriptor.MERGE, TrackDescriptor.MERGE_NONE),
    )


def _text(value: str) -> str:
    return value.encode("utf-8", "replace").decode()


def _value(value: object) -> object:
    return _text(value) if isinstance(value, str) else value
