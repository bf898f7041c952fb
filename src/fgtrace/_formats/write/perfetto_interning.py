"""
Interning of frames for Perfetto: the fields of a frame refer to texts by number, and a text is written once.
"""

from __future__ import annotations

from typing import Any

from fgtrace._formats.perfetto_fields import (
    EVENTS,
    DebugAnnotation,
    InternedData,
    SourceLocation,
    TracePacket,
    TrackEvent,
)
from fgtrace._formats.write.perfetto_tracks import packet
from fgtrace._formats.write.safe_text import safe_json, safe_name
from fgtrace._formats.write.wire import fixed64, message, number, text
from fgtrace._model.values import Frame

__all__ = ["FrameInterning", "annotation"]

_LONGEST_INT = 1 << 63


class FrameInterning:
    """
    Makes the fields of frames, and numbers their texts.
    """

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, object], int] = {}
        self._next: dict[int, int] = {}
        self._new: list[bytes] = []

    def fields(self, frame: Frame) -> bytes:
        """
        Return the fields of a track event that describe its frame.
        """
        name = self._text(InternedData.NAMES, safe_name(frame.name))
        category = self._text(InternedData.CATEGORIES, frame.category)
        found = [number(TrackEvent.NAME_IID, name), number(TrackEvent.CATEGORY_IID, category)]
        if frame.file:
            found.append(number(TrackEvent.SOURCE_IID, self._source(frame.file, frame.line)))
        found.extend(self._annotation(key, value) for key, value in frame.args)
        return b"".join(found)

    def take_new(self) -> bytes:
        """
        Return the packet with the texts that are new since the last call.
        """
        new, self._new = self._new, []
        flags = number(TracePacket.FLAGS, TracePacket.NEEDS_STATE)
        return packet(EVENTS, flags, message(TracePacket.INTERNED, *new)) if new else b""

    def _annotation(self, key: str, value: object) -> bytes:
        name = number(DebugAnnotation.NAME_IID, self._text(InternedData.ANNOTATION_NAMES, key))
        if isinstance(value, str):
            field = number(DebugAnnotation.STRING_IID, self._text(InternedData.STRINGS, value))
        else:
            field = _value(value)
        return message(TrackEvent.ANNOTATION, name, field)

    def _text(self, field: int, value: str) -> int:
        return self._number(field, value, text(2, value))

    def _source(self, file: str, line: int) -> int:
        line = min(max(line, 0), 0xFFFF_FFFF)
        entry = text(SourceLocation.FILE, file) + number(SourceLocation.LINE, line)
        return self._number(InternedData.SOURCES, (file, line), entry)

    def _number(self, field: int, key: object, entry: bytes) -> int:
        found = self._numbers.get((field, key))
        if found is None:
            found = self._numbers[field, key] = self._next[field] = self._next.get(field, 0) + 1
            self._new.append(message(field, number(1, found), entry))
        return found


def annotation(key: str, value: object) -> bytes:
    """
    Return an argument of an event, not interned.
    """
    field = text(DebugAnnotation.STRING, value) if isinstance(value, str) else _value(value)
    return message(TrackEvent.ANNOTATION, text(DebugAnnotation.NAME, key), field)


def _value(value: Any) -> bytes:
    if isinstance(value, bool):
        return number(DebugAnnotation.BOOL, value)
    if isinstance(value, float):
        return fixed64(DebugAnnotation.DOUBLE, value)
    if isinstance(value, int) and -_LONGEST_INT <= value < _LONGEST_INT:
        return number(DebugAnnotation.INT, value)
    return message(DebugAnnotation.JSON, safe_json(value))
