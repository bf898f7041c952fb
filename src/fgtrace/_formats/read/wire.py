"""
Reads Protocol Buffers' wire format: https://protobuf.dev/programming-guides/encoding/.

Every length is checked, and nothing recurses.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from fgtrace._formats.read.trace_file import BadTrace

__all__ = ["Message", "read_varint"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST = 10


def read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """
    Return the whole number at a place, and the place behind it.

    Raises:
        BadTrace: it does not end within ten bytes. Bits above the 64th are dropped.
    """
    value = shift = 0
    for place in range(at, min(end, at + _LONGEST)):
        byte = data[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, place + 1
        shift += 7
    raise BadTrace("a number does not end", at)


class Message:
    """
    A message within some bytes; nested messages and texts are parsed when they are read.

    Args:
        data: the whole file.
        at: where the message begins. end: the place behind it.
    """

    __slots__ = ("at", "data", "end", "fields")

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self.data, self.at, self.end = data, at, end
        self.fields: dict[int, list[tuple[int, int, int]]] = {}
        while at < end:
            field, kind, first, second, at = self._field(at)
            self.fields.setdefault(field, []).append((kind, first, second))

    def _field(self, at: int) -> tuple[int, int, int, int, int]:
        """
        Return a field and the place behind it: (number, wire type, value, 0, next) or (number, wire type,
        start, end, next).
        """
        data, end = self.data, self.end
        tag, place = read_varint(data, at, end)
        kind = tag & 7
        if kind == _VARINT:
            value, place = read_varint(data, place, end)
            return tag >> 3, kind, value, 0, place
        if kind == _BYTES:
            size, place = read_varint(data, place, end)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise BadTrace(f"a field has the unknown wire type {kind}", at)
        if size > end - place:
            raise BadTrace("a field is longer than what it stands in", at)
        return tag >> 3, kind, place, place + size, place + size

    def _last(self, field: int, kind: int) -> tuple[int, int] | None:
        found = self.fields.get(field)
        if not found:
            return None
        if found[-1][0] != kind:
            raise BadTrace(f"field {field} has the wire type {found[-1][0]} instead of {kind}", self.at)
        return found[-1][1:]

    def number(self, field: int, default: int = 0) -> int:
        """
        Return an unsigned whole number.
        """
        found = self._last(field, _VARINT)
        return default if found is None else found[0]

    def signed(self, field: int) -> int:
        """
        Return a whole number of 64 bits with a sign.
        """
        value = self.number(field)
        return value - (1 << 64) if value >> 63 else value

    def double(self, field: int) -> float:
        """
        Return a floating-point number.
        """
        found = self._last(field, _FIXED64)
        return 0.0 if found is None else float(struct.unpack_from("<d", self.data, found[0])[0])

    def bytes(self, field: int) -> bytes:
        """
        Return bytes.
        """
        found = self._last(field, _BYTES)
        return b"" if found is None else self.data[found[0] : found[1]]

    def text(self, field: int) -> str:
        """
        Return a string.

        Raises:
            BadTrace: it is no UTF-8.
        """
        try:
            return self.bytes(field).decode()
        except UnicodeDecodeError as error:
            raise BadTrace("a text is not UTF-8", self.at) from error

    def messages(self, field: int) -> Iterator[Message]:
        """
        Yield all messages of a field.
        """
        for kind, first, second in self.fields.get(field, ()):
            if kind != _BYTES:
                raise BadTrace(f"field {field} has the wire type {kind} instead of {_BYTES}", self.at)
            yield Message(self.data, first, second)

    def message(self, field: int) -> Message | None:
        """
        Return the last message of a field; None if there is none.
        """
        found = self._last(field, _BYTES)
        return None if found is None else Message(self.data, *found)

    def __contains__(self, field: int) -> bool:
        return field in self.fields
