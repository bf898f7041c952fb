"""
pprof's profile: wall-clock nanoseconds by stack, with labels.

Source: ``proto/profile.proto`` of https://github.com/google/pprof; the view is that of fgprof
(https://github.com/felixge/fgprof): a goroutine, here a thread or task, counts all the time, also while
it waits. Labels: ``thread`` or ``task`` (``loop``, ``callbacks``): the track's name; ``state``: its state,
which is no frame here. Time without ticks is left out. The file is packed with gzip, as
pprof's readers expect it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from fgtrace._formats.write.metadata_facts import rate_of, start_of
from fgtrace._formats.write.safe_text import safe_name
from fgtrace._formats.write.stacks import Stacks, StackTime
from fgtrace._formats.write.wire import message, number, packed, text
from fgtrace._model.drawing import Drawing
from fgtrace._model.values import Frame, Track

__all__ = ["encode"]

#: Fields of Profile.
_SAMPLE_TYPE, _SAMPLE, _LOCATION, _FUNCTION, _STRING = 1, 2, 4, 5, 6
_TIME, _DURATION, _PERIOD_TYPE, _PERIOD = 9, 10, 11, 12


class _Location(NamedTuple):
    """
    A frame as a location of pprof; a state has no file.
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
    Yield a whole file in chunks, which are empty while times are added up.

    Args:
        drawing: what to write.
        metadata: has the trace's start and its rate.
    """
    stacks = Stacks(_root, _location_of)
    yield from stacks.add_all(drawing.begins_and_ends())
    tables = _ProfileTables()
    wall = number(1, tables.string("wall")) + number(2, tables.string("nanoseconds"))
    yield message(_SAMPLE_TYPE, wall) + message(_PERIOD_TYPE, wall)
    for stack in stacks.times():
        yield message(_SAMPLE, tables.sample(stack)) + tables.take_new()
    duration = max((track.end for track in drawing.tracks), default=0)
    yield number(_DURATION, duration) + _moment(metadata)
    for string in tables.strings:
        yield text(_STRING, string)


class _ProfileTables:
    """
    The tables that samples refer to: strings, functions and locations, numbered in the order of first use.
    """

    def __init__(self) -> None:
        self.strings: dict[str, int] = {"": 0}  # the first must be empty
        self._functions: dict[tuple[str, str], int] = {}
        self._locations: dict[_Location, int] = {}
        self._new: list[bytes] = []

    def string(self, string: str) -> int:
        return self.strings.setdefault(string, len(self.strings))

    def take_new(self) -> bytes:
        """
        Return the functions and locations that are new since the last call.
        """
        new, self._new = self._new, []
        return b"".join(new)

    def sample(self, stack: StackTime[_Root, _Location]) -> bytes:
        labels = [self._label(*stack.root)]
        labels.extend(self._label("state", location.name) for location in stack.frames if location.is_state)
        places = [self._location(location) for location in reversed(stack.frames) if not location.is_state]
        if not places:  # a state alone: pprof drops samples without a stack
            places = [self._location(_Location(location.name)) for location in stack.frames]
        return packed(1, places) + packed(2, [stack.time]) + b"".join(labels)

    def _label(self, key: str, value: str) -> bytes:
        return message(3, number(1, self.string(key)), number(2, self.string(value)))

    def _location(self, location: _Location) -> int:
        found = self._locations.get(location)
        if found is None:
            found = self._locations[location] = len(self._locations) + 1
            line = number(1, self._function(location)) + number(2, location.line)
            self._new.append(message(_LOCATION, number(1, found), message(4, line)))
        return found

    def _function(self, location: _Location) -> int:
        key = (location.name, location.file)
        found = self._functions.get(key)
        if found is None:
            found = self._functions[key] = len(self._functions) + 1
            name, file = self.string(location.name), self.string(location.file)
            self._new.append(
                message(
                    _FUNCTION,
                    number(1, found),
                    number(2, name),
                    number(3, name),
                    number(4, file),
                )
            )
        return found


def _location_of(frame: Frame) -> _Location:
    name = safe_name(frame.name)
    return (
        _Location(name, is_state=True)
        if frame.category == "state"
        else _Location(name, frame.file, frame.line)
    )


def _root(track: Track) -> _Root | None:
    return None if track.kind == "tracer" else _Root(track.kind, safe_name(track.name))


def _moment(metadata: Mapping[str, Any]) -> bytes:
    """
    Return the fields of the trace's start and of its period, as far as they are known.
    """
    began, hz = start_of(metadata), rate_of(metadata)
    found = b"" if began is None else number(_TIME, int(began) * 1_000_000_000)
    return found if hz is None else found + number(_PERIOD, round(1e9 / hz))
