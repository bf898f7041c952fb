"""
The tables that a Firefox profile's threads share: strings, categories, functions, frames and stacks.
"""

from __future__ import annotations

from array import array
from collections.abc import Generator, Iterable, Iterator, Mapping
from itertools import islice, repeat
from typing import Any, NamedTuple

import orjson

from fgtrace._formats.write.safe_text import safe_name, safe_value
from fgtrace._model.states import (
    GIL_WAIT,
    IDLE,
    IO_WAIT,
    LOCK_WAIT,
    POOL_WAIT,
    QUEUE_WAIT,
    RUNNABLE,
    RUNNING,
    SELECT,
    TASK_WAIT,
    THREAD_WAIT,
)
from fgtrace._model.values import Frame

__all__ = ["Tables", "table"]

#: Categories of frames that have none of their own: they take the one of the state around them.
_PLAIN = frozenset({"", "python", "native", "elided"})
#: The profiler's colours; it draws idle time ``transparent``, and ``grey`` is the default.
_COLORS = {
    "Other": "grey",
    RUNNING: "green",
    RUNNABLE: "yellow",
    GIL_WAIT: "orange",
    LOCK_WAIT: "red",
    POOL_WAIT: "lightred",
    IO_WAIT: "blue",
    QUEUE_WAIT: "purple",
    TASK_WAIT: "magenta",
    THREAD_WAIT: "brown",
    SELECT: "transparent",
    IDLE: "transparent",
    "gap": "transparent",
    "gc": "orange",
}
_OTHER_COLOR = "lightblue"
#: Values in a chunk.
CHUNK = 1000


class _FrameKey(NamedTuple):
    """
    What a frame counts as: its category if it has one of its own, the numbers of its name and file, its line,
    and the data of a state's marker.
    """

    category: int | None
    name: int
    file: int | None
    line: int | None
    data: bytes | None


