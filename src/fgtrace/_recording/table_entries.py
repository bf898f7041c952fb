"""
The entries of a recording's tables: functions, callbacks, tracks and loops.
"""

from __future__ import annotations

from types import CodeType
from typing import NamedTuple, Self

from fgtrace._model.values import FrameName
from fgtrace._recording.wrappers import Wraps, wraps_of

__all__ = ["FORGOTTEN", "CallbackEntry", "CodeEntry", "LoopEntry", "TrackEntry"]


class CodeEntry(NamedTuple):
    """
    Describe one function.

    Attributes:
        code: its code object, which is kept alive; None for compiled code without one (Cython).
        name: its module and qualified name.
        file: its source file, ``""`` where there is none.
        line: the line of that file in which it begins; 0 where there is no code object.
        wraps: what it wraps where it is a wrapper of fgtrace, see `fgtrace._recording.wrappers`.
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
            module: ``__name__`` in the function's globals; a program may have made it anything.
        """
        name = FrameName(module if type(module) is str else "", code.co_qualname)
        return cls(code, name, code.co_filename, code.co_firstlineno, wraps_of(code))


class CallbackEntry(NamedTuple):
    """
    Describe the function that a loop's callback calls; without a file, and with line 0, where it is in C.
    """

    name: FrameName
    file: str
    line: int


class TrackEntry:
    """
    Hold what is known of a thread or a task while the trace runs.

    Args:
        kind: ``thread`` or ``task``.
        name: the thread's or task's name.
        start: when it was first seen, ns on the trace's clock.
        loop: a task's event loop, its index in the recording; -1 for a thread.
        tid: a thread's native id; 0 for a task, and where it is not known.

    Attributes:
        root: the qualified name of a task's coroutine; ``""`` until it was read.
        end: when it was found to be gone, ns; -1 while it lives.
        parent: the track of the task that started or awaits this one; -1 where none is known.
        args: further facts for the viewer, such as former names.
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
        Return a copy whose times count from a later time (ns). It shares `args` with the original.
        """
        found = TrackEntry(self.kind, self.name, self.start - time, loop=self.loop, tid=self.tid)
        found.root, found.parent, found.args = self.root, self.parent, self.args
        found.end = self.end - time if self.end >= 0 else -1
        return found


class LoopEntry:
    """
    Hold what is known of an event loop.

    Args:
        type_: ``module.qualname`` of its class.
        thread: the name of the thread in which it was seen to run; ``""`` until one is known.
        exact: whether its tasks are drawn from their steps; else they are drawn from samples.
        start: from when on that is so, ns on the trace's clock.

    Attributes:
        end: when it was closed, ns; -1 while it is open, and in a copy that begins after it was closed.
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
        Return a copy whose times count from a later time (ns). A loop that was closed before has no exact
        steps left.
        """
        is_over = 0 <= self.end <= time
        found = LoopEntry(
            self.type, self.thread, exact=self.exact and not is_over, start=max(0, self.start - time)
        )
        found.end = self.end - time if self.end > time else -1
        return found


#: Takes the place of a track that was forgotten; it belongs to no loop, so nothing shows it.
FORGOTTEN = TrackEntry("task", "", 0)
