"""
The Firefox Profiler's processed profile: a thread for each track, states as categories and markers.

Source: ``src/types/profile.ts`` and ``docs-developer/CHANGELOG-formats.md`` of
https://github.com/firefox-devtools/profiler, version 60 of the format; the profiler upgrades older versions.
Samples are of the kind ``tracing-ms``: each holds from its time to the next one's, and weighs as much. A
frame without a category has that of the frame around it, so a stack has its state's.

A table is one list a column, and tracks take turns while they are drawn. So a stack is stored as two numbers,
a state as three, in a temporary file if there are too many; each column reads them once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from heapq import merge
from itertools import islice
from typing import Any, NamedTuple

import orjson

from fgtrace._formats.rows_by_track import Numbers, RowsByTrack
from fgtrace._formats.write.firefox_tables import Tables, table
from fgtrace._formats.write.metadata_facts import rate_of, start_of
from fgtrace._formats.write.safe_text import safe_name, safe_value
from fgtrace._model.drawing import BeginEnd, Drawing
from fgtrace._model.values import Instant, Track
from fgtrace._version import __version__

__all__ = ["encode"]

VERSION = 60
#: The version of the format that Firefox itself recorded at that time.
GECKO_VERSION = 31
#: Begins and ends that are stored at once: a millisecond's work.
CHUNK = 1000
_INSTANT, _INTERVAL = 0, 1


def encode(drawing: Drawing, metadata: Mapping[str, Any]) -> Iterator[bytes]:
    """
    Yield a whole file in chunks, which are empty while stacks are sorted by tracks.

    The format has no fields for arrows and counters.

    Args:
        drawing: what to write.
        metadata: has the trace's start and its rate.
    """
    stacks = _TrackStacks()
    try:
        begins_and_ends = drawing.begins_and_ends()
        while stacks.add(islice(begins_and_ends, CHUNK)):
            yield b""
        for instant in drawing.instants():
            stacks.instant(instant)
        before = b'{"threads":['
        for track in drawing.tracks:
            if stacks.has(track):
                yield before + b"\n" + _thread(track)
                yield from stacks.tables(track)
                before = b"},"
        yield before.replace(b",", b"") + b'],\n"shared":'
        yield from stacks.shared.shared()
        end = max((track.end for track in drawing.tracks), default=0)
        yield b',\n"libs":[],"meta":' + orjson.dumps(_meta(stacks.shared, metadata, end)) + b"}\n"
    finally:
        stacks.close()


class _Marker(NamedTuple):
    """
    A marker: its end and start (ns), its phase, name and category, and its other data.
    """

    end: int
    start: int
    phase: int
    name: int
    category: int
    data: bytes


class _OpenTrack:
    """
    A track while its begins and ends come: its stack, the starts of the states in that, and what is stored.
    """

    __slots__ = ("marks", "opened", "stack", "stacks")

    def __init__(self, stacks: Numbers, marks: Numbers) -> None:
        self.stack = -1
        self.opened: list[int] = []
        self.stacks = stacks
        self.marks = marks


class _TrackStacks:
    """
    The stacks and states of each track, by time.

    Attributes:
        shared: the tables that the stacks refer to.
    """

    def __init__(self) -> None:
        self.shared = Tables()
        self._open_tracks: dict[int, _OpenTrack] = {}
        self._stacks = RowsByTrack(2)  # from when on, and the stack; -1: none
        self._marks = RowsByTrack(3)  # start, end, and the stack with the state on top
        self._instants: dict[int, list[_Marker]] = {}

    def add(self, begins_and_ends: Iterator[BeginEnd]) -> int:
        """
        Store some begins and ends; return how many there were.
        """
        open_tracks, parents, is_state = self._open_tracks, self.shared.parents, self.shared.is_state
        stack_of, added, marked = self.shared.stack, 0, 0
        for track, time, frame in begins_and_ends:
            open_track = open_tracks.get(track.id) or self._open_track(track)
            added += 1
            if frame is None:
                if is_state[open_track.stack]:
                    open_track.marks.extend((open_track.opened.pop(), time, open_track.stack))
                    marked += 1
                open_track.stack = parents[open_track.stack]
            else:
                open_track.stack = stack_of(open_track.stack, frame)
                if is_state[open_track.stack]:
                    open_track.opened.append(time)
            stacks = open_track.stacks
            if stacks and stacks[-2] == time:
                stacks[-1] = open_track.stack
            else:
                stacks.append(time)
                stacks.append(open_track.stack)
        self._stacks.note_grown(added)
        self._marks.note_grown(marked)
        return added

    def _open_track(self, track: Track) -> _OpenTrack:
        found = self._open_tracks[track.id] = _OpenTrack(
            self._stacks.rows(track.id), self._marks.rows(track.id)
        )
        return found

    def instant(self, instant: Instant) -> None:
        """
        Store an instant.
        """
        data = self.shared.data("flag", instant.args)
        mark = _Marker(instant.time, instant.time, _INSTANT, self.shared.string(instant.name), 0, data)
        self._instants.setdefault(instant.track.id, []).append(mark)

    def has(self, track: Track) -> bool:
        return track.id in self._open_tracks or track.id in self._instants

    def tables(self, track: Track) -> Iterator[bytes]:
        """
        Yield the samples and markers of a track, as JSON.
        """
        blocks, marks = self._stacks.blocks, self._by_end
        yield b',"samples":{"weightType":"tracing-ms",'
        columns = {
            "time": (time / 1e6 for block in blocks(track.id) for time in block[::2]),
            "weight": _weights(time for block in blocks(track.id) for time in block[::2]),
            "stack": (None if n < 0 else n for block in blocks(track.id) for n in block[1::2]),
        }
        chunks = table(columns)
        yield next(chunks)[1:]
        yield from chunks
        yield b',"markers":'
        yield from table({
            "name": (mark.name for mark in marks(track)),
            "startTime": (mark.start / 1e6 for mark in marks(track)),
            "endTime": (mark.end / 1e6 if mark.phase else None for mark in marks(track)),
            "phase": (mark.phase for mark in marks(track)),
            "category": (mark.category for mark in marks(track)),
            "data": (mark.data for mark in marks(track)),
        })  # fmt: skip

    def _by_end(self, track: Track) -> Iterator[_Marker]:
        """
        Yield the markers of a track, in the order in which they ended.
        """
        of = self.shared.mark
        states = (
            _Marker(end, start, _INTERVAL, *of(stack)) for start, end, stack in self._marks.each(track.id)
        )
        instants = self._instants.get(track.id)
        return merge(states, sorted(instants), key=lambda mark: mark.end) if instants else states

    def close(self) -> None:
        self._stacks.close()
        self._marks.close()


def _weights(times: Iterator[int]) -> Iterator[float]:
    """
    Yield how long each stack holds (ms); the last is the empty one.
    """
    before = next(times, None)
    if before is None:
        return
    for time in times:
        yield (time - before) / 1e6
        before = time
    yield 0.0


def _thread(track: Track) -> bytes:
    """
    Return a thread without its tables, and without the brace at its end.
    """
    return orjson.dumps(
        safe_value({
            "processType": "default",
            "processName": safe_name(track.group) or f"python {track.pid}",
            "processStartupTime": 0,
            "processShutdownTime": None,
            "registerTime": track.start / 1e6,
            "unregisterTime": track.end / 1e6,
            "pausedRanges": [],
            "showMarkersInTimeline": True,
            "name": safe_name(track.name),
            "isMainThread": track.kind == "thread" and track.pid == track.tid,
            "pid": str(track.pid),
            "tid": track.tid,
        })
    )[:-1]  # fmt: skip


def _meta(shared: Tables, metadata: Mapping[str, Any], end: int) -> dict[str, Any]:
    began, hz = start_of(metadata), rate_of(metadata)
    return {
        "version": GECKO_VERSION,
        "preprocessedProfileVersion": VERSION,
        "product": "Python",
        "importedFrom": f"fgtrace {__version__}",
        "processType": 0,
        "stackwalk": 1,
        "startTime": 0.0 if began is None else began * 1000,
        "profilingStartTime": 0,
        "profilingEndTime": end / 1e6,
        "interval": 1.0 if hz is None else 1000 / hz,
        "sampleUnits": {"time": "ms", "eventDelay": "ms", "threadCPUDelta": "ns"},
        "symbolicationNotSupported": True,
        "usesOnlyOneStackType": True,
        "sourceCodeIsNotOnSearchfox": True,
        "categories": shared.categories(),
        "markerSchema": [
            {
                "name": name,
                "display": ["marker-chart", "marker-table", "timeline-overview"],
                "fields": [{"key": key, "label": key, "format": "string"} for key in fields],
            }
            for name, fields in shared.fields.items()
        ],
    }
