"""
Reads Perfetto's protobuf as `fgtrace._encode.perfetto` writes it.

Files of other tools have no notes of ours (`fgtrace._perfetto.NOTE`), and are refused: what they say of
tracks, clocks and lost data would need all of trace_processor.

A slice's packets differ in their times only: behind its time, the rest of a packet is looked at once.
"""

from __future__ import annotations

from typing import Any

import orjson

from fgtrace._decode._file import BadTrace, TraceFile
from fgtrace._decode._notes import track_of
from fgtrace._decode._protobuf import Message, varint
from fgtrace._model import Counter, Flow, Frame, Instant, Slice, Track
from fgtrace._perfetto import (
    NOTE,
    Annotation,
    ChromeEvents,
    Descriptor,
    Event,
    Interned,
    Legacy,
    Packet,
    Source,
)

__all__ = ["decode", "is_perfetto", "read"]

_PACKET, _TIMESTAMP = 1 << 3 | 2, Packet.TIMESTAMP << 3
#: Rests of packets that are remembered.
MOST_KEPT = 100_000

#: What a packet says at its time: type of event, uuid of its track, its frame.
_Known = tuple[int, int, Frame | None]


def is_perfetto(data: bytes) -> bool:
    """
    Whether this may be Perfetto's protobuf. JSON may begin with a new line, too, but goes on otherwise.
    """
    if data[:1] != b"\x0a":
        return False
    return bytes((Packet.SEQUENCE << 3,)) in data[2:4] or data[:99].lstrip()[:1] not in (b"{", b"[")


def decode(data: bytes) -> list[Slice]:
    """
    The slices of a file, in the order in which they begin in it.

    Raises:
        BadTrace: it is not a trace of ours.
    """
    return read(data).found


def read(data: bytes) -> TraceFile:
    """
    All of a file.

    Raises:
        BadTrace: it is not a trace of ours.
    """
    reader = _Reader(data)
    at, end = 0, len(data)
    while at < end:
        if data[at] != _PACKET:
            raise BadTrace("no packet begins here", at)
        size, start = varint(data, at + 1, end)
        if size > end - start:
            raise BadTrace("the file ends within a packet", at)
        reader.packet(start, start + size)
        at = start + size
    return reader.finish()


