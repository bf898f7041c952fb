"""
The rows of a Trace Event file: a thread for each pid and tid, and a track for each id of nestable events.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

from fgtrace._formats.read.own_annotations import KINDS, OF_LOOPS, whole
from fgtrace._formats.read.slice_store import SliceStore
from fgtrace._formats.read.trace_file import BadTrace
from fgtrace._model.values import Track

__all__ = ["Event", "EventRows"]

Event = dict[str, Any]
_KNOWN = {"name", "kind", "id", "parent", "life"}


class _ThreadKey(NamedTuple):
    """
    The key of a thread's events.
    """

    pid: int
    tid: int


class _NestedKey(NamedTuple):
    """
    The key of the nestable events (``b``, ``e``) of one track: a category, an id, and the pid where the id is
    a process's own (``id2.local``).
    """

    category: str
    id: str
    pid: int | None = None


class _Label(NamedTuple):
    """
    The label of nestable events: their process, and the name of the first one.
    """

    pid: int
    name: str


class EventRows:
    """
    Numbers the rows of a file as they come, and makes tracks of them at its end.
    """

    def __init__(self) -> None:
        self._threads: dict[tuple[int, int], int] = {}
        self._nested: dict[_NestedKey, int] = {}
        self._keys: list[_ThreadKey | _NestedKey] = []
        self._labels: dict[int, _Label] = {}  # of nested ones
        self._named: dict[tuple[str, _ThreadKey], dict[str, Any]] = {}

    def thread(self, event: Event) -> int:
        """
        Return the row of an event's thread.

        Raises:
            ValueError: its pid or tid is no whole number.
        """
        pid, tid = event.get("pid", 0), event.get("tid", 0)
        found = self._threads.get((pid, tid))  # 7.0 is found, too, where 7 was there before
        return self._thread(_ThreadKey(whole(pid), whole(tid))) if found is None else found

    def _thread(self, key: _ThreadKey) -> int:
        found = self._threads[key] = len(self._keys)
        self._keys.append(key)
        return found

    def nested(self, event: Event) -> int:
        """
        Return the row of a nestable event.
        """
        pid, own = whole(event.get("pid", 0)), event.get("id2")
        ids = own if isinstance(own, dict) else {"global": event.get("id")}
        category = str(event.get("cat", ""))
        if "local" in ids:
            key = _NestedKey(category, repr(ids["local"]), pid)
        else:
            key = _NestedKey(category, repr(ids.get("global")))
        found = self._nested.get(key)
        if found is None:
            found = self._nested[key] = len(self._keys)
            self._keys.append(key)
            self._labels[found] = _Label(pid, str(event.get("name", "")))
        return found

    def name(self, event: Event) -> None:
        """
        Read a metadata event.
        """
        args = event.get("args")
        if isinstance(args, dict):
            key = _ThreadKey(whole(event.get("pid", 0)), whole(event.get("tid", 0)))
            self._named[str(event.get("name")), key] = args
            if event.get("name") == "thread_name":
                self.thread(event)

    def tracks(self, store: SliceStore) -> list[int]:
        """
        Make the tracks; return the rows in display order, those with names first.

        Raises:
            BadTrace: an annotation of a track has a wrong value.
        """
        names = {
            self._threads[key]: args for (kind, key), args in self._named.items() if kind == "thread_name"
        }
        groups = {
            key.pid: str(args.get("name") or "")
            for (kind, key), args in self._named.items()
            if kind == "process_name"
        }
        ids, free = set[int](), defaultdict[int, Iterator[int]](lambda: count(1))
        order = [*names, *(row for row in range(len(self._keys)) if row not in names)]
        for row in order:
            key, args = self._keys[row], names.get(row, {})
            if isinstance(key, _NestedKey):
                pid, name = self._labels[row]
                tid = next(tid for tid in free[pid] if (pid, tid) not in self._threads)
                key, args = _ThreadKey(pid, tid), {"name": name, "kind": "task"}
            number = whole(args.get("id", len(ids)))
            while number in ids:  # of another tool's, or of a file that was put together
                number += 1
            ids.add(number)
            store.tracks[row] = _track(number, key, args, groups.get(key.pid, ""), store.life(row))
        return order


def _track(
    number: int, key: _ThreadKey, args: dict[str, Any], group: str, drawn: tuple[int, int] | None
) -> Track:
    name, annotated = str(args.get("name", f"thread {key.tid}")), args.get("kind")
    kind: Any = annotated if annotated in KINDS else "thread"
    start, end = _life(args.get("life"), drawn)
    return Track(
        kind=kind, id=number, name=name.replace("└ ", ""), level=name.count("└ "),
        group=group if kind in OF_LOOPS or group != f"python {key.pid}" else "",
        pid=key.pid, tid=key.tid, parent=whole(args.get("parent", -1)),
        start=start, end=end,
        args=tuple((each, value) for each, value in args.items() if each not in _KNOWN),
    )  # fmt: skip


def _life(annotated: Any, drawn: tuple[int, int] | None) -> tuple[int, int]:
    """
    Return a track's start and end as annotated, extended to all of its slices.
    """
    if annotated is None:
        return drawn or (0, 0)
    if not (isinstance(annotated, list) and len(annotated) == 2):
        raise BadTrace(f"{annotated!r} where a track's start and end were expected")
    start, end = whole(annotated[0]), whole(annotated[1])
    return (min(start, drawn[0]), max(end, drawn[1])) if drawn else (start, end)
