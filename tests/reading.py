"""
A trace as Perfetto's trace_processor reads it, in words that tests use.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from arrows import assert_arrows
from trace_processor import TraceProcessor, assert_valid_trace

__all__ = ["Row", "Rows", "Trace", "is_unread", "read"]

_SLICES = """
    select process.pid as pid, thread.tid as tid, slice.ts as ts, slice.dur as dur, slice.depth as depth,
           slice.name as name, slice.category as category, slice.arg_set_id as arg_set
    from slice join thread_track on thread_track.id = slice.track_id
    join thread using (utid) join process using (upid)
    order by pid, tid, ts, depth
"""
_ARGS = "select arg_set_id, key, display_value from args where key like 'args.%'"


class Row(NamedTuple):
    """
    One slice; times in ns from the trace's start.
    """

    ts: int
    dur: int
    depth: int
    name: str
    category: str
    args: dict[str, str]

    @property
    def end(self) -> int:
        return self.ts + self.dur


class Rows(list[Row]):
    """
    The slices of one track, by start, outermost first.
    """

    name = ""

    def states(self) -> list[str]:
        """
        The states in turn, each once where it goes on.
        """
        found: list[str] = []
        for row in self:
            if row.category == "state" and found[-1:] != [row.name]:
                found.append(row.name)
        return found

    def time_in(self, name: str) -> float:
        """
        Seconds in a slice of this name (the outermost, where it nests).
        """
        return sum(row.dur for row in self if row.name == name) / 1e9

    def chains(self, state: str) -> list[list[str]]:
        """
        The frames below each slice of a state, outermost first, as they were when it began.
        """
        return [
            [row.name for row in self if row.ts <= each.ts < row.end and row.category != "state"]
            for each in self
            if each.name == state and each.category == "state"
        ]

    def named(self, pattern: str) -> list[Row]:
        """
        The slices whose name fits a pattern.
        """
        return [row for row in self if fnmatchcase(row.name, pattern)]


class Trace:
    """
    A whole trace.
    """

    def __init__(
        self, tracks: dict[str, list[Rows]], document: dict[str, Any], ask: Callable[[str], list[Any]]
    ) -> None:
        self.tracks = tracks
        self.document = document
        self.metadata = document["metadata"]["fgtrace"]
        self.sql = ask

    def all(self, pattern: str = "*") -> Iterator[Rows]:
        """
        The tracks whose name fits a pattern.
        """
        for name, found in self.tracks.items():
            if fnmatchcase(name, pattern):
                yield from found

    def track(self, pattern: str) -> Rows:
        """
        The one track whose name fits a pattern.
        """
        found = list(self.all(pattern))
        assert len(found) == 1, f"{len(found)} tracks fit {pattern!r}; there are {sorted(self.tracks)}"
        return found[0]

    def events(self, phase: str) -> list[dict[str, Any]]:
        """
        The file's own events of a phase.
        """
        return [event for event in self.document["traceEvents"] if event["ph"] == phase]


_checked: set[tuple[Path, int]] = set()


def is_unread(path: Path) -> bool:
    """
    Whether this is a whole trace of fgtrace that was not checked since it was written.
    """
    if not path.is_file() or path.name.endswith(".partial"):
        return False
    try:
        data = _plain(path)
    except EOFError:
        return False
    return b'"fgtrace":{"complete":true' in data and (path, path.stat().st_mtime_ns) not in _checked


def _plain(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


def read(ask: Callable[[bytes], TraceProcessor], path: Path) -> Trace:
    """
    Read a file, and assert that it is a valid trace.
    """
    document = json.loads(_plain(path))
    names = {(e["pid"], e["tid"]): e["args"] for e in document["traceEvents"] if e["name"] == "thread_name"}
    processor = ask(path.read_bytes())
    lives = {row: tuple(args["life"]) for row, args in names.items()}
    assert_valid_trace(processor, lives=lives, empty=True)
    assert_arrows(document, processor)
    _checked.add((path, path.stat().st_mtime_ns))
    tracks: dict[str, list[Rows]] = {}
    rows = _rows(processor)
    for row, args in names.items():
        found = Rows(rows.get(row, ()))
        found.name = args["name"]
        tracks.setdefault(found.name.replace("└ ", ""), []).append(found)
    return Trace(tracks, document, processor.rows)


def _rows(processor: TraceProcessor) -> dict[tuple[int, int], list[Row]]:
    args: dict[int, dict[str, str]] = {}
    for each in processor.rows(_ARGS):
        args.setdefault(each["arg_set_id"], {})[each["key"].removeprefix("args.")] = each["display_value"]
    found: dict[tuple[int, int], list[Row]] = {}
    for each in processor.rows(_SLICES):
        row = Row(
            each["ts"],
            each["dur"],
            each["depth"],
            each["name"],
            each["category"],
            args.get(each["arg_set"], {}),
        )
        found.setdefault((each["pid"], each["tid"]), []).append(row)
    return found