class _Reader:
    """
    Takes the packets of a file, one by one.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._file = TraceFile()
        self._tracks: dict[int, Track] = {}
        self._counters: dict[int, tuple[str, int]] = {}
        self._interned: dict[tuple[int, int], Any] = {}
        self._known: dict[bytes, _Known] = {}
        self._open: dict[int, list[int]] = {}  # uuid -> places of slices in the file
        self._arrows: dict[int, tuple[str, Track, int]] = {}
        self._is_ours = self._is_whole = False

    def packet(self, at: int, end: int) -> None:
        """
        A packet, of which the fields lie between these places.
        """
        if self._data[at : at + 1] != bytes((_TIMESTAMP,)):
            found = Message(self._data, at, end)
            self._other(found, found.number(Packet.TIMESTAMP))
            return
        time, rest = varint(self._data, at + 1, end)
        tail = self._data[rest:end]
        known = self._known.get(tail)
        if known is None:
            found = Message(self._data, rest, end)
            event = found.message(Packet.TRACK_EVENT)
            if event is None or event.number(Event.TYPE) not in (Event.BEGIN, Event.END):
                self._other(found, time)
                return
            known = self._event(event)
            if len(self._known) >= MOST_KEPT:
                self._known.clear()
            self._known[tail] = known
        self._edge(known, time, at)

    def _edge(self, known: _Known, time: int, at: int) -> None:
        kind, uuid, frame = known
        slices, places = self._file.found, self._open.setdefault(uuid, [])
        if frame is not None and kind == Event.BEGIN:
            track = self._tracks.get(uuid)
            if track is None:
                raise BadTrace("a slice is on an unknown track", at)
            places.append(len(slices))
            slices.append(Slice(track, time, time, len(places) - 1, frame))
            return
        if not places:
            raise BadTrace("a slice ends that did not begin", at)
        place = places.pop()
        begun = slices[place]
        if time < begun.start:
            raise BadTrace("a slice ends before it begins", at)
        slices[place] = Slice(begun.track, begun.start, time, begun.depth, begun.frame)

    def _event(self, event: Message) -> _Known:
        kind, uuid = event.number(Event.TYPE), event.number(Event.TRACK)
        if kind == Event.END:
            return kind, uuid, None
        file, line = self._text(Interned.SOURCES, event, Event.SOURCE_IID, ("", 0))
        return kind, uuid, Frame(
            self._text(Interned.NAMES, event, Event.NAME_IID),
            self._text(Interned.CATEGORIES, event, Event.CATEGORY_IID),
            file,
            line,
            self._args(event),
        )  # fmt: skip

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
                self._text(Interned.ANNOTATION_NAMES, each, Annotation.NAME_IID, each.text(Annotation.NAME)),
                self._value(each),
            )
            for each in event.messages(Event.ANNOTATION)
        )

    def _value(self, said: Message) -> Any:
        if Annotation.STRING_IID in said:
            return self._text(Interned.STRINGS, said, Annotation.STRING_IID)
        if Annotation.JSON in said:
            return _json(said.bytes(Annotation.JSON), said.at)
        if Annotation.INT in said:
            return said.signed(Annotation.INT)
        if Annotation.DOUBLE in said:
            return said.double(Annotation.DOUBLE)
        if Annotation.BOOL in said:
            return bool(said.number(Annotation.BOOL))
        return said.text(Annotation.STRING)

    def _other(self, packet: Message, time: int) -> None:
        """
        A packet that is no slice's.
        """
        for interned in packet.messages(Packet.INTERNED):
            self._intern(interned)
        for events in packet.messages(Packet.CHROME_EVENTS):
            for each in events.messages(ChromeEvents.METADATA):
                value = _json(each.bytes(ChromeEvents.JSON), each.at)
                self._file.metadata[each.text(ChromeEvents.NAME)] = value
        if NOTE in packet:
            self._note(_json(packet.bytes(NOTE), packet.at), packet)
        event = packet.message(Packet.TRACK_EVENT)
        if event is not None:
            self._single(event, time)

    def _intern(self, said: Message) -> None:
        for kind in (Interned.NAMES, Interned.CATEGORIES, Interned.ANNOTATION_NAMES, Interned.STRINGS):
            for each in said.messages(kind):
                self._interned[kind, each.number(1)] = each.text(2)
        for each in said.messages(Interned.SOURCES):
            place = each.text(Source.FILE), each.number(Source.LINE)
            self._interned[Interned.SOURCES, each.number(1)] = place

    def _note(self, said: Any, packet: Message) -> None:
        if not isinstance(said, dict):
            raise BadTrace("a note is not an object", packet.at)
        self._is_ours = self._is_ours or "fgtrace" in said
        self._is_whole = self._is_whole or "end" in said
        descriptor = packet.message(Packet.DESCRIPTOR)
        if descriptor is None:
            return
        uuid = descriptor.number(Descriptor.UUID)
        if "counter" in said:
            self._counters[uuid] = str(said["counter"]), said["pid"] if type(said.get("pid")) is int else 0
            return
        try:
            self._tracks[uuid] = track_of(said)
        except ValueError as error:
            raise BadTrace(f"bad facts of a track: {error}", packet.at) from error
        self._file.tracks.append(self._tracks[uuid])

    def _single(self, event: Message, time: int) -> None:
        """
        A counter's value, a flag, or an end of an arrow.
        """
        uuid = event.number(Event.TRACK)
        if event.number(Event.TYPE) == Event.COUNTER and uuid in self._counters:
            name, pid = self._counters[uuid]
            self._file.values.append(Counter(pid, name, time, event.signed(Event.COUNTER_VALUE)))
            return
        track = self._tracks.get(uuid)
        if track is None:
            raise BadTrace("an event is on an unknown track", event.at)
        legacy = event.message(Event.LEGACY)
        if legacy is not None:
            self._arrow(legacy, event.text(Event.NAME), track, time)
        elif event.number(Event.TYPE) == Event.INSTANT:
            self._file.flags.append(Instant(event.text(Event.NAME), track, time, self._args(event)))

    def _arrow(self, legacy: Message, name: str, track: Track, time: int) -> None:
        number = legacy.number(Legacy.ID)
        if legacy.number(Legacy.PHASE) == ord("s"):
            self._arrows[number] = name, track, time
            return
        source = self._arrows.pop(number, None)
        if source is not None:
            self._file.arrows.append(Flow(*source, track, time))

    def finish(self) -> TraceFile:
        """
        What was read.
        """
        if not self._is_ours:
            raise BadTrace("it may be a trace of Perfetto's, but fgtrace did not write it")
        if not self._is_whole or any(self._open.values()):
            raise BadTrace("the file ends too early", len(self._data))
        return self._file


def _json(said: bytes, at: int) -> Any:
    try:
        return orjson.loads(said)
    except ValueError as error:
        raise BadTrace(f"bad JSON in a packet: {error}", at) from error
