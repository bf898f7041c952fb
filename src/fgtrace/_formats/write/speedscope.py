"""
speedscope's own format: an evented profile for each track, by time.

Source: https://www.speedscope.app/file-format-schema.json. All events of a track stand together there, but
tracks take turns while they are drawn. So a begin or an end is stored as two numbers, and what is too much
for memory in a temporary file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import orjson

from fgtrace._formats.rows_by_track import Numbers, RowsByTrack
from fgtrace._formats.write.safe_text import safe_name, safe_value
from fgtrace._model.drawing import BeginEnd, Drawing
from fgtrace._model.values import Frame, Track
from fgtrace._version import __version__

__all__ = ["encode"]

SCHEMA = "https://www.speedscope.app/file-format-schema.json"
#: Begins and ends that are stored at once: a millisecond's work.
CHUNK = 1000


def encode(drawing: Drawing, _metadata: Mapping[str, Any]) -> Iterator[bytes]:
    """
    Yield a whole file in chunks, which are empty while begins and ends are sorted by tracks.

    Args:
        drawing: what to write.
        _metadata: the format has no field for it.
    """
    events = _TrackEvents()
    try:
        begins_and_ends = drawing.begins_and_ends()
        while events.add(islice(begins_and_ends, CHUNK)):
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
            if events.has(track):
                yield before + _profile(track)
                yield from _events(events.of(track))
                yield b"]}"
                before = b",\n"
        yield b'],\n"shared":{"frames":['
        yield b",\n".join(_frame(frame) for frame in events.frames)
        yield b"]}}\n"
    finally:
        events.close()


class _TrackEvents:
    """
    The begins and ends of each track, by time: rows of a time, and a frame's number with a bit for its end.

    Attributes:
        frames: all frames, by number.
    """

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self._numbers: dict[int, int] = {}
        self._open: dict[int, list[int]] = {}
        self._begins_and_ends = RowsByTrack(2)

    def add(self, begins_and_ends: Iterator[BeginEnd]) -> int:
        """
        Store some begins and ends; return how many there were.
        """
        numbers, rows, added = self._numbers, self._begins_and_ends.tracks, 0
        for track, time, frame in begins_and_ends:
            stack = self._open.get(track.id)
            if stack is None:
                stack = self._open[track.id] = []
                self._begins_and_ends.rows(track.id)
            if frame is None:
                number = stack.pop() | 1
            else:
                number = numbers.get(id(frame), -1)
                if number < 0:
                    number = numbers[id(frame)] = 2 * len(self.frames)
                    self.frames.append(frame)  # it stays, and so its id
                stack.append(number)
            row = rows[track.id]
            row.append(time)
            row.append(number)
            added += 1
        self._begins_and_ends.note_grown(added)
        return added

    def has(self, track: Track) -> bool:
        return track.id in self._open

    def of(self, track: Track) -> Iterator[Numbers]:
        """
        Yield the begins and ends of a track: times and frames, in turn.
        """
        return self._begins_and_ends.blocks(track.id)

    def close(self) -> None:
        self._begins_and_ends.close()


def _profile(track: Track) -> bytes:
    name = safe_name(track.name) + (f" [{track.group}]" if track.group else "")
    head = {"type": "evented", "name": name, "unit": "nanoseconds"}
    times = f',"startValue":{track.start},"endValue":{track.end},"events":[\n'
    return orjson.dumps(safe_value(head))[:-1] + times.encode()


def _events(parts: Iterator[Numbers]) -> Iterator[bytes]:
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
    found: dict[str, Any] = {"name": safe_name(frame.name)}
    if frame.file:
        found |= {"file": frame.file, "line": frame.line}
    return orjson.dumps(safe_value(found))
