"""
What a recording's tables hold: functions, callbacks, tracks, loops.
"""

from __future__ import annotations

from types import CodeType
from typing import NamedTuple, Self

from fgtrace._model.values import FrameName
from fgtrace._recording.wrappers import Wraps, wraps_of

__all__ = ["FORGOTTEN", "CallbackEntry", "CodeEntry", "LoopEntry", "TrackEntry"]


class CodeEntry(NamedTuple):
    """
    One function: its code object (None for compiled code without one), its names, and what it wraps where it
    is a wrapper of fgtrace.
    """

    code: CodeType | None
    name: FrameName
    file: str
    line: int
    wraps: Wraps = ""

    @classmethod
    def of(cls, code: CodeType, module: object) -> Self:
        """
        Return the entry of a code object.

        Args:
            code: the code object.
            module: ``__name__`` in the function's globals, which a program may have made anything.
        """
        name = FrameName(module if type(module) is str else "", code.co_qualname)
        return cls(code, name, code.co_filename, code.co_firstlineno, wraps_of(code))


class CallbackEntry(NamedTuple):
    """
    The function that a loop's callback calls; no file and line 0 where it is of C.
    """

    name: FrameName
    file: str
    line: int


class TrackEntry:
    """
    What is known of a thread or task while the trace runs; times in ns on the trace's clock.
    """

    __slots__ = ("args", "end", "kind", "loop", "name", "parent", "root", "start", "tid")

    def __init__(self, kind: str, name: str, start: int, *, loop: int = -1, tid: int = 0) -> None:
        self.kind = kind
        self.name = name
        self.root = ""
        self.start = start
        self.end = -1
        self.parent = -1
        self.loop = loop
        self.tid = tid
        self.args: dict[str, str | int] = {}

    def since(self, time: int) -> TrackEntry:
        """
        The same, with times that count from this one.
        """
        found = TrackEntry(self.kind, self.name, self.start - time, loop=self.loop, tid=self.tid)
        found.root, found.parent, found.args = self.root, self.parent, self.args
        found.end = self.end - time if self.end >= 0 else -1
        return found


class LoopEntry:
    """
    One event loop: the thread it was seen in ("" until known), and its class.

    Its tasks are drawn from their steps where it is ``exact``, else from what the ticks saw. It
    lived from ``start`` (ns) to ``end``, -1: beyond the trace.
    """

    __slots__ = ("end", "exact", "start", "thread", "type")

    def __init__(self, type_: str, thread: str = "", *, exact: bool = False, start: int = 0) -> None:
        self.type = type_
        self.thread = thread
        self.exact = exact
        self.start = start
        self.end = -1

    def since(self, time: int) -> LoopEntry:
        """
        The same, with times that count from this one; one that ended before has nothing exact to show.
        """
        is_over = 0 <= self.end <= time
        found = LoopEntry(
            self.type, self.thread, exact=self.exact and not is_over, start=max(0, self.start - time)
        )
        found.end = self.end - time if self.end > time else -1
        return found


#: Stands in its place for a track of which nothing is known any more: it is of no loop, so nothing shows it.
FORGOTTEN = TrackEntry("task", "", 0)
