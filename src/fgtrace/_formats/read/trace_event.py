"""
Reads Chrome's Trace Event Format, of whatever tool: slices (``X``, ``B`` and ``E``, ``b`` and ``e``), the
names of tracks (``M``), arrows (``s``, ``t``, ``f``), counters (``C``) and flags (``i``, ``n``). Events of
other kinds are left out, samples (``P``) for instance.

Source: "Trace Event Format" (Google, 2016), and what trace_processor (v52) makes of it.

Files of unknown origin are data: nothing of them is run, and what does not fit is an error with its place.
The slices of one frame that we wrote differ in their times only: the rest of such a line is looked at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import orjson

from fgtrace._formats.read.begin_end_pairs import Arrows, BeginEndPairs, Point
from fgtrace._formats.read.event_rows import Event, EventRows
from fgtrace._formats.read.json_chunks import Piece, Pieces
from fgtrace._formats.read.own_annotations import whole
from fgtrace._formats.read.slice_store import Kept
from fgtrace._formats.read.trace_file import BadTrace, TraceFile
from fgtrace._formats.rows_by_track import Numbers
from fgtrace._model.values import Counter, Frame

__all__ = ["read"]

#: Beginnings and ends of lines that are remembered.
MOST_KNOWN = 100_000
#: Bytes of a line that may be one of ours; longer ones are somebody's whole file.
LONGEST_LINE = 1 << 14
_NUMBER = rb"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?"
#: A slice as we write it.
_LINE = re.compile(
    rb'([^\n]*),"ts":(' + _NUMBER + rb'),"dur":(' + _NUMBER + rb')(,"pid":\d+,"tid":\d+\})(?:,\n|\Z)'
)
#: Times beyond that (ns) are no times.
_LATEST = 1e18


class _Alike(NamedTuple):
    """
    Lines that are slices as we write them: what stands before the times, both times, and what stands behind.
    """

    lines: list[tuple[bytes, bytes, bytes, bytes]]


def read(chunks: Iterable[bytes]) -> TraceFile:
    """
    All of a file.

    Args:
        chunks: the file's bytes.

    Raises:
        BadTrace: it is not a trace.
        OSError: no room for temporary files.
    """
    reader = _TraceEventReader()
    try:
        pieces = Pieces(chunks, reader.parse)
        for piece in pieces:
            reader.take(piece)
        return reader.finish(pieces.rest.get("metadata"))
    except BaseException:
        reader.kept.close()
        raise


class _TraceEventReader:
    """
    Takes the events of a file.

    Attributes:
        kept: what was read.
    """

    def __init__(self) -> None:
        self.kept = Kept()
        self._rows = EventRows()
        self._spans = BeginEndPairs(self.kept)
        self._arrows = Arrows(self.kept)
        self._frames: dict[object, int] = {}
        self._said: dict[object, int] = {}
        self._heads: dict[bytes, int] = {}
        self._tails: dict[bytes, Numbers] = {}
        self._place = 0  # how many events were read
        self._takes: dict[str, Callable[[Event], None]] = {
            "M": self._rows.name, "C": self._counter,
            **dict.fromkeys("BE", self._edge), **dict.fromkeys("be", self._nested),
            **dict.fromkeys("stf", self._arrow), **dict.fromkeys("iIRn", self._flag),
        }  # fmt: skip

    def parse(self, data: bytes) -> _Alike | list[Any]:
        """
        Events with commas between them.

        Raises:
            ValueError: they are none.
        """
        last = data.rfind(b"\n") + 1
        if len(data) - last < LONGEST_LINE and _LINE.match(data, last):
            lines = _LINE.findall(data)
            if len(lines) == data.count(b"\n", 1) + 1 and self._know(lines):
                return _Alike(lines)
        found: list[Any] = orjson.loads(b"[%b]" % data)
        return found

    def _know(self, lines: list[tuple[bytes, bytes, bytes, bytes]]) -> bool:
        """
        Look at the parts of these lines that are new; whether each is a slice.
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
            self._tails[tail] = self.kept.rows.rows(self._rows.thread(orjson.loads(b"{" + tail[1:])))
        return True

    def take(self, piece: Piece[_Alike | list[Any]]) -> None:
        """
        Take some events.

        Raises:
            BadTrace: one of them is wrong; with its place.
        """
        before, slices = self._place, 0
        try:
            if isinstance(piece.parsed, _Alike):
                slices = self._lines(piece.parsed)
            else:
                slices = self._events(piece.parsed)
        except (ValueError, TypeError, OverflowError) as error:
            reason = "a number is out of range" if isinstance(error, OverflowError) else str(error)
            raise BadTrace(reason, piece.place(self._place - before)) from error
        self.kept.grown(slices)

    def _lines(self, alike: _Alike) -> int:
        heads, tails, place = self._heads, self._tails, self._place
        for place, (head, ts, dur, tail) in enumerate(alike.lines, place):  # noqa: B020 -- it goes on
            start, length = round(float(ts) * 1000), round(float(dur) * 1000)
            if length < 0 or not -_LATEST < start < _LATEST:
                self._place = place
                raise BadTrace("a time is out of range")
            tails[tail].extend((start, -start - length, place, heads[head]))
        self._place = place + 1
        return len(alike.lines)

    def _events(self, events: list[Any]) -> int:
        rows, row_of, frame_of, slices = self.kept.rows.rows, self._rows.thread, self._frame, 0
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
            elif type(kind) is str and kind in self._takes:
                self._takes[kind](event)
            self._place += 1
        return slices

    def _frame(self, event: Event) -> int:
        """
        The number of a frame, one for all that are equal: encoders keep what they know of each.
        """
        name, category, args = event.get("name", ""), event.get("cat", ""), event.get("args")
        # 1, 1.0 and True are equal, and yet not the same
        said = orjson.dumps(args) if args else b""
        try:
            found = self._frames.get((name, category, said))
        except TypeError:  # a name that is a list, say
            name, category = str(name), str(category)
            found = self._frames.get((name, category, said))
        if found is None:
            found = self._frames[name, category, said] = len(self.kept.frames)
            args = _args(event)
            file, line = args.pop("file", ""), args.pop("line", 0)
            frame = Frame(str(name), str(category), str(file), whole(line), tuple(args.items()))
            self.kept.frames.append(frame)
        return found

    def _edge(self, event: Event) -> None:
        row, time = self._rows.thread(event), _nanoseconds(event, "ts")
        self._spans.take(row, time, self._place, self._frame(event), ends=event["ph"] == "E")

    def _nested(self, event: Event) -> None:
        row, time = self._rows.nested(event), _nanoseconds(event, "ts")
        self._spans.take(row, time, self._place, self._frame(event), ends=event["ph"] == "e")

    def _arrow(self, event: Event) -> None:
        row, time = self._rows.thread(event), _nanoseconds(event, "ts")
        name = str(event.get("name", ""))
        key = (str(event.get("cat")), name, str(event.get("id")))
        is_next = event["ph"] == "f" and event.get("bp") != "e"
        self._arrows.take(key, name, Point(time, self._place, event["ph"], row, is_next))

    def _counter(self, event: Event) -> None:
        time, pid, name = _nanoseconds(event, "ts"), whole(event.get("pid", 0)), str(event.get("name", ""))
        for key, value in _args(event).items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                self.kept.counter(Counter(pid, name, time, value, key))

    def _flag(self, event: Event) -> None:
        row = self._rows.nested(event) if event["ph"] == "n" else self._rows.thread(event)
        name, args = str(event.get("name", "")), _args(event)
        key = (name, orjson.dumps(args))
        found = self._said.get(key)
        if found is None:
            found = self._said[key] = self.kept.named(name, tuple(args.items()))
        self.kept.flag(row, _nanoseconds(event, "ts"), found)

    def finish(self, metadata: object) -> TraceFile:
        """
        What was read.
        """
        self._spans.settle()
        self.kept.rows.settle()
        self._arrows.settle()
        rows = self._rows.tracks(self.kept)
        found = metadata if isinstance(metadata, dict) else {}
        if not rows and _is_note(found):
            raise BadTrace("it is still under way, or its program was killed")
        return TraceFile(self.kept, rows, found)


def _is_note(metadata: dict[str, Any]) -> bool:
    """
    Whether this is what lies at the path of a trace while that is under way.
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
