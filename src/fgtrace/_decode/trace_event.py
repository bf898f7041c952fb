"""
Reads Chrome's Trace Event Format: complete events (``X``), the names of tracks, arrows (``s``, ``f``),
counters (``C``) and flags (``i``).

Files of unknown origin are data: nothing of them is run, and what does not fit is an error.
"""

from __future__ import annotations

from typing import Any

import orjson

from fgtrace._decode._file import BadTrace, TraceFile, with_depths
from fgtrace._decode._notes import KINDS, OF_LOOPS, whole
from fgtrace._model import Counter, Flow, Frame, Instant, Slice, Track

__all__ = ["decode", "read"]

Row = tuple[int, int]
_Event = dict[str, Any]
_Drawn = tuple[Row, int, int, Frame]


def decode(data: bytes) -> list[Slice]:
    """
    The slices of a file, in its order.

    Raises:
        ValueError: it is not a trace.
    """
    return read(data).found


def read(data: bytes) -> TraceFile:
    """
    All of a file.

    Raises:
        ValueError: it is not a trace.
    """
    value = orjson.loads(data)
    events = _events(value)
    frames = _Frames()
    drawn = [frames.drawn(event) for event in events if event.get("ph") == "X"]
    tracks = _Tracks(events, drawn)
    found = TraceFile()
    found.found = with_depths(
        [Slice(tracks.at(row), start, end, -1, frame) for row, start, end, frame in drawn]
    )
    _Others(found, tracks).take(events)
    found.tracks = tracks.made
    if isinstance(value, dict) and isinstance(value.get("metadata"), dict):
        found.metadata = value["metadata"]
    return found


def _events(value: Any) -> list[_Event]:
    events = value.get("traceEvents") if isinstance(value, dict) else value
    if not isinstance(events, list):
        raise BadTrace("no list of traceEvents")
    for place, event in enumerate(events):
        if not isinstance(event, dict):
            raise BadTrace(f"event {place} is not an object")
    return events


class _Tracks:
    """
    The tracks of a file: named by its metadata events, or by their ids.

    Attributes:
        made: those that were asked for or named, in the order of the file.
    """

    def __init__(self, events: list[_Event], drawn: list[_Drawn]) -> None:
        self._names: dict[tuple[str, Row], dict[str, Any]] = {}
        for event in events:
            if event.get("ph") == "M" and isinstance(event.get("args"), dict):
                self._names[str(event.get("name")), _row(event)] = event["args"]
        self._groups = {
            row[0]: args.get("name") for (kind, row), args in self._names.items() if kind == "process_name"
        }
        self._lives: dict[Row, tuple[int, int]] = {}
        for row, start, end, _ in drawn:
            first, last = self._lives.get(row, (start, end))
            self._lives[row] = min(first, start), max(last, end)
        self._made: dict[Row, Track] = {}
        self._ids: set[int] = set()
        for kind, row in self._names:
            if kind == "thread_name":
                self.at(row)

    @property
    def made(self) -> list[Track]:
        return list(self._made.values())

    def at(self, row: Row) -> Track:
        found = self._made.get(row)
        if found is None:
            found = self._made[row] = self._make(row)
            self._ids.add(found.id)
        return found

    def _make(self, row: Row) -> Track:
        args = self._names.get(("thread_name", row), {})
        name = str(args.get("name", f"thread {row[1]}"))
        kind = args.get("kind", "thread")
        start, end = self._life(row, args.get("life"))
        number = whole(args.get("id", len(self._made)))
        while number in self._ids:  # of another tool's, or of a file that was put together
            number += 1
        return Track(
            kind=kind if kind in KINDS else "thread",
            id=number,
            name=name.replace("└ ", ""),
            group=str(self._groups.get(row[0]) or "") if kind in OF_LOOPS else "",
            pid=row[0], tid=row[1], parent=whole(args.get("parent", -1)), level=name.count("└ "),
            start=start, end=end,
            args=tuple((key, value) for key, value in args.items() if key not in _KNOWN),
        )  # fmt: skip

    def _life(self, row: Row, said: Any) -> tuple[int, int]:
        """
        As said, and long enough for all slices.
        """
        drawn = self._lives.get(row)
        if said is None:
            return drawn or (0, 0)
        if not (isinstance(said, list) and len(said) == 2):
            raise BadTrace(f"{said!r} where a track's start and end were expected")
        start, end = whole(said[0]), whole(said[1])
        return (min(start, drawn[0]), max(end, drawn[1])) if drawn else (start, end)


