"""
Reads Perfetto's protobuf as `fgtrace._formats.write.perfetto` writes it.

Files of other tools lack our annotations (`fgtrace._formats.perfetto_fields.OWN_ANNOTATION`), and are
refused: their tracks, clocks and lost data would need all of trace_processor.

The packets of equal slices differ in their times only. So the rest of a packet behind its time is parsed
once, and looked up afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from fgtrace._formats.perfetto_fields import (
    OWN_ANNOTATION,
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
from fgtrace._formats.read.trace_file import BadTrace, TraceFile
from fgtrace._formats.read.trace_reader import MOST_KNOWN, ReadResult, TraceReader
from fgtrace._formats.read.wire import Message, read_varint
from fgtrace._model.values import Counter, Frame

__all__ = ["read", "recognizes"]

_PACKET, _TIMESTAMP = 1 << 3 | 2, TracePacket.TIMESTAMP << 3
#: Bytes of a packet.
LARGEST = 64 * 1024**2
#: A packet's tag and its length.
_LONGEST_START = 11

#: What a packet says at its time: the uuid of its track, and the number of the frame that begins; None: a
#: slice ends.
_Known = tuple[int, int | None]
#: The bytes behind an arrow's number, in the packet of its start, and in that of its end.
_BEHIND = (b"", bytes((LegacyEvent.BIND_TO_ENCLOSING << 3, 1)))


def recognizes(data: bytes) -> bool:
    """
    Return whether a file that begins with these bytes may be Perfetto's protobuf. JSON may begin with a new
    line, too, but other bytes follow there.
    """
    if data[:1] != b"\x0a":
        return False
    return bytes((TracePacket.SEQUENCE << 3,)) in data[2:4] or data[:99].lstrip()[:1] not in (b"{", b"[")


def read(chunks: Iterable[bytes]) -> TraceFile:
    """
    Read a whole file.

    Args:
        chunks: its bytes.

    Raises:
        BadTrace: it is not a trace that fgtrace wrote.
        OSError: no room for temporary files.
    """
    return _PerfettoReader().read(chunks)


class _PerfettoReader(TraceReader):
    """
    Reads a file packet by packet.
    """

    def __init__(self) -> None:
        super().__init__()
        self._data = b""
        self._at = 0  # the place of these data in the file
        self._metadata: dict[str, Any] = {}
        self._counters: dict[int, tuple[int, str, str]] = {}  # pid, name, unit
        self._interned: dict[tuple[int, int], Any] = {}
        self._known: dict[bytes, _Known] = {}
        #: uuid -> its slices that have no end yet: start, place in the file, frame.
        self._open: dict[int, list[tuple[int, int, int]]] = {}
        self._begun = self._ended = 0  # slices
        self._arrows: dict[int, tuple[str, int, int]] = {}
        #: The bytes of an arrow's packet around its number -> its phase, its name, the uuid of its track.
        self._known_arrows: dict[tuple[bytes, bytes], tuple[int, str, int]] = {}
        self._is_ours = self._is_whole = False

    def _read_all(self, chunks: Iterable[bytes]) -> ReadResult:
        for chunk in chunks:
            self._read_chunk(chunk)
        self._read_chunk(b"", is_last=True)
        if not self._is_ours:
            raise BadTrace("it may be a trace of Perfetto's, but fgtrace did not write it")
        if not self._is_whole or any(self._open.values()):
            raise BadTrace("the file ends too early", self._at)
        self.store.rows.settle()
        return ReadResult(list(self.store.tracks), self._metadata)

    def _read_chunk(self, chunk: bytes, *, is_last: bool = False) -> None:
        """
        Read the packets that end in a chunk.

        Raises:
            BadTrace: what is there is no packet; with its place in the file.
        """
        self._data += chunk
        before = self._ended
        try:
            at = self._packets(is_last=is_last)
        except BadTrace as error:
            raise BadTrace(str(error), None if error.pos is None else self._at + error.pos) from error
        except OverflowError as error:
            raise BadTrace("a number is out of range", self._at) from error
        self.store.note_grown(self._ended - before)
        self._data = self._data[at:]
        self._at += at

    def _packets(self, *, is_last: bool) -> int:
        """
        Read the packets in the data; return the place of the first that is incomplete.
        """
        data, at, end = self._data, 0, len(self._data)
        while end - (at := self._known_packets(at, end)) > (0 if is_last else _LONGEST_START):
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
        Read a packet, of which the fields lie between these places.
        """
        data = self._data
        if at == end or data[at] != _TIMESTAMP:
            found = Message(data, at, end)
            self._other(found, found.number(TracePacket.TIMESTAMP))
            return
        time, rest = read_varint(data, at + 1, end)
        known = self._known.get(data[rest:end])
        if known is None:
            if self._try_arrow(rest, end, time):
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
        self._begin_or_end(known, time, at)

    def _known_packets(self, at: int, end: int) -> int:
        """
        Read the packets that differ from earlier ones in their times only; return the place of the first
        other packet.
        """
        data, known, begin_or_end = self._data, self._known, self._begin_or_end
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
            found = known.get(data[place + 1 : stop])
            if found is None or byte > 127:
                break
            begin_or_end(found, time, at)
            at = stop
        return at

    def _begin_or_end(self, known: _Known, time: int, at: int) -> None:
        """
        Begin or end a slice.
        """
        row, frame = known
        begun = self._open.get(row)
        if begun is None:
            begun = self._open[row] = []
        if frame is not None:
            if not begun and row not in self.store.tracks:
                raise BadTrace("a slice is on an unknown track", at)
            begun.append((time, self._begun, frame))
            self._begun += 1
            return
        if not begun:
            raise BadTrace("a slice ends that did not begin", at)
        start, place, frame = begun.pop()
        if time < start:
            raise BadTrace("a slice ends before it begins", at)
        self.store.rows.rows(row).extend((start, -time, place, frame))
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
        key = (frame.name, frame.category, frame.file, frame.line, repr(frame.args))  # since True == 1
        number = self._frames.get(key)
        return uuid, self._add_frame(key, frame) if number is None else number

    def _text(self, kind: int, message: Message, field: int, default: Any = "") -> Any:
        if field not in message:
            return default
        try:
            return self._interned[kind, message.number(field)]
        except KeyError:
            raise BadTrace("a text is used that was not interned before", message.at) from None

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

    def _value(self, annotation: Message) -> Any:
        if DebugAnnotation.STRING_IID in annotation:
            return self._text(InternedData.STRINGS, annotation, DebugAnnotation.STRING_IID)
        if DebugAnnotation.JSON in annotation:
            return _json(annotation.bytes(DebugAnnotation.JSON), annotation.at)
        if DebugAnnotation.INT in annotation:
            return annotation.signed(DebugAnnotation.INT)
        if DebugAnnotation.DOUBLE in annotation:
            return annotation.double(DebugAnnotation.DOUBLE)
        if DebugAnnotation.BOOL in annotation:
            return bool(annotation.number(DebugAnnotation.BOOL))
        return annotation.text(DebugAnnotation.STRING)

    def _other(self, packet: Message, time: int) -> None:
        """
        Read a packet that is neither the begin nor the end of a slice.
        """
        for interned in packet.messages(TracePacket.INTERNED):
            self._intern(interned)
        for events in packet.messages(TracePacket.CHROME_EVENTS):
            for each in events.messages(ChromeEventBundle.METADATA):
                value = _json(each.bytes(ChromeEventBundle.JSON), each.at)
                self._metadata[each.text(ChromeEventBundle.NAME)] = value
        if OWN_ANNOTATION in packet:
            self._own_annotation(_json(packet.bytes(OWN_ANNOTATION), packet.at), packet)
        event = packet.message(TracePacket.TRACK_EVENT)
        if event is not None:
            self._single(event, time)

    def _intern(self, interned: Message) -> None:
        for kind in (
            InternedData.NAMES,
            InternedData.CATEGORIES,
            InternedData.ANNOTATION_NAMES,
            InternedData.STRINGS,
        ):
            for each in interned.messages(kind):
                self._interned[kind, each.number(1)] = each.text(2)
        for each in interned.messages(InternedData.SOURCES):
            place = each.text(SourceLocation.FILE), each.number(SourceLocation.LINE)
            self._interned[InternedData.SOURCES, each.number(1)] = place

    def _own_annotation(self, facts: Any, packet: Message) -> None:
        if not isinstance(facts, dict):
            raise BadTrace("an annotation is not an object", packet.at)
        self._is_ours = self._is_ours or "fgtrace" in facts
        self._is_whole = self._is_whole or "end" in facts
        descriptor = packet.message(TracePacket.DESCRIPTOR)
        if descriptor is None:
            return
        uuid = descriptor.number(TrackDescriptor.UUID)
        if "counter" in facts:
            pid = facts["pid"] if type(facts.get("pid")) is int else 0
            self._counters[uuid] = pid, str(facts["counter"]), str(facts.get("unit", "tasks"))
            return
        try:
            self.store.tracks[uuid] = track_of(facts)
        except ValueError as error:
            raise BadTrace(f"bad facts of a track: {error}", packet.at) from error

    def _single(self, event: Message, time: int) -> None:
        """
        Read a counter's value, an instant, or one end of an arrow.
        """
        uuid = event.number(TrackEvent.TRACK)
        if event.number(TrackEvent.TYPE) == TrackEvent.COUNTER and uuid in self._counters:
            (pid, name, unit), value = self._counters[uuid], event.signed(TrackEvent.COUNTER_VALUE)
            precise = (
                event.double(TrackEvent.DOUBLE_COUNTER_VALUE)
                if TrackEvent.DOUBLE_COUNTER_VALUE in event
                else value
            )
            self.store.counter(Counter(pid, name, time, precise, unit))
            return
        if uuid not in self.store.tracks:
            raise BadTrace("an event is on an unknown track", event.at)
        legacy = event.message(TrackEvent.LEGACY)
        if legacy is not None:
            name = event.text(TrackEvent.NAME)
            self._arrow(legacy.number(LegacyEvent.ID), legacy.number(LegacyEvent.PHASE), name, uuid, time)
        elif event.number(TrackEvent.TYPE) == TrackEvent.INSTANT:
            self._add_instant(uuid, time, event.text(TrackEvent.NAME), self._args(event))

    def _arrow(self, number: int, phase: int, name: str, row: int, time: int) -> None:
        if phase == ord("s"):
            self._arrows[number] = name, row, time
            return
        begun = self._arrows.pop(number, None)
        if begun is not None:
            self.store.flow(*begun, row, time)

    def _try_arrow(self, at: int, end: int, time: int) -> bool:
        """
        Read a packet as an arrow's if the rest behind its time, which lies here, differs from an earlier
        one's in the arrow's number only; return whether that is so.
        """
        data = self._data
        for behind in _BEHIND:
            first, stop = _number_before(data, at, end - len(behind))
            known = self._known_arrows.get((data[at:first], data[stop:end]))
            if known is not None:
                self._arrow(read_varint(data, first, stop)[0], *known, time)
                return True
        return False

    def _learn(self, event: Message | None, at: int, end: int) -> None:
        """
        Remember the bytes of an arrow's packet, if its number stands where it is expected.
        """
        legacy = event.message(TrackEvent.LEGACY) if event is not None else None
        if event is None or legacy is None or len(self._known_arrows) >= MOST_KNOWN:
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
            self._known_arrows[data[at:first], behind] = phase, name, event.number(TrackEvent.TRACK)


def _number_before(data: bytes, at: int, end: int) -> tuple[int, int]:
    """
    Return where the varint that ends here would begin, and its end.
    """
    first = end - 1
    while first > at and data[first - 1] > 127:
        first -= 1
    return first, end


def _json(data: bytes, at: int) -> Any:
    try:
        return orjson.loads(data)
    except ValueError as error:
        raise BadTrace(f"bad JSON in a packet: {error}", at) from error
