"""
What is the same for every slice of a frame, in Perfetto's words: interned texts, and where they are said.
"""

from __future__ import annotations

from typing import Any

import orjson

from fgtrace._formats.perfetto_fields import (
    EVENTS,
    DebugAnnotation,
    InternedData,
    SourceLocation,
    TracePacket,
    TrackEvent,
)
from fgtrace._formats.write.perfetto_tracks import packet
from fgtrace._formats.write.trace_event import clean, printable
from fgtrace._formats.write.wire import fixed64, message, number, text
from fgtrace._model.values import Frame

__all__ = ["Faces", "annotation"]

_LONGEST_INT = 1 << 63


class Faces:
    """
    Makes the fields of frames, and keeps what of it is interned.
    """

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, object], int] = {}
        self._next: dict[int, int] = {}
        self._news: list[bytes] = []

    def fields(self, frame: Frame) -> bytes:
        """
        The fields of a track event that say which frame it is.
        """
        name = self._text(InternedData.NAMES, clean(frame.name))
        category = self._text(InternedData.CATEGORIES, frame.category)
        found = [number(TrackEvent.NAME_IID, name), number(TrackEvent.CATEGORY_IID, category)]
        if frame.file:
            found.append(number(TrackEvent.SOURCE_IID, self._source(frame.file, frame.line)))
        found.extend(self._annotation(key, value) for key, value in frame.args)
        return b"".join(found)

    def news(self) -> bytes:
        """
        The packet with what was interned since it was asked last.
        """
        news, self._news = self._news, []
        flags = number(TracePacket.FLAGS, TracePacket.NEEDS_STATE)
        return packet(EVENTS, flags, message(TracePacket.INTERNED, *news)) if news else b""

    def _annotation(self, key: str, value: object) -> bytes:
        name = number(DebugAnnotation.NAME_IID, self._text(InternedData.ANNOTATION_NAMES, key))
        if isinstance(value, str):
            said = number(DebugAnnotation.STRING_IID, self._text(InternedData.STRINGS, value))
        else:
            said = _value(value)
        return message(TrackEvent.ANNOTATION, name, said)

    def _text(self, field: int, value: str) -> int:
        return self._number(field, value, text(2, value))

    def _source(self, file: str, line: int) -> int:
        line = min(max(line, 0), 0xFFFF_FFFF)
        said = text(SourceLocation.FILE, file) + number(SourceLocation.LINE, line)
        return self._number(InternedData.SOURCES, (file, line), said)

    def _number(self, field: int, key: object, said: bytes) -> int:
        found = self._numbers.get((field, key))
        if found is None:
            found = self._numbers[field, key] = self._next[field] = self._next.get(field, 0) + 1
            self._news.append(message(field, number(1, found), said))
        return found


def annotation(key: str, value: object) -> bytes:
    """
    An argument of an event, not interned.
    """
    said = text(DebugAnnotation.STRING, value) if isinstance(value, str) else _value(value)
    return message(TrackEvent.ANNOTATION, text(DebugAnnotation.NAME, key), said)


def _value(value: Any) -> bytes:
    if isinstance(value, bool):
        return number(DebugAnnotation.BOOL, value)
    if isinstance(value, float):
        return fixed64(DebugAnnotation.DOUBLE, value)
    if isinstance(value, int) and -_LONGEST_INT <= value < _LONGEST_INT:
        return number(DebugAnnotation.INT, value)
    return message(DebugAnnotation.JSON, orjson.dumps(printable(value), default=str))
