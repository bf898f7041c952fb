"""
Reads Chrome's Trace Event Format, of whatever tool: slices (``X``, ``B`` and ``E``, ``b`` and ``e``), the
names of tracks (``M``), arrows (``s``, ``t``, ``f``), counters (``C``) and instants (``i``, ``n``). Events of
other kinds are left out, samples (``P``) for instance.

Source: "Trace Event Format" (Google, 2016), and what trace_processor (v52) makes of it.

Lines of a file that fgtrace wrote which are slices of one frame differ in their times only. So the rest of
such a line is parsed once, and looked up afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import orjson

from fgtrace._formats.read.begin_end_pairs import Arrows, BeginEndPairs, Point
from fgtrace._formats.read.event_rows import Event, EventRows
from fgtrace._formats.read.json_chunks import EventChunk, EventChunks
from fgtrace._formats.read.own_annotations import whole
from fgtrace._formats.read.trace_file import BadTrace, TraceFile
from fgtrace._formats.read.trace_reader import MOST_KNOWN, ReadResult, TraceReader
from fgtrace._formats.rows_by_track import Numbers
from fgtrace._model.values import Counter, Frame

__all__ = ["read", "recognizes"]

#: Bytes of a line that fgtrace may have written; a longer one is another tool's whole file.
LONGEST_LINE = 1 << 14
_NUMBER = rb"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?"
#: A slice as fgtrace writes it.
_LINE = re.compile(
    rb'([^\n]*),"ts":(' + _NUMBER + rb'),"dur":(' + _NUMBER + rb')(,"pid":\d+,"tid":\d+\})(?:,\n|\Z)'
)
#: Times beyond this (ns) are refused.
_LATEST = 1e18


class _SliceLines(NamedTuple):
    """
    Lines that are slices as fgtrace writes them: what stands before the times, both times, and what stands
    behind.
    """

    lines: list[tuple[bytes, bytes, bytes, bytes]]


def recognizes(_data: bytes) -> bool:
    """
    Return True: a file of no other format is read as JSON, and the error says where it is none.
    """
    return True


def read(chunks: Iterable[bytes]) -> TraceFile:
    """
    Read a whole file.

    Args:
        chunks: its bytes.

    Raises:
        BadTrace: it is not a trace.
        OSError: no room for temporary files.
    """
    return _TraceEventReader().read(chunks)


class _TraceEventReader(TraceReader):
    """
    Reads a file event by event.
    """

    def __init__(self) -> None:
        super().__init__()
        self._rows = EventRows()
        self._pairs = BeginEndPairs(self.store)
        self._arrows = Arrows(self.store)
        self._heads: dict[bytes, int] = {}
        self._tails: dict[bytes, Numbers] = {}
        self._place = 0  # how many events were read
        self._handlers: dict[str, Callable[[Event], None]] = {
            "M": self._rows.name, "C": self._counter,
            **dict.fromkeys("BE", self._begin_or_end), **dict.fromkeys("be", self._nested),
            **dict.fromkeys("stf", self._arrow), **dict.fromkeys("iIRn", self._instant),
        }  # fmt: skip

    def _read_all(self, chunks: Iterable[bytes]) -> ReadResult:
        events = EventChunks(chunks, self._parse)
        for chunk in events:
            self._read_events(chunk)
        self._pairs.settle()
        self.store.rows.settle()
        self._arrows.settle()
        rows, metadata = self._rows.tracks(self.store), events.rest.get("metadata")
        found = metadata if isinstance(metadata, dict) else {}
        if not rows and _is_placeholder(found):
            raise BadTrace("it is still under way, or its program was killed")
        return ReadResult(rows, found)

    def _parse(self, data: bytes) -> _SliceLines | list[Any]:
        """
        Parse events with commas between them.

        Raises:
            ValueError: they are none.
        """
        last = data.rfind(b"\n") + 1
        if len(data) - last < LONGEST_LINE and _LINE.match(data, last):
            lines = _LINE.findall(data)
            if len(lines) == data.count(b"\n", 1) + 1 and self._learn(lines):
                return _SliceLines(lines)
        found: list[Any] = orjson.loads(b"[%b]" % data)
        return found

    def _learn(self, lines: list[tuple[bytes, bytes, bytes, bytes]]) -> bool:
        """
        Parse the parts of these lines that are new; return whether each line is a slice.
        """
        if len(self._heads) > MOST_KNOWN:
            self._heads.clear()
        for head in {line[0] for line in lines} - self._heads.keys():
            try:
                event = orjson.loads(head + b"}")
            except ValueError:
                return False
            if not isinstance(event, dict) or event.get("ph") != "X":
                return False
            self._heads[head] = self._frame(event)
        for tail in {line[3] for line in lines} - self._tails.keys():
            self._tails[tail] = self.store.rows.rows(self._rows.thread(orjson.loads(b"{" + tail[1:])))
        return True

    def _read_events(self, chunk: EventChunk[_SliceLines | list[Any]]) -> None:
        """
        Read some events.

        Raises:
            BadTrace: one of them is wrong; with its place.
        """
        before, slices = self._place, 0
        try:
            if isinstance(chunk.parsed, _SliceLines):
                slices = self._read_lines(chunk.parsed)
            else:
                slices = self._read_objects(chunk.parsed)
        except (ValueError, TypeError, OverflowError) as error:
            reason = "a number is out of range" if isinstance(error, OverflowError) else str(error)
            raise BadTrace(reason, chunk.place(self._place - before)) from error
        self.store.note_grown(slices)

    def _read_lines(self, found: _SliceLines) -> int:
        heads, tails, place = self._heads, self._tails, self._place
        for place, (head, ts, dur, tail) in enumerate(found.lines, place):  # noqa: B020 -- it goes on
            start, length = round(float(ts) * 1000), round(float(dur) * 1000)
            if length < 0 or not -_LATEST < start < _LATEST:
                self._place = place
                raise BadTrace("a time is out of range")
            tails[tail].extend((start, -start - length, place, heads[head]))
        self._place = place + 1
        return len(found.lines)

    def _read_objects(self, events: list[Any]) -> int:
        rows, row_of, frame_of, slices = self.store.rows.rows, self._rows.thread, self._frame, 0
        for event in events:
            if type(event) is not dict:
                raise BadTrace(f"an event is {event!r:.40}, not an object")
            kind = event.get("ph")
            if kind == "X":
                start, length = _nanoseconds(event, "ts"), _nanoseconds(event, "dur")
                if length < 0:
                    raise BadTrace(f"dur is {event['dur']!r}, below 0")
                rows(row_of(event)).extend((start, -start - length, self._place, frame_of(event)))
                slices += 1
            elif type(kind) is str and kind in self._handlers:
                self._handlers[kind](event)
            self._place += 1
        return slices

    def _frame(self, event: Event) -> int:
        """
        Return the number of an event's frame.
        """
        name, category, args = event.get("name", ""), event.get("cat", ""), event.get("args")
        # 1, 1.0 and True are equal, and yet not the same
        text = orjson.dumps(args) if args else b""
        try:
            found = self._frames.get((name, category, text))
        except TypeError:  # a name that is a list, say
            name, category = str(name), str(category)
            found = self._frames.get((name, category, text))
        if found is None:
            args = _args(event)
            file, line = args.pop("file", ""), args.pop("line", 0)
            frame = Frame(str(name), str(category), str(file), whole(line), tuple(args.items()))
            found = self._add_frame((name, category, text), frame)
        return found

    def _begin_or_end(self, event: Event) -> None:
        row, time = self._rows.thread(event), _nanoseconds(event, "ts")
        self._pairs.add(row, time, self._place, self._frame(event), ends=event["ph"] == "E")

    def _nested(self, event: Event) -> None:
        row, time = self._rows.nested(event), _nanoseconds(event, "ts")
        self._pairs.add(row, time, self._place, self._frame(event), ends=event["ph"] == "e")

    def _arrow(self, event: Event) -> None:
        row, time = self._rows.thread(event), _nanoseconds(event, "ts")
        name = str(event.get("name", ""))
        key = (str(event.get("cat")), name, str(event.get("id")))
        is_next = event["ph"] == "f" and event.get("bp") != "e"
        self._arrows.add(key, name, Point(time, self._place, event["ph"], row, is_next))

    def _counter(self, event: Event) -> None:
        time, pid, name = _nanoseconds(event, "ts"), whole(event.get("pid", 0)), str(event.get("name", ""))
        for key, value in _args(event).items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                self.store.counter(Counter(pid, name, time, value, key))

    def _instant(self, event: Event) -> None:
        row = self._rows.nested(event) if event["ph"] == "n" else self._rows.thread(event)
        args = tuple(_args(event).items())
        self._add_instant(row, _nanoseconds(event, "ts"), str(event.get("name", "")), args)


def _is_placeholder(metadata: dict[str, Any]) -> bool:
    """
    Return whether this is the metadata of the file that stands for a trace which is under way.
    """
    about = metadata.get("fgtrace")
    return isinstance(about, dict) and about.get("complete") is False


def _args(event: Event) -> dict[str, Any]:
    args = event.get("args") or {}
    if not isinstance(args, dict):
        raise BadTrace(f"args are {args!r:.40}, not an object")
    return dict(args)


def _nanoseconds(event: Event, key: str) -> int:
    value = event.get(key, 0)
    if type(value) is not float and type(value) is not int:
        raise BadTrace(f"{key} is {value!r:.40}, not a number")
    if not -_LATEST < value * 1000 < _LATEST:
        raise BadTrace(f"{key} is {value!r}, out of range")
    return round(value * 1000)
