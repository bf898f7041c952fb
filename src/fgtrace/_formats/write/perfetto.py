"""
Perfetto's protobuf, written as a stream of packets.

Source: https://perfetto.dev/docs/reference/trace-packet-proto, with the numbers of
`fgtrace._formats.perfetto_fields`, and what trace_processor (v52) really does with them. A wrong tag gives no
slices and no error.

A slice is two packets, its begin and its end. trace_processor sorts packets by time, those of one
time by their place in the file: that is the order of `fgtrace._model.drawing`. Names, categories, source
locations and the arguments' names and strings are interned: written once, just before they are needed.

Arrows come after all slices, so they are the old kind (`LegacyEvent`, phases ``s`` and ``f``), which
binds to the slice around its time; a flow id would have to be known when its slice is written.

The bytes that are the same for every slice of a frame, and for every end on a track, are made once. Times
and uuids have one length within a file, so no packet needs its length counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from fgtrace._formats.perfetto_fields import (
    EVENTS,
    ChromeEventBundle,
    LegacyEvent,
    TracePacket,
    TrackDescriptor,
    TrackEvent,
)
from fgtrace._formats.write.metadata_facts import pid_of
from fgtrace._formats.write.perfetto_interning import FrameInterning, annotation
from fgtrace._formats.write.perfetto_tracks import Uuids, descriptors, own_annotation, packet
from fgtrace._formats.write.safe_text import safe_json, safe_name
from fgtrace._formats.write.wire import fixed64, message, number, text, varint
from fgtrace._model.drawing import BeginEnd, Drawing
from fgtrace._model.values import Counter, Flow, Frame, Instant

__all__ = ["encode"]

#: Begins and ends in a chunk: a millisecond's work, so that no other thread waits long.
CHUNK = 1000
#: A time is two numbers of 14 bits from a table, and the rest.
_BITS = 14
_LOW = (1 << _BITS) - 1
_LOWS = [bytes((low & 0x7F | 0x80, low >> 7 | 0x80)) for low in range(_LOW + 1)]


def encode(drawing: Drawing, metadata: Mapping[str, Any]) -> Iterator[bytes]:
    """
    Yield a whole file in chunks.

    Args:
        drawing: what to write.
        metadata: goes into the file as it is, one entry a key; Perfetto shows it with ``cr-`` before.
    """
    tracks = drawing.tracks
    uuids = Uuids(tracks)
    first = number(TracePacket.FLAGS, TracePacket.CLEARED) + number(TracePacket.FIRST, 1)
    yield packet(
        EVENTS,
        first,
        *(_metadata(key, value) for key, value in metadata.items()),
        own_annotation({"fgtrace": 1}),
    )
    yield b"".join(descriptors(tracks, uuids, pid_of(metadata) or 0))
    writer = _Writer(uuids, max((track.end for track in tracks), default=0))
    begins_and_ends = drawing.begins_and_ends()
    while chunk := writer.packets(islice(begins_and_ends, CHUNK)):
        yield chunk
    yield from _batches(writer.counter(counter) for counter in drawing.counters())
    yield from _batches(writer.flow(number, flow) for number, flow in enumerate(drawing.flows(), 1))
    yield from _batches(writer.instant(instant) for instant in drawing.instants())
    yield packet(EVENTS, own_annotation({"end": 1}))


class _Writer:
    """
    Writes the events of a trace.

    Args:
        uuids: the tracks'.
        end: no time is later (ns).
    """

    def __init__(self, uuids: Uuids, end: int) -> None:
        self._uuids = uuids
        self._tops = _Tops(end)
        self._stamp = 4 + self._tops.size
        self._interning = FrameInterning()
        self._begins: dict[int, tuple[bytes, bytes, Frame]] = {}
        self._begin_tails = {track: varint(uuid) for track, uuid in uuids.tracks.items()}
        self._end_tails: dict[int, bytes] = {}
        self._end_head = b""
        for track, uuid in self._begin_tails.items():
            self._end_head, self._end_tails[track] = self._parts(
                number(TrackEvent.TYPE, TrackEvent.END), b"", uuid
            )
        self._counters: dict[tuple[int, str, str], int] = {}

    def packets(self, chunk: Iterator[BeginEnd]) -> bytes:
        """
        Return the packets of some begins and ends.
        """
        begins, tails, ends = self._begins, self._begin_tails, self._end_tails
        head_of_end, lows, tops = self._end_head, _LOWS, self._tops
        parts: list[bytes] = []
        add = parts.extend
        for track, time, frame in chunk:
            if frame is None:
                low, middle, top = lows[time & 16383], lows[time >> 14 & 16383], tops[time >> 28]
                add((head_of_end, low, middle, top, ends[track.id]))
                continue
            begin = begins.get(id(frame))
            if begin is None:
                begin = self._begin(frame)
                parts.append(self._interning.take_new())
            low, middle, top = lows[time & 16383], lows[time >> 14 & 16383], tops[time >> 28]
            add((begin[0], low, middle, top, begin[1], tails[track.id]))
        return b"".join(parts)

    def _begin(self, frame: Frame) -> tuple[bytes, bytes, Frame]:
        uuid = next(iter(self._begin_tails.values()))  # they are all of one length
        fields = number(TrackEvent.TYPE, TrackEvent.BEGIN) + self._interning.fields(frame)
        head, tail = self._parts(fields, number(TracePacket.FLAGS, TracePacket.NEEDS_STATE), uuid)
        found = self._begins[id(frame)] = (head, tail.removesuffix(uuid), frame)  # it stays, and so its id
        return found

    def _parts(self, fields: bytes, flags: bytes, uuid: bytes) -> tuple[bytes, bytes]:
        """
        Return the bytes before and behind the time in a packet.
        """
        event = message(TracePacket.TRACK_EVENT, fields, varint(TrackEvent.TRACK << 3), uuid)
        tail = number(TracePacket.SEQUENCE, EVENTS) + flags + event
        tag = varint(TracePacket.TIMESTAMP << 3)
        whole = message(1, tag, bytes(self._stamp), tail)
        return whole[: len(whole) - len(tail) - self._stamp], tail

    def counter(self, counter: Counter) -> bytes:
        """
        Return the packet of a counter's value, and before its first value that of its track.
        """
        key = (counter.pid, counter.name, counter.unit)
        described = b""
        if key not in self._counters:
            self._counters[key] = self._uuids.new()
            described = self._counter_track(counter, self._counters[key])
        if isinstance(counter.value, int):
            value = number(TrackEvent.COUNTER_VALUE, counter.value)
        else:
            value = fixed64(TrackEvent.DOUBLE_COUNTER_VALUE, counter.value)
        fields = number(TrackEvent.TYPE, TrackEvent.COUNTER) + value
        return described + self._event(counter.time, fields, self._counters[key])

    def _counter_track(self, counter: Counter, uuid: int) -> bytes:
        name, unit = safe_name(counter.name), safe_name(counter.unit)
        descriptor = message(
            TracePacket.DESCRIPTOR,
            number(TrackDescriptor.UUID, uuid),
            number(TrackDescriptor.PARENT, self._uuids.loops.get(counter.pid, self._uuids.home)),
            text(TrackDescriptor.NAME, name),
            message(TrackDescriptor.COUNTER, text(TrackDescriptor.UNIT_NAME, counter.unit)),
        )
        return packet(EVENTS, descriptor, own_annotation({"counter": name, "pid": counter.pid, "unit": unit}))

    def flow(self, order: int, flow: Flow) -> bytes:
        """
        Return the packets of both ends of an arrow, the start first.
        """
        fields = text(TrackEvent.NAME, safe_name(flow.name)) + text(TrackEvent.CATEGORY, "flow")
        start = number(LegacyEvent.PHASE, ord("s")) + number(LegacyEvent.ID, order)
        end = (
            number(LegacyEvent.PHASE, ord("f"))
            + number(LegacyEvent.ID, order)
            + number(LegacyEvent.BIND_TO_ENCLOSING, 1)
        )
        uuids = self._uuids.tracks
        return self._event(
            flow.source_time, fields, uuids[flow.source.id], message(TrackEvent.LEGACY, start)
        ) + (self._event(flow.target_time, fields, uuids[flow.target.id], message(TrackEvent.LEGACY, end)))

    def instant(self, instant: Instant) -> bytes:
        """
        Return the packet of an instant.
        """
        fields = (
            number(TrackEvent.TYPE, TrackEvent.INSTANT)
            + text(TrackEvent.NAME, safe_name(instant.name))
            + text(TrackEvent.CATEGORY, "loop")
            + b"".join(annotation(key, value) for key, value in instant.args)
        )
        return self._event(instant.time, fields, self._uuids.tracks[instant.track.id])

    def _event(self, time: int, fields: bytes, uuid: int, legacy: bytes = b"") -> bytes:
        """
        Return the packet of an event: the time first and an arrow's number last, since the bytes between them
        are often the same, and are then read once.
        """
        event = message(TracePacket.TRACK_EVENT, fields, number(TrackEvent.TRACK, uuid), legacy)
        return message(1, number(TracePacket.TIMESTAMP, time), number(TracePacket.SEQUENCE, EVENTS), event)


class _Tops(dict[int, bytes]):
    """
    The bytes of a time above its lower 28 bits, padded to the length that the end needs.
    """

    def __init__(self, end: int) -> None:
        self.size = max(1, len(varint(end >> 2 * _BITS)))

    def __missing__(self, top: int) -> bytes:
        found = varint(top)
        if top < 0 or len(found) > self.size:
            raise ValueError("a slice lies outside of its track's life")
        padded = bytes(each | 0x80 for each in found) + b"\x80" * (self.size - len(found))
        if len(self) > _LOW:
            self.clear()
        self[top] = padded[:-1] + bytes((padded[-1] & 0x7F,))
        return self[top]


def _metadata(key: str, value: object) -> bytes:
    entry = text(ChromeEventBundle.NAME, key) + message(ChromeEventBundle.JSON, safe_json(value))
    return message(TracePacket.CHROME_EVENTS, message(ChromeEventBundle.METADATA, entry))


def _batches(packets: Iterator[bytes]) -> Iterator[bytes]:
    while batch := list(islice(packets, 500)):
        yield b"".join(batch)
