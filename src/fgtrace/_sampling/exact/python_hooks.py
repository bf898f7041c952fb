"""
The two methods of asyncio's own loops that exact awaits in Python wrap: a handle runs, and a handle is
scheduled.

A wrapper calls what was there before, whatever that is, so that its meaning is kept: context, exception
handler, ``SystemExit``. Listeners are called before and after; they never raise.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, Protocol

from fgtrace._recording.wrappers import wrapper
from fgtrace._sampling.exact.monkeypatch import Patch

__all__ = ["StepListener", "add_listener", "forget_listeners", "remove_listener"]


class StepListener(Protocol):
    """
    Be told of handles, in the loop's thread or in the thread that schedules.
    """

    def entered(self, handle: Any) -> None:
        """
        Note that a handle is about to run.
        """

    def left(self, handle: Any) -> None:
        """
        Note that a handle has run, or raised what ends the loop.
        """

    def schedules(self, loop: Any, callback: Any) -> None:
        """
        This thread is about to put a handle into the queue of another thread's loop.
        """

    def scheduled(self, handle: Any) -> None:
        """
        Note that a handle was put into its loop's queue.
        """


class _Hub:
    """
    Hold the listeners, in a tuple that is exchanged as a whole: loops of other threads read it without a
    lock.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.listeners: tuple[StepListener, ...] = ()
        self.patches: tuple[tuple[Patch, Callable[[Any], Any]], ...] = ()


_hub = _Hub()


def add_listener(listener: StepListener) -> bool:
    """
    Have a listener called from now on. Return False, with nothing done, where another tool's wrapper is in
    the way.
    """
    with _hub.lock:
        if not _hub.patches:
            events, base = sys.modules["asyncio.events"], sys.modules["asyncio.base_events"]
            _hub.patches = (
                (Patch(events.Handle, "_run"), _running),
                (Patch(base.BaseEventLoop, "_call_soon"), _scheduling),
            )
        done: list[Patch] = []
        for patch, make in _hub.patches:
            if not patch.apply(make):
                for each in done:
                    each.revert()
                return False
            done.append(patch)
        _hub.listeners = (*_hub.listeners, listener)
    return True


def remove_listener(listener: StepListener) -> None:
    """
    Call a listener no more; with the last one the methods are as they were.
    """
    with _hub.lock:
        if listener in _hub.listeners:
            _hub.listeners = tuple(each for each in _hub.listeners if each is not listener)
            for patch, _ in _hub.patches:
                patch.revert()


def forget_listeners() -> None:
    """
    Drop all listeners in the child of a fork.
    """
    _hub.lock = threading.RLock()
    _hub.listeners = ()


def _running(before: Callable[[Any], None]) -> Callable[[Any], None]:
    @wrapper("call")
    def wrapped_run(self: Any) -> None:
        for listener in _hub.listeners:
            listener.entered(self)
        try:
            before(self)
        finally:
            for listener in _hub.listeners:  # also those that were added meanwhile
                listener.left(self)
            self = None  # else an exception's traceback would be a cycle, as in the stock method

    return wrapped_run


def _scheduling(before: Callable[..., Any]) -> Callable[..., Any]:
    @wrapper("call")
    def wrapped_call_soon(self: Any, *args: Any, **kwargs: Any) -> Any:
        runs_in = self._thread_id
        if runs_in is not None and runs_in != threading.get_ident():
            for listener in _hub.listeners:  # the loop may run the handle before it is told of below
                listener.schedules(self, args[0] if args else None)
        handle = before(self, *args, **kwargs)
        if handle._source_traceback:
            del handle._source_traceback[-1]  # the wrapper's own line; every caller takes off its own
        for listener in _hub.listeners:
            listener.scheduled(handle)
        return handle

    return wrapped_call_soon
