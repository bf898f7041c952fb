"""
Reads Chrome's Trace Event Format: its complete events (``X``) and the names of its tracks.

Files of unknown origin are data: nothing of them is run, and what does not fit is an error.
"""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import orjson

from fgtrace._model import Frame, Slice, Track

__all__ = ["decode"]

#: A compressed file may not grow beyond this: bytes.
LARGEST = 4 * 1024**3

Row = tuple[int, int]


def decode(data: bytes) -> list[Slice]:
    """
    The slices of a file.

    Raises:
        ValueError: it is not a trace.
    """
    events = _events(orjson.loads(_plain(data)))
    tracks = _Tracks(events)
    return [slice_ for event in events if (slice_ := _slice(event, tracks)) is not None]


def _plain(data: bytes) -> bytes:
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        unpacker = zlib.decompressobj(wbits=31)
        plain = unpacker.decompress(data, LARGEST)
    except (zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"broken gzip data: {error}") from error
    if not unpacker.eof:
        raise ValueError("the gzip data ends too early, or holds more than 4 GiB")
    return plain


def _events(value: Any) -> list[dict[str, Any]]:
    events = value.get("traceEvents") if isinstance(value, dict) else value
    if not isinstance(events, list):
        raise ValueError("no list of traceEvents")  # noqa: TRY004 - the file's value, not an argument's type
    for place, event in enumerate(events):
        if not isinstance(event, dict):
            raise ValueError(f"event {place} is not an object")  # noqa: TRY004 - as above
    return events


class _Tracks:
    """
    The tracks of a file: named by its metadata events, or by their ids.
    """

    def __init__(self, events: list[dict[str, Any]]) -> None:
        self._names: dict[tuple[str, Row], dict[str, Any]] = {}
        for event in events:
            if event.get("ph") == "M" and isinstance(event.get("args"), dict):
                self._names[str(event.get("name")), _row(event)] = event["args"]
        self._groups = {
            row[0]: args.get("name") for (kind, row), args in self._names.items() if kind == "process_name"
        }
        self._made: dict[Row, Track] = {}

    def at(self, row: Row) -> Track:
        found = self._made.get(row)
        if found is None:
            found = self._made[row] = self._make(row)
        return found

    def _make(self, row: Row) -> Track:
        args = self._names.get(("thread_name", row), {})
        name = str(args.get("name", f"thread {row[1]}"))
        kind = args.get("kind", "thread")
        life = args.get("life", [0, 0])
        return Track(
            kind=kind if kind in _KINDS else "thread",
            id=_whole(args.get("id", len(self._made))),
            name=name.replace("└ ", ""),
            group=str(self._groups.get(row[0]) or "") if kind in _OF_LOOPS else "",
            pid=row[0], tid=row[1], parent=_whole(args.get("parent", -1)), level=name.count("└ "),
            start=_whole(life[0]), end=_whole(life[1]),
            args=tuple((key, value) for key, value in args.items() if key not in _KNOWN),
        )  # fmt: skip


_OF_LOOPS = ("task", "loop", "callbacks")
_KINDS = ("thread", *_OF_LOOPS, "tracer")
_KNOWN = {"name", "kind", "id", "parent", "life"}


def _slice(event: dict[str, Any], tracks: _Tracks) -> Slice | None:
    if event.get("ph") != "X":
        return None
    start = _nanoseconds(event, "ts")
    args = dict(event.get("args") or {})
    file, line = args.pop("file", ""), args.pop("line", 0)
    frame = Frame(
        str(event.get("name", "")), str(event.get("cat", "")), str(file), _whole(line), tuple(args.items())
    )
    return Slice(tracks.at(_row(event)), start, start + _nanoseconds(event, "dur"), -1, frame)


def _row(event: dict[str, Any]) -> Row:
    return _whole(event.get("pid", 0)), _whole(event.get("tid", 0))


def _whole(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"{value!r} where a whole number was expected")


def _nanoseconds(event: dict[str, Any], key: str) -> int:
    value = event.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{key} is {value!r}, not a number")  # noqa: TRY004 - as above
    if not -1e15 < value < 1e15:
        raise ValueError(f"{key} is {value!r}, out of range")
    return round(value * 1000)
