"""
speedscope's own format: an evented profile for each track, by time.

Source: https://www.speedscope.app/file-format-schema.json. All events of a track stand together there,
but tracks take turns while they are drawn. So an edge waits as two numbers, and what is too much for
memory waits in a temporary file.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import orjson

from fgtrace._edges import Drawing, Edge
from fgtrace._encode.trace_event import clean, printable
from fgtrace._model import Frame, Track
from fgtrace._spill import Spill
from fgtrace._version import __version__

__all__ = ["encode"]

SCHEMA = "https://www.speedscope.app/file-format-schema.json"
#: Edges that wait in memory: 16 MiB.
MOST_WAITING = 1 << 20
#: Edges that are drawn in one go, and events in a piece.
CHUNK = 1000
#: Bytes of an edge: its time, and its frame with a bit for its end.
_EDGE = 16


def encode(drawing: Drawing, _metadata: Mapping[str, Any]) -> Iterator[bytes]:
    """
    A whole file, piece by piece. While edges are sorted by tracks the pieces are empty.

    Args:
        drawing: what to write.
        _metadata: there is no place for it.
    """
    waiting = _Waiting()
    try:
        edges = drawing.edges()
        while waiting.take(islice(edges, CHUNK)):
            yield b""
        head = {
            "$schema": SCHEMA,
            "exporter": f"fgtrace {__version__}",
            "name": "fgtrace",
            "activeProfileIndex": 0,
        }
        yield orjson.dumps(head)[:-1] + b',"profiles":['
        before = b"\n"
        for track in drawing.tracks:
            if waiting.has(track):
                yield before + _profile(track)
                yield from _events(waiting.of(track))
                yield b"]}"
                before = b",\n"
        yield b'],\n"shared":{"frames":['
        yield b",\n".join(_frame(frame) for frame in waiting.frames)
        yield b"]}}\n"
    finally:
        waiting.close()


class _Waiting:
    """
    The edges of each track, by time.

    Attributes:
        frames: all frames, by number.
    """

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self._numbers: dict[int, int] = {}
        self._edges: dict[int, array[int]] = {}
        self._open: dict[int, list[int]] = {}
        self._spill = Spill()
        self._spilled: dict[int, list[tuple[int, int]]] = {}
        self._size = 0

    def take(self, edges: Iterator[Edge]) -> int:
        """
        Take some edges; how many there were.
        """
        numbers, before = self._numbers, self._size
        for track, time, frame in edges:
            stack = self._open.get(track.id)
            if stack is None:
                stack = self._open[track.id] = []
            if frame is None:
                number = stack.pop() | 1
            else:
                number = numbers.get(id(frame), -1)
                if number < 0:
                    number = numbers[id(frame)] = 2 * len(self.frames)
                    self.frames.append(frame)  # it stays, and so its id
                stack.append(number)
            waiting = self._edges.get(track.id)
            if waiting is None:
                waiting = self._edges[track.id] = array("q")
            waiting.append(time)
            waiting.append(number)
            self._size += 1
        taken = self._size - before
        if self._size > MOST_WAITING:
            self._put_away()
        return taken

    def _put_away(self) -> None:
        for number, waiting in self._edges.items():
            start = self._spill.size
            self._spill.write(waiting)
            self._spilled.setdefault(number, []).append((start, self._spill.size))
        self._edges.clear()
        self._size = 0

    def has(self, track: Track) -> bool:
        return track.id in self._open

    def of(self, track: Track) -> Iterator[array[int]]:
        """
        The edges of a track: times and frames, in turn.
        """
        for start, end in self._spilled.get(track.id, ()):
            for at in range(start, end, _EDGE * CHUNK):
                found = array("q")
                found.frombytes(self._spill.read(at, min(end, at + _EDGE * CHUNK)))
                yield found
        waiting = self._edges.get(track.id, array("q"))
        for at in range(0, len(waiting), 2 * CHUNK):
            yield waiting[at : at + 2 * CHUNK]

    def close(self) -> None:
        self._spill.close()


def _profile(track: Track) -> bytes:
    name = clean(track.name) + (f" [{track.group}]" if track.group else "")
    head = {"type": "evented", "name": name, "unit": "nanoseconds"}
    times = f',"startValue":{track.start},"endValue":{track.end},"events":[\n'
    return orjson.dumps(printable(head))[:-1] + times.encode()


def _events(parts: Iterator[array[int]]) -> Iterator[bytes]:
    before = ""
    for part in parts:
        values = iter(part)
        yield (
            before
            + ",\n".join([
                f'{{"type":"{"C" if frame & 1 else "O"}","frame":{frame >> 1},"at":{time}}}'
                for time, frame in zip(values, values, strict=True)
            ])
        ).encode()  # fmt: skip
        before = ",\n"


def _frame(frame: Frame) -> bytes:
    found: dict[str, Any] = {"name": clean(frame.name)}
    if frame.file:
        found |= {"file": frame.file, "line": frame.line}
    return orjson.dumps(printable(found))