_KNOWN = {"name", "kind", "id", "parent", "life"}


class _Others:
    """
    What a file has besides slices.
    """

    def __init__(self, file: TraceFile, tracks: _Tracks) -> None:
        self._file = file
        self._tracks = tracks
        self._arrows: dict[tuple[str, str], tuple[str, Track, int]] = {}
        self._takes = {"s": self._source, "f": self._target, "C": self._counter, "i": self._instant}

    def take(self, events: list[_Event]) -> None:
        for event in events:
            take = self._takes.get(str(event.get("ph")))
            if take is not None:
                take(event)

    def _source(self, event: _Event) -> None:
        track = self._tracks.at(_row(event))
        self._arrows[_key(event)] = str(event.get("name", "")), track, _nanoseconds(event, "ts")

    def _target(self, event: _Event) -> None:
        source = self._arrows.pop(_key(event), None)
        if source is not None:
            self._file.arrows.append(Flow(*source, self._tracks.at(_row(event)), _nanoseconds(event, "ts")))

    def _counter(self, event: _Event) -> None:
        args = event.get("args")
        value = args.get("tasks") if isinstance(args, dict) else None
        if isinstance(value, int):  # those of other tools may have many values, with points
            time, pid = _nanoseconds(event, "ts"), whole(event.get("pid", 0))
            self._file.values.append(Counter(pid, str(event.get("name", "")), time, value))

    def _instant(self, event: _Event) -> None:
        if event.get("s", "t") == "t":
            args = _args(event)
            track, time = self._tracks.at(_row(event)), _nanoseconds(event, "ts")
            self._file.flags.append(Instant(str(event.get("name", "")), track, time, tuple(args.items())))


def _key(event: _Event) -> tuple[str, str]:
    return str(event.get("cat")), str(event.get("id"))


def _args(event: _Event) -> dict[str, Any]:
    args = event.get("args") or {}
    if not isinstance(args, dict):
        raise BadTrace(f"args are {args!r}, not an object")
    return dict(args)


class _Frames:
    """
    Makes the slices' frames, one for all that are equal: encoders keep what they know of each.
    """

    def __init__(self) -> None:
        self._made: dict[object, Frame] = {}

    def drawn(self, event: _Event) -> _Drawn:
        start, length = _nanoseconds(event, "ts"), _nanoseconds(event, "dur")
        if length < 0:
            raise BadTrace(f"dur is {event['dur']!r}, below 0")
        return _row(event), start, start + length, self._frame(event)

    def _frame(self, event: _Event) -> Frame:
        name, category, args = event.get("name", ""), event.get("cat", ""), event.get("args")
        # 1, 1.0 and True are equal, and yet not the same
        key = (name, category, repr(args) if args else "")
        try:
            found = self._made.get(key)
        except TypeError:  # a name that is a list, say
            key, found = (str(name), str(category), key[2]), None
        if found is None:
            args = _args(event)
            file, line = args.pop("file", ""), args.pop("line", 0)
            found = Frame(str(name), str(category), str(file), whole(line), tuple(args.items()))
            self._made[key] = found
        return found


def _row(event: _Event) -> Row:
    return whole(event.get("pid", 0)), whole(event.get("tid", 0))


def _nanoseconds(event: _Event, key: str) -> int:
    value = event.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadTrace(f"{key} is {value!r}, not a number")
    if not -1e15 < value < 1e15:
        raise BadTrace(f"{key} is {value!r}, out of range")
    return round(value * 1000)
