"""
A step or callback of a loop while it is under way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fgtrace._recording.recording import EMPTY
from fgtrace._recording.step_records import CALLBACK, SELECTOR, SOON, SOURCE_SHIFT, THREADSAFE, TIMER
from fgtrace._sampling.collect.await_chain import is_running
from fgtrace._sampling.collect.tasks import SeenTask, no_reference

__all__ = ["OpenStep", "end_of_first_step", "is_still_running", "source_of_handle"]


class OpenStep:
    """
    A step or callback that is under way in some thread.

    ``word`` is what it is as a waker. ``handle`` is None where it was not seen to begin. ``outer`` is
    the one in which this one runs, in programs that run a loop within a step.
    """

    __slots__ = (
        "detail", "handle", "outer", "ready", "reference", "seen", "stack", "start", "track", "waker", "word",
    )  # fmt: skip

    def __init__(self, handle: Any, start: int, ready: int, waker: int) -> None:
        self.handle = handle
        self.start = start
        self.ready = ready
        self.waker = waker
        self.outer: OpenStep | None = None
        self.reference: Callable[[], Any] = no_reference
        self.seen: SeenTask | None = None
        self.track = self.word = 0
        self.stack, self.detail = EMPTY, 0

    def of_task(self, reference: Callable[[], Any], seen: SeenTask) -> None:
        """
        It is a task's step.
        """
        self.reference, self.seen = reference, seen
        self.track = self.word = seen.track

    def of_callback(self, loop: int, function: int, source: int) -> None:
        """
        It is a callback's.
        """
        self.track = CALLBACK | loop
        self.word = CALLBACK | source << SOURCE_SHIFT | loop
        self.stack, self.detail = function, source


def end_of_first_step() -> None:
    """
    Where this runs, the step that was under way when the trace began is over.
    """


def is_still_running(step: OpenStep) -> bool:
    task = step.reference()
    return task is not None and is_running(task.get_coro())


def source_of_handle(handle: Any, queued: tuple[Callable[[], Any], int, int, bool] | None) -> int:
    """
    Where a callback comes from: only readers and writers are queued without being scheduled.
    """
    if hasattr(handle, "_when"):
        return TIMER
    if queued is None:  # from 3.14 on those of other threads are queued without `_call_soon`
        return THREADSAFE if type(handle).__name__ == "_ThreadSafeHandle" else SELECTOR
    return THREADSAFE if queued[3] else SOON
