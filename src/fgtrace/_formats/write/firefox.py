"""
The Firefox Profiler's processed profile: a thread for each track, states as categories and markers.

Source: ``src/types/profile.ts`` and ``docs-developer/CHANGELOG-formats.md`` of
https://github.com/firefox-devtools/profiler, version 60 of the format; the profiler brings what is older
than itself up to date. Samples are of the kind ``tracing-ms``: each holds from its time to the next one's,
and weighs as much. A frame without a category has that of the frame around it, so a stack has its state's.

A table is one list a column, and tracks take turns while they are drawn. So a stack waits as two numbers,
a state as three, in a temporary file if there are too many; each column is one walk through them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from heapq import merge
from itertools import islice
from typing import Any, NamedTuple

import orjson

from fgtrace._formats.rows_by_track import Numbers, RowsByTrack
from fgtrace._formats.write.firefox_tables import Tables, table
from fgtrace._formats.write.trace_event import clean, printable
from fgtrace._model.drawing import BeginEnd, Drawing
from fgtrace._model.values import Instant, Track
from fgtrace._version import __version__

__all__ = ["encode"]

VERSION = 60
#: The version of the format that Firefox itself records in those days.
GECKO_VERSION = 31
#: Begins and ends that are drawn in one go.
CHUNK = 1000
_INSTANT, _INTERVAL = 0, 1


def encode(drawing: Drawing, metadata: Mapping[str, Any]) -> Iterator[bytes]:
    """
    A whole file, piece by piece. While stacks are sorted by tracks the pieces are empty.

    Arrows and counters have no place there.

    Args:
        drawing: what to write.
        metadata: when the trace began and its rate are taken of it.
    """
    waiting = _TrackStacks()
    try:
        begins_and_ends = drawing.begins_and_ends()
        while waiting.take(islice(begins_and_ends, CHUNK)):
            yield b""
        for flag in drawing.instants():
            waiting.flag(flag)
        before = b'{"threads":['
        for track in drawing.tracks:
            if waiting.has(track):
                yield before + b"\n" + _thread(track)
                yield from waiting.tables(track)
                before = b"},"
        yield before.replace(b",", b"") + b'],\n"shared":'
        yield from waiting.shared.shared()
        end = max((track.end for track in drawing.tracks), default=0)
        yield b',\n"libs":[],"meta":' + orjson.dumps(_meta(waiting.shared, metadata, end)) + b"}\n"
    finally:
        waiting.close()


class _Mark(NamedTuple):
    """
    A marker: when it ended and began (ns), its phase, name and category, and what else it says.
    """

    end: int
    start: int
    phase: int
    name: int
    category: int
    data: bytes


class _OpenTrack:
    """
    A track while its begins and ends come: its stack, the states in it that are open, and what it noted.
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
        shared: what the stacks are made of.
    """

    def __init__(self) -> None:
        self.shared = Tables()
        self._rows: dict[int, _OpenTrack] = {}
        self._stacks = RowsByTrack(2)  # from when on, and which; -1: none
        self._marks = RowsByTrack(3)  # from when to when, and the stack with the state on top
        self._flags: dict[int, list[_Mark]] = {}

    def take(self, begins_and_ends: Iterator[BeginEnd]) -> int:
        """
        Take some begins and ends; how many there were.
        """
        rows, parents, is_state = self._rows, self.shared.parents, self.shared.is_state
        stack_of, taken, marked = self.shared.stack, 0, 0
        for track, time, frame in begins_and_ends:
            row = rows.get(track.id) or self._row(track)
            taken += 1
            if frame is None:
                if is_state[row.stack]:
                    row.marks.extend((row.opened.pop(), time, row.stack))
                    marked += 1
                row.stack = parents[row.stack]
            else:
                row.stack = stack_of(row.stack, frame)
                if is_state[row.stack]:
                    row.opened.append(time)
            stacks = row.stacks
            if stacks and stacks[-2] == time:
                stacks[-1] = row.stack
            else:
                stacks.append(time)
                stacks.append(row.stack)
        self._stacks.grown(taken)
        self._marks.grown(marked)
        return taken

    def _row(self, track: Track) -> _OpenTrack:
        found = self._rows[track.id] = _OpenTrack(self._stacks.rows(track.id), self._marks.rows(track.id))
        return found

    def flag(self, flag: Instant) -> None:
        """
        Take something that is said of one moment.
        """
        data = self.shared.data("flag", flag.args)
        mark = _Mark(flag.time, flag.time, _INSTANT, self.shared.string(flag.name), 0, data)
        self._flags.setdefault(flag.track.id, []).append(mark)

    def has(self, track: Track) -> bool:
        return track.id in self._rows or track.id in self._flags

    def tables(self, track: Track) -> Iterator[bytes]:
        """
        The samples and markers of a track, as JSON.
        """
        blocks, marks = self._stacks.blocks, self._by_end
        yield b',"samples":{"weightType":"tracing-ms",'
        columns = {
            "time": (time / 1e6 for block in blocks(track.id) for time in block[::2]),
            "weight": _weights(time for block in blocks(track.id) for time in block[::2]),
            "stack": (None if n < 0 else n for block in blocks(track.id) for n in block[1::2]),
        }
        pieces = table(columns)
        yield next(pieces)[1:]
        yield from pieces
        yield b',"markers":'
        yield from table({
            "name": (mark.name for mark in marks(track)),
            "startTime": (mark.start / 1e6 for mark in marks(track)),
            "endTime": (mark.end / 1e6 if mark.phase else None for mark in marks(track)),
            "phase": (mark.phase for mark in marks(track)),
            "category": (mark.category for mark in marks(track)),
            "data": (mark.data for mark in marks(track)),
        })  # fmt: skip

    def _by_end(self, track: Track) -> Iterator[_Mark]:
        """
        The markers of a track, in the order in which they ended.
        """
        of = self.shared.mark
        states = (
            _Mark(end, start, _INTERVAL, *of(stack)) for start, end, stack in self._marks.each(track.id)
        )
        flags = self._flags.get(track.id)
        return merge(states, sorted(flags), key=lambda mark: mark.end) if flags else states

    def close(self) -> None:
        self._stacks.close()
        self._marks.close()


def _weights(times: Iterator[int]) -> Iterator[float]:
    """
    How long each holds (ms); the last is where the track is empty.
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
    A thread without its tables, and without the brace at its end.
    """
    return orjson.dumps(
        printable({
            "processType": "default",
            "processName": clean(track.group) or f"python {track.pid}",
            "processStartupTime": 0,
            "processShutdownTime": None,
            "registerTime": track.start / 1e6,
            "unregisterTime": track.end / 1e6,
            "pausedRanges": [],
            "showMarkersInTimeline": True,
            "name": clean(track.name),
            "isMainThread": track.kind == "thread" and track.pid == track.tid,
            "pid": str(track.pid),
            "tid": track.tid,
        })
    )[:-1]  # fmt: skip


def _meta(shared: Tables, metadata: Mapping[str, Any], end: int) -> dict[str, Any]:
    began, interval = _moment(metadata)
    return {
        "version": GECKO_VERSION,
        "preprocessedProfileVersion": VERSION,
        "product": "Python",
        "importedFrom": f"fgtrace {__version__}",
        "processType": 0,
        "stackwalk": 1,
        "startTime": began,
        "profilingStartTime": 0,
        "profilingEndTime": end / 1e6,
        "interval": interval,
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


def _moment(metadata: Mapping[str, Any]) -> tuple[float, float]:
    """
    When the trace began (ms since the epoch), and the time between two ticks (ms), as far as they are known.
    """
    said, began, interval = metadata.get("fgtrace"), 0.0, 1.0
    if isinstance(said, dict):
        with suppress(ValueError):
            began = datetime.fromisoformat(str(said.get("started"))).timestamp() * 1000
        config = said.get("config")
        hz = config.get("hz") if isinstance(config, dict) else None
        if isinstance(hz, (int, float)) and hz > 0:
            interval = 1000 / hz
    return began, interval
