"""
pprof's profile: wall-clock nanoseconds by stack, with labels.

Source: ``proto/profile.proto`` of https://github.com/google/pprof; the view is that of fgprof
(https://github.com/felixge/fgprof): a goroutine, here a thread or task, counts all the time, also while
it waits. Labels: ``thread`` or ``task`` (``loop``, ``callbacks``): the track's name; ``state``: its state,
which is no frame here. Time in which no tick was taken is left out. The file is packed with gzip, as
pprof's readers expect it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

from fgtrace._formats.write.stacks import Stacks, StackTime
from fgtrace._formats.write.trace_event import clean
from fgtrace._formats.write.wire import message, number, packed, text
from fgtrace._model.drawing import Drawing
from fgtrace._model.values import Frame, Track

__all__ = ["encode"]

#: Fields of Profile.
_SAMPLE_TYPE, _SAMPLE, _LOCATION, _FUNCTION, _STRING = 1, 2, 4, 5, 6
_TIME, _DURATION, _PERIOD_TYPE, _PERIOD = 9, 10, 11, 12


class _Location(NamedTuple):
    """
    A frame, as far as it matters here; a state has no file.
    """

    name: str
    file: str = ""
    line: int = 0
    is_state: bool = False


class _Root(NamedTuple):
    """
    A track: the label's key and its value.
    """

    kind: str
    name: str


def encode(drawing: Drawing, metadata: Mapping[str, Any]) -> Iterator[bytes]:
    """
    A whole file, piece by piece. While times are added up the pieces are empty.

    Args:
        drawing: what to write.
        metadata: when the trace began and its rate are taken of it.
    """
    stacks = Stacks(_root, _face)
    yield from stacks.add_all(drawing.begins_and_ends())
    tables = _ProfileTables()
    wall = number(1, tables.string("wall")) + number(2, tables.string("nanoseconds"))
    yield message(_SAMPLE_TYPE, wall) + message(_PERIOD_TYPE, wall)
    for row in stacks.rows():
        yield message(_SAMPLE, tables.sample(row)) + tables.news()
    duration = max((track.end for track in drawing.tracks), default=0)
    yield number(_DURATION, duration) + _moment(metadata)
    for said in tables.strings:
        yield text(_STRING, said)


class _ProfileTables:
    """
    What samples refer to: strings, functions and locations, numbered in the order of first use.
    """

    def __init__(self) -> None:
        self.strings: dict[str, int] = {"": 0}  # the first must be empty
        self._functions: dict[tuple[str, str], int] = {}
        self._locations: dict[_Location, int] = {}
        self._news: list[bytes] = []

    def string(self, said: str) -> int:
        return self.strings.setdefault(said, len(self.strings))

    def news(self) -> bytes:
        """
        The functions and locations that came since it was asked last.
        """
        news, self._news = self._news, []
        return b"".join(news)

    def sample(self, row: StackTime[_Root, _Location]) -> bytes:
        labels = [self._label(*row.root)]
        labels.extend(self._label("state", face.name) for face in row.frames if face.is_state)
        places = [self._location(face) for face in reversed(row.frames) if not face.is_state]
        if not places:  # a state alone: pprof leaves out what has no stack
            places = [self._location(_Location(face.name)) for face in row.frames]
        return packed(1, places) + packed(2, [row.time]) + b"".join(labels)

    def _label(self, key: str, value: str) -> bytes:
        return message(3, number(1, self.string(key)), number(2, self.string(value)))

    def _location(self, face: _Location) -> int:
        found = self._locations.get(face)
        if found is None:
            found = self._locations[face] = len(self._locations) + 1
            line = number(1, self._function(face)) + number(2, face.line)
            self._news.append(message(_LOCATION, number(1, found), message(4, line)))
        return found

    def _function(self, face: _Location) -> int:
        key = (face.name, face.file)
        found = self._functions.get(key)
        if found is None:
            found = self._functions[key] = len(self._functions) + 1
            name, file = self.string(face.name), self.string(face.file)
            self._news.append(
                message(
                    _FUNCTION,
                    number(1, found),
                    number(2, name),
                    number(3, name),
                    number(4, file),
                )
            )
        return found


def _face(frame: Frame) -> _Location:
    name = clean(frame.name)
    return (
        _Location(name, is_state=True)
        if frame.category == "state"
        else _Location(name, frame.file, frame.line)
    )


def _root(track: Track) -> _Root | None:
    return None if track.kind == "tracer" else _Root(track.kind, clean(track.name))


def _moment(metadata: Mapping[str, Any]) -> bytes:
    """
    When the trace began, and its period, as far as they are known.
    """
    said = metadata.get("fgtrace")
    if not isinstance(said, dict):
        return b""
    found = b""
    began, config = said.get("started"), said.get("config")
    if isinstance(began, str):
        with suppress(ValueError):
            found += number(_TIME, int(datetime.fromisoformat(began).timestamp()) * 1_000_000_000)
    hz = config.get("hz") if isinstance(config, dict) else None
    if isinstance(hz, (int, float)) and hz > 0:
        found += number(_PERIOD, round(1e9 / hz))
    return found
