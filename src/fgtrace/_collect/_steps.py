"""
Marks of which tasks ran: ``Handle._run`` is wrapped while a core with very many tasks asks for it.

It is the one attribute of the standard library that a trace may exchange, and only then. The wrapper is in
C, marks the task, and calls what was there; nothing of it shows in tracebacks. With the last core that
asks it is taken back, unless somebody else has put something over it: then it stays, and marks nothing.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

__all__ = ["leave_steps", "mark_steps"]


class _Wrapper:
    """
    Who wants it, and what was there before.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.wanted = 0
        self.before: Any = None
        self.ours: Any = None


_wrapper = _Wrapper()


def mark_steps(core: Any, step: type) -> bool:
    """
    Have the steps of tasks marked.

    Args:
        core: the extension module.
        step: the type of asyncio's wrapper of a task's step.

    Returns:
        Whether that could be done.
    """
    handle = sys.modules["asyncio.events"].Handle
    with _wrapper.lock:
        _wrapper.wanted += 1
        there = handle.__dict__["_run"]
        if there is _wrapper.ours:
            return True
        if _wrapper.ours is not None and there is not _wrapper.before:
            # Somebody's wrapper is over ours, or in its place: a second one of ours could call itself.
            return False
        try:
            _wrapper.ours = core.marking_run(handle, step)
        except TypeError:  # a Handle that is not asyncio's own
            return False
        _wrapper.before = there
        handle._run = _wrapper.ours
    return True


def leave_steps() -> None:
    """
    One that asked for marks needs them no more.
    """
    handle = sys.modules["asyncio.events"].Handle
    with _wrapper.lock:
        _wrapper.wanted -= 1
        if _wrapper.wanted == 0 and handle.__dict__["_run"] is _wrapper.ours and _wrapper.ours is not None:
            handle._run = _wrapper.before
            _wrapper.ours = None
