"""
The events of a Trace Event file, some thousand at a time, without the file in memory.

The list of events is cut where an object ends and the next begins. A cut is a guess (its place may lie in a
string, or in a list within an event), which the parser checks: what lies before a wrong cut is no sequence of
whole values. Brackets are counted only where the guess was wrong, and at the end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

import orjson

from fgtrace._formats.read.file_chunks import CHUNK
from fgtrace._formats.read.trace_file import BadTrace

__all__ = ["EventChunk", "EventChunks"]

T = TypeVar("T")

#: Bytes of an event, or of what stands before or behind the events.
LARGEST = 64 * 1024**2
#: How many bytes at the end of a chunk are searched for a cut.
_NEAR = 1 << 16
_BETWEEN = re.compile(rb"\}\s*,\s*(?=\{)")
#: A string, the start of one that does not end, or a sign of JSON's structure.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[",\[\]{}]', re.DOTALL)
_OPENED = re.compile(rb"\s*:\s*\[")
_DEEPER = {b"{": 1, b"[": 1, b"}": -1, b"]": -1}


class EventChunk(NamedTuple, Generic[T]):
    """
    Some events: their place in the file, their bytes, and what the parser made of them.
    """

    at: int
    data: bytes
    parsed: T

    def place(self, number: int) -> int:
        """
        Return the place in the file at which an event begins.
        """
        start = 0
        for _, place in zip(range(number), _commas(self.data), strict=False):
            start = place + 1
        return self.at + start + len(self.data[start:]) - len(self.data[start:].lstrip())


class EventChunks(Generic[T]):
    """
    A file's events, in its order.

    Args:
        chunks: the file.
        parse: parses events with commas between them, as `orjson.loads` parses a list of them.

    Attributes:
        rest: the file's object without its events, once these were read.
    """

    def __init__(self, chunks: Iterable[bytes], parse: Callable[[bytes], T]) -> None:
        self.rest: dict[str, Any] = {}
        self._chunks = iter(chunks)
        self._parse = parse
        self._buffer = b""
        self._at = 0  # of the buffer in the file
        self._is_over = False
        self._head = b""
        self._is_bare = self._is_closed = self._is_comma = False

    def __iter__(self) -> Iterator[EventChunk[T]]:
        """
        Yield the events.

        Raises:
            BadTrace: it is no such file.
        """
        self._enter()
        while not self._is_closed:
            self._fill(CHUNK)
            chunk = self._guess() or self._counted()
            if chunk is not None:
                yield chunk
        self._leave()

    def _fill(self, size: int) -> None:
        """
        Fill the buffer to this size, if the file has as many bytes.
        """
        parts, length = [self._buffer], len(self._buffer)
        while length < size and not self._is_over:
            chunk = next(self._chunks, None)
            self._is_over = chunk is None
            parts.append(chunk or b"")
            length += len(parts[-1])
        self._buffer = b"".join(parts)

    def _grow(self, what: str) -> None:
        if len(self._buffer) > LARGEST:
            raise BadTrace(f"{what} has more than {LARGEST >> 20} MiB", self._at)
        self._fill(2 * len(self._buffer) + 1)

    def _drop(self, size: int) -> None:
        self._buffer = self._buffer[size:]
        self._at += size

    def _enter(self) -> None:
        """
        Move to the first event.
        """
        end = None
        while end is None:
            if self._is_over:
                _check_json(self._buffer, 0)
                raise BadTrace("no list of traceEvents", 0)
            self._grow("what stands before the events")
            end = self._list()
        self._head = self._buffer[:end]
        self._drop(end)

    def _list(self) -> int | None:
        """
        Return where the list of events begins in the buffer; None if it does not.
        """
        depth = 0
        for token in _TOKEN.finditer(self._buffer):
            found = token[0]
            if found == b"[" and depth == 0 and not self._buffer[: token.start()].strip():
                self._is_bare = True
                return token.end()
            depth += _DEEPER.get(found, 0)
            if found == b'"traceEvents"' and depth == 1:
                opened = _OPENED.match(self._buffer, token.end())
                if opened is not None:
                    return opened.end()
            elif found == b'"':
                break
        return None

    def _guess(self) -> EventChunk[T] | None:
        """
        Return what lies before the last place that looks like one between two events; None if that guess was
        wrong.
        """
        last = None
        for last in _BETWEEN.finditer(self._buffer, max(0, len(self._buffer) - _NEAR)):  # noqa: B007
            pass
        if last is None:
            return None
        data = self._buffer[: last.start() + 1]
        try:
            chunk = EventChunk(self._at, data, self._parse(data))
        except ValueError:
            return None
        self._drop(last.end())
        return chunk

    def _counted(self) -> EventChunk[T] | None:
        """
        Return what lies before the last comma between two events, or before the end of the list.
        """
        place = -1
        for place in _commas(self._buffer):  # noqa: B007
            pass
        mark = self._buffer[place : place + 1] if place >= 0 else b""
        if not mark and not self._is_over:
            self._grow("an event")
            return None
        if not mark:
            if not self._is_bare:
                raise BadTrace("the file ends within its events", self._at + len(self._buffer))
            place = len(self._buffer)
        data, at = self._buffer[:place], self._at
        self._is_closed = mark != b","
        is_missing = not data.strip()
        if is_missing and mark and (self._is_comma or not self._is_closed):
            raise BadTrace("an event is missing", at + place)
        self._is_comma = not self._is_closed
        self._drop(place + len(mark))
        return None if is_missing else EventChunk(at, data, self._parsed(data, at))

    def _parsed(self, data: bytes, at: int) -> T:
        try:
            return self._parse(data)
        except ValueError as error:
            raise _moved(error, b"[" + data, at - 1) from error

    def _leave(self) -> None:
        """
        Read what follows the events.
        """
        while not self._is_over:
            self._grow("what stands behind the events")
        if self._is_bare:
            if self._buffer.strip():
                raise BadTrace("something follows the list of events", self._at)
            return
        before = self._head + b"]"
        try:
            self.rest = orjson.loads(before + self._buffer)
        except ValueError as error:
            raise _moved(error, before + self._buffer, self._at - len(before)) from error
        if self.rest.get("traceEvents") != []:
            raise BadTrace("there are two lists of traceEvents", self._at)


def _commas(data: bytes) -> Iterator[int]:
    """
    Yield the places of the commas between values, and at last that of the bracket behind them, if there is
    one.
    """
    depth = 0
    for token in _TOKEN.finditer(data):
        found = token[0]
        if found == b"," and depth == 0:
            yield token.start()
        elif found == b'"':
            return
        depth += _DEEPER.get(found, 0)
        if depth < 0:
            yield token.start()
            return


def _check_json(data: bytes, at: int) -> None:
    """
    Raise an error if these bytes are no value in JSON.

    Raises:
        BadTrace: they are none; with its place in the file, of which these are the data at this place.
    """
    try:
        orjson.loads(data)
    except ValueError as error:
        raise _moved(error, data, at) from error


def _moved(error: ValueError, data: bytes, at: int) -> BadTrace:
    """
    Return an error in some bytes as one with its place in the file.
    """
    try:
        place = len(data.decode()[: getattr(error, "pos", 0)].encode())
    except UnicodeDecodeError as wrong:
        place = wrong.start
    reason = error.msg if isinstance(error, orjson.JSONDecodeError) else str(error)
    return BadTrace(reason, at + place)