class Tables:
    """
    Tables whose entries are numbered in the order of first use.

    Attributes:
        parents: stack -> the stack without its innermost frame; -1: none.
        is_state: stack -> whether its innermost frame is a state.
        fields: type of marker -> the names of its markers' data.
    """

    def __init__(self) -> None:
        self.parents = array("q")
        self.is_state = bytearray()
        self.fields: dict[str, dict[str, None]] = {"state": {}, "flag": {}}
        self._stacks: dict[tuple[int, int], int] = {}
        self._tops = array("q")  # stack -> its innermost frame
        self._known: dict[int, tuple[int, Frame]] = {}
        self._numbers: dict[_FrameKey, int] = {}
        self._by_number: list[_FrameKey] = []
        self._strings: dict[str, int] = {}
        self._files: dict[int, int] = {}
        self._categories: dict[str, int] = {"Other": 0}

    def stack(self, below: int, frame: Frame) -> int:
        """
        Return the stack of a frame on another stack, or on none (-1).
        """
        key = (below, (self._known.get(id(frame)) or self._number(frame))[0])
        found = self._stacks.get(key)
        if found is None:
            found = self._stacks[key] = len(self.parents)
            self.parents.append(below)
            self._tops.append(key[1])
            self.is_state.append(self._by_number[key[1]].data is not None)
        return found

    def _number(self, frame: Frame) -> tuple[int, Frame]:
        is_state = frame.category == "state"
        own = None if frame.category in _PLAIN else frame.name if is_state else frame.category
        key = _FrameKey(
            None if own is None else self.category(own),
            self.string(frame.name),
            self._files.setdefault(self.string(frame.file), len(self._files)) if frame.file else None,
            frame.line or None,
            self.data("state", frame.args) if is_state else None,
        )
        number = self._numbers.setdefault(key, len(self._numbers))
        if number == len(self._by_number):
            self._by_number.append(key)
        found = self._known[id(frame)] = (number, frame)  # the frame stays, and so its id
        return found

    def string(self, text: str) -> int:
        """
        Return the number of a text.
        """
        return self._strings.setdefault(safe_value(safe_name(text)), len(self._strings))

    def category(self, name: str) -> int:
        """
        Return the number of a category.
        """
        return self._categories.setdefault(safe_value(safe_name(name)), len(self._categories))

    def data(self, kind: str, args: Iterable[tuple[str, Any]]) -> bytes:
        """
        Return the data of a marker.
        """
        text = {safe_value(safe_name(key)): safe_value(str(value)) for key, value in args}
        text.pop("type", None)
        self.fields[kind].update(dict.fromkeys(text))
        return orjson.dumps({**text, "type": kind})

    def mark(self, stack: int) -> tuple[int, int, bytes]:
        """
        Return the marker of the state on top of a stack: its name, category and data.
        """
        key = self._by_number[self._tops[stack]]
        return key.name, key.category or 0, key.data or b"null"

    def categories(self) -> list[dict[str, Any]]:
        """
        Return the categories as the profile lists them.
        """
        return [
            {"name": name, "color": _COLORS.get(name, _OTHER_COLOR), "subcategories": ["Other"]}
            for name in self._categories
        ]

    def shared(self) -> Iterator[bytes]:
        """
        Yield all tables as JSON, in chunks.
        """
        tables: dict[str, dict[str, Iterable[Any]]] = {
            "stackTable": {
                "frame": self._tops,
                "prefix": (None if below < 0 else below for below in self.parents),
            },
            **self._of_frames(),
            "sources": {"uuid": repeat(None, len(self._files)), "filename": self._files},
            "resourceTable": dict.fromkeys(("lib", "name", "host", "type"), ()),
            "nativeSymbols": dict.fromkeys(("libIndex", "address", "name", "functionSize"), ()),
        }
        before = b'{"'
        for name, columns in tables.items():
            yield before + name.encode() + b'":'
            yield from table(columns)
            before = b',\n"'
        yield b',\n"stringArray":'
        yield from column(self._strings)
        yield b"}"

    def _of_frames(self) -> dict[str, dict[str, Iterable[Any]]]:
        functions: dict[tuple[int, int | None], int] = {}
        keys, size = self._by_number, len(self._by_number)
        functions_of_keys = [functions.setdefault((key.name, key.file), len(functions)) for key in keys]
        return {
            "frameTable": {
                "address": repeat(-1, size),
                "inlineDepth": repeat(0, size),
                "category": (key.category for key in keys),
                "subcategory": (None if key.category is None else 0 for key in keys),
                "func": functions_of_keys,
                "nativeSymbol": repeat(None, size),
                "innerWindowID": repeat(None, size),
                "line": (key.line for key in keys),
                "column": repeat(None, size),
            },
            "funcTable": {
                "name": (name for name, _ in functions),
                "isJS": repeat(False, len(functions)),
                "relevantForJS": repeat(False, len(functions)),
                "resource": repeat(-1, len(functions)),
                "source": (file for _, file in functions),
                "lineNumber": repeat(None, len(functions)),
                "columnNumber": repeat(None, len(functions)),
            },
        }


def table(columns: Mapping[str, Iterable[Any]]) -> Iterator[bytes]:
    """
    Yield a table as JSON: its columns, and their length.
    """
    before, length = b'{"', 0
    for name, values in columns.items():
        yield before + name.encode() + b'":'
        length = yield from column(values)
        before = b',"'
    yield b',"length":%d}' % length


def column(values: Iterable[Any]) -> Generator[bytes, None, int]:
    """
    Yield values as a list in JSON, in chunks; return how many there were. Bytes are JSON already.
    """
    rest, length, before = iter(values), 0, b"["
    while chunk := list(islice(rest, CHUNK)):
        yield before + (b",".join(chunk) if isinstance(chunk[0], bytes) else orjson.dumps(chunk)[1:-1])
        length += len(chunk)
        before = b","
    yield b"[]" if not length else b"]"
    return length
