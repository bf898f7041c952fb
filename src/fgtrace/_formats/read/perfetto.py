"""
Reads Perfetto's protobuf as `fgtrace._formats.write.perfetto` writes it.

Files of other tools have no notes of ours (
`fgtrace._formats.perfetto_fields.NOTE`), and are refused: what they say of
tracks, clocks and lost data would need all of trace_processor.

A slice's packets differ in their times only: behind its time, the rest of a packet is looked at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from fgtrace._formats.perfetto_fields import (
    NOTE,
    ChromeEventBundle,
    DebugAnnotation,
    InternedData,
    LegacyEvent,
    SourceLocation,
    TracePacket,
    TrackDescriptor,
    TrackEvent,
)
from fgtrace._formats.read.own_annotations import track_of
from fgtrace._formats.read.slice_store import Kept
from fgtrace._formats.read.trace_file import BadTrace, TraceFile
from fgtrace._formats.read.wire import Message, read_varint
from fgtrace._model.values import Counter, Frame

__all__ = ["is_perfetto", "read"]

_PACKET, _TIMESTAMP = 1 << 3 | 2, TracePacket.TIMESTAMP << 3
#: Rests of packets that are remembered.
MOST_KNOWN = 100_000
#: Bytes of a packet.
LARGEST = 64 * 1024**2
#: A packet's tag and its length.
_LONGEST_START = 11

#: What a packet says at its time: uuid of its track, and the frame that begins; None: one ends.
_Known = tuple[int, int | None]
#: What stands behind the number of an arrow, where it begins and where it ends; the number itself is the last
#: but for that.
_BEHIND = (b"", bytes((LegacyEvent.BIND_TO_ENCLOSING << 3, 1)))


def is_perfetto(data: bytes) -> bool:
    """
    Whether this may be Perfetto's protobuf. JSON may begin with a new line, too, but goes on otherwise.
    """
    if data[:1] != b"\x0a":
        return False
    return bytes((TracePacket.SEQUENCE << 3,)) in data[2:4] or data[:99].lstrip()[:1] not in (b"{", b"[")


def read(chunks: Iterable[bytes]) -> TraceFile:
    """
    All of a file.

    Args:
        chunks: the file's bytes.

    Raises:
        BadTrace: it is not a trace of ours.
        OSError: no room for temporary files.
    """
    reader = _PerfettoReader()
    try:
        for chunk in chunks:
            reader.take(chunk)
        return reader.finish()
    except BaseException:
        reader.kept.close()
        raise


class _PerfettoReader:
    """
    Takes the packets of a file.

    Attributes:
        kept: what was read.
    """

    def __init__(self) -> None:
        self.kept = Kept()
        self._data = b""
        self._at = 0  # of these data in the file
        self._metadata: dict[str, Any] = {}
        self._counters: dict[int, tuple[int, str, str]] = {}  # pid, name, unit
        self._interned: dict[tuple[int, int], Any] = {}
        self._known: dict[bytes, _Known] = {}
        self._frames: dict[object, int] = {}
        #: uuid -> its slices that have no end yet: start, place in the file, frame.
        self._open: dict[int, list[tuple[int, int, int]]] = {}
        self._begun = self._ended = 0  # slices
        self._arrows: dict[int, tuple[str, int, int]] = {}
        #: What an end of an arrow says but for its number -> its phase, its name, uuid of its track.
        self._ends: dict[tuple[bytes, bytes], tuple[int, str, int]] = {}
        self._is_ours = self._is_whole = False

    def take(self, chunk: bytes, *, is_last: bool = False) -> None:
        """
        Take the packets that end in a chunk.

        Raises:
            BadTrace: they are none; with its place in the file.
        """
        self._data += chunk
        before = self._ended
        try:
            at = self._packets(is_last=is_last)
        except BadTrace as error:
            raise BadTrace(str(error), None if error.pos is None else self._at + error.pos) from error
        except OverflowError as error:
            raise BadTrace("a number is out of range", self._at) from error
        self.kept.grown(self._ended - before)
        self._data = self._data[at:]
        self._at += at

    def _packets(self, *, is_last: bool) -> int:
        """
        Take the packets that are there; the place of the first that is not there as a whole.
        """
        data, at, end = self._data, 0, len(self._data)
        while end - (at := self._alike(at, end)) > (0 if is_last else _LONGEST_START):
            if data[at] != _PACKET:
                raise BadTrace("no packet begins here", at)
            size, start = read_varint(data, at + 1, end)
            if size > LARGEST:
                raise BadTrace(f"a packet has more than {LARGEST >> 20} MiB", at)
            if size > end - start:
                if is_last:
                    raise BadTrace("the file ends within a packet", at)
                break
            self._packet(start, start + size)
            at = start + size
        return at

    def _packet(self, at: int, end: int) -> None:
        """
        A packet, of which the fields lie between these places.
        """
        data = self._data
        if at == end or data[at] != _TIMESTAMP:
            found = Message(data, at, end)
            self._other(found, found.number(TracePacket.TIMESTAMP))
            return
        time, rest = read_varint(data, at + 1, end)
        known = self._known.get(data[rest:end])
        if known is None:
            if self._is_arrow(rest, end, time):
                return
            found = Message(data, rest, end)
            event = found.message(TracePacket.TRACK_EVENT)
            if event is None or event.number(TrackEvent.TYPE) not in (TrackEvent.BEGIN, TrackEvent.END):
                self._other(found, time)
                self._learn(event, rest, end)
                return
            known = self._event(event)
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[data[rest:end]] = known
        self._edge(known, time, at)

    def _alike(self, at: int, end: int) -> int:
        """
        Take the packets that differ from earlier ones in their times only; the place of the first other one.
        """
        data, known, edge = self._data, self._known, self._edge
        while end - at > _LONGEST_START:
            size, place = data[at + 1], at + 3
            stop = at + 2 + size
            if data[at] != _PACKET or size > 127 or stop > end or data[at + 2] != _TIMESTAMP:
                break
            byte = data[place]
            time, shift = byte & 127, 7
            while byte > 127 and place < stop - 1:
                place += 1
                byte = data[place]
                time |= (byte & 127) << shift
                shift += 7
            face = known.get(data[place + 1 : stop])
            if face is None or byte > 127:
                break
            edge(face, time, at)
            at = stop
        return at

    def _edge(self, known: _Known, time: int, at: int) -> None:
        """
        A begin or an end of a slice.
        """
        row, frame = known
        begun = self._open.get(row)
        if begun is None:
            begun = self._open[row] = []
        if frame is not None:
            if not begun and row not in self.kept.tracks:
                raise BadTrace("a slice is on an unknown track", at)
            begun.append((time, self._begun, frame))
            self._begun += 1
            return
        if not begun:
            raise BadTrace("a slice ends that did not begin", at)
        start, place, frame = begun.pop()
        if time < start:
            raise BadTrace("a slice ends before it begins", at)
        self.kept.rows.rows(row).extend((start, -time, place, frame))
        self._ended += 1

    def _event(self, event: Message) -> _Known:
        uuid = event.number(TrackEvent.TRACK)
        if event.number(TrackEvent.TYPE) == TrackEvent.END:
            return uuid, None
        file, line = self._text(InternedData.SOURCES, event, TrackEvent.SOURCE_IID, ("", 0))
        frame = Frame(
            self._text(InternedData.NAMES, event, TrackEvent.NAME_IID),
            self._text(InternedData.CATEGORIES, event, TrackEvent.CATEGORY_IID),
            file,
            line,
            self._args(event),
        )  # fmt: skip
        return uuid, self._frame(frame)

    def _frame(self, frame: Frame) -> int:
        key = (frame.name, frame.category, frame.file, frame.line, repr(frame.args))  # True is no 1
        found = self._frames.get(key)
        if found is None:
            found = self._frames[key] = len(self.kept.frames)
            self.kept.frames.append(frame)
        return found

    def _text(self, kind: int, message: Message, field: int, default: Any = "") -> Any:
        if field not in message:
            return default
        try:
            return self._interned[kind, message.number(field)]
        except KeyError:
            raise BadTrace("a text is named that was not said before", message.at) from None

    def _args(self, event: Message) -> tuple[tuple[str, Any], ...]:
        return tuple(
            (
                self._text(
                    InternedData.ANNOTATION_NAMES,
                    each,
                    DebugAnnotation.NAME_IID,
                    each.text(DebugAnnotation.NAME),
                ),
                self._value(each),
            )
            for each in event.messages(TrackEvent.ANNOTATION)
        )

    def _value(self, said: Message) -> Any:
        if DebugAnnotation.STRING_IID in said:
            return self._text(InternedData.STRINGS, said, DebugAnnotation.STRING_IID)
        if DebugAnnotation.JSON in said:
            return _json(said.bytes(DebugAnnotation.JSON), said.at)
        if DebugAnnotation.INT in said:
            return said.signed(DebugAnnotation.INT)
        if DebugAnnotation.DOUBLE in said:
            return said.double(DebugAnnotation.DOUBLE)
        if DebugAnnotation.BOOL in said:
            return bool(said.number(DebugAnnotation.BOOL))
        return said.text(DebugAnnotation.STRING)

    def _other(self, packet: Message, time: int) -> None:
        """
        A packet that is no slice's.
        """
        for interned in packet.messages(TracePacket.INTERNED):
            self._intern(interned)
        for events in packet.messages(TracePacket.CHROME_EVENTS):
            for each in events.messages(ChromeEventBundle.METADATA):
                value = _json(each.bytes(ChromeEventBundle.JSON), each.at)
                self._metadata[each.text(ChromeEventBundle.NAME)] = value
        if NOTE in packet:
            self._note(_json(packet.bytes(NOTE), packet.at), packet)
        event = packet.message(TracePacket.TRACK_EVENT)
        if event is not None:
            self._single(event, time)

    def _intern(self, said: Message) -> None:
        for kind in (
            InternedData.NAMES,
            InternedData.CATEGORIES,
            InternedData.ANNOTATION_NAMES,
            InternedData.STRINGS,
        ):
            for each in said.messages(kind):
                self._interned[kind, each.number(1)] = each.text(2)
        for each in said.messages(InternedData.SOURCES):
            place = each.text(SourceLocation.FILE), each.number(SourceLocation.LINE)
            self._interned[InternedData.SOURCES, each.number(1)] = place

    def _note(self, said: Any, packet: Message) -> None:
        if not isinstance(said, dict):
            raise BadTrace("a note is not an object", packet.at)
        self._is_ours = self._is_ours or "fgtrace" in said
        self._is_whole = self._is_whole or "end" in said
        descriptor = packet.message(TracePacket.DESCRIPTOR)
        if descriptor is None:
            return
        uuid = descriptor.number(TrackDescriptor.UUID)
        if "counter" in said:
            pid = said["pid"] if type(said.get("pid")) is int else 0
            self._counters[uuid] = pid, str(said["counter"]), str(said.get("unit", "tasks"))
            return
        try:
            self.kept.tracks[uuid] = track_of(said)
        except ValueError as error:
            raise BadTrace(f"bad facts of a track: {error}", packet.at) from error

    def _single(self, event: Message, time: int) -> None:
        """
        A counter's value, a flag, or an end of an arrow.
        """
        uuid = event.number(TrackEvent.TRACK)
        if event.number(TrackEvent.TYPE) == TrackEvent.COUNTER and uuid in self._counters:
            (pid, name, unit), value = self._counters[uuid], event.signed(TrackEvent.COUNTER_VALUE)
            precise = (
                event.double(TrackEvent.DOUBLE_COUNTER_VALUE)
                if TrackEvent.DOUBLE_COUNTER_VALUE in event
                else value
            )
            self.kept.counter(Counter(pid, name, time, precise, unit))
            return
        if uuid not in self.kept.tracks:
            raise BadTrace("an event is on an unknown track", event.at)
        legacy = event.message(TrackEvent.LEGACY)
        if legacy is not None:
            name = event.text(TrackEvent.NAME)
            self._arrow(legacy.number(LegacyEvent.ID), legacy.number(LegacyEvent.PHASE), name, uuid, time)
        elif event.number(TrackEvent.TYPE) == TrackEvent.INSTANT:
            self.kept.flag(uuid, time, self.kept.named(event.text(TrackEvent.NAME), self._args(event)))

    def _arrow(self, number: int, phase: int, name: str, row: int, time: int) -> None:
        if phase == ord("s"):
            self._arrows[number] = name, row, time
            return
        source = self._arrows.pop(number, None)
        if source is not None:
            self.kept.flow(*source, row, time)

    def _is_arrow(self, at: int, end: int, time: int) -> bool:
        """
        Whether a packet, of which the rest behind its time is here, differs from an earlier arrow's in the
        number only; then that is taken.
        """
        data = self._data
        for behind in _BEHIND:
            first, stop = _number_before(data, at, end - len(behind))
            known = self._ends.get((data[at:first], data[stop:end]))
            if known is not None:
                self._arrow(read_varint(data, first, stop)[0], *known, time)
                return True
        return False

    def _learn(self, event: Message | None, at: int, end: int) -> None:
        """
        Remember an end of an arrow, if its number stands where it is expected.
        """
        legacy = event.message(TrackEvent.LEGACY) if event is not None else None
        if event is None or legacy is None or len(self._ends) >= MOST_KNOWN:
            return
        phase, name = legacy.number(LegacyEvent.PHASE), event.text(TrackEvent.NAME)
        behind = _BEHIND[phase != ord("s")]
        data = self._data
        first, stop = _number_before(data, at, end - len(behind))
        is_there = data[first - 1] == LegacyEvent.ID << 3 and read_varint(data, first, stop) == (
            legacy.number(LegacyEvent.ID),
            stop,
        )
        if legacy.end == event.end == end and data[stop:end] == behind and is_there:
            self._ends[data[at:first], behind] = phase, name, event.number(TrackEvent.TRACK)

    def finish(self) -> TraceFile:
        """
        What was read.
        """
        self.take(b"", is_last=True)
        if not self._is_ours:
            raise BadTrace("it may be a trace of Perfetto's, but fgtrace did not write it")
        if not self._is_whole or any(self._open.values()):
            raise BadTrace("the file ends too early", self._at)
        self.kept.rows.settle()
        return TraceFile(self.kept, list(self.kept.tracks), self._metadata)


def _number_before(data: bytes, at: int, end: int) -> tuple[int, int]:
    """
    Where a whole number would begin that ends here, and its end.
    """
    first = end - 1
    while first > at and data[first - 1] > 127:
        first -= 1
    return first, end


def _json(said: bytes, at: int) -> Any:
    try:
        return orjson.loads(said)
    except ValueError as error:
        raise BadTrace(f"bad JSON in a packet: {error}", at) from error
