"""
A step of a task, or a callback of a loop, that has begun and not ended.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fgtrace._recording.recording import EMPTY
from fgtrace._recording.step_records import CALLBACK, SELECTOR, SOON, SOURCE_SHIFT, THREADSAFE, TIMER
from fgtrace._sampling.collect.await_chain import is_running
from fgtrace._sampling.collect.tasks import SeenTask, no_reference

__all__ = ["OpenStep", "is_still_running", "mark_of_first_step", "source_of_handle"]


class OpenStep:
    """
    Hold a step or a callback that runs in some thread.

    Args:
        handle: asyncio's handle; None where the step was not seen to begin.
        start: when it began, ns on the trace's clock.
        ready: when it was scheduled, ns; -1: not known.
        waker: what scheduled it, see `fgtrace._recording.step_records`.

    Attributes:
        outer: the step within which this one runs, in programs that run a loop within a step.
        reference: a weak reference to the task. seen: what is known of the task; None for a callback.
        track, stack, detail: of the step record.
        word: what this step is as the waker of others.
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

    def set_task(self, reference: Callable[[], Any], seen: SeenTask) -> None:
        """
        Make it a step of a task.
        """
        self.reference, self.seen = reference, seen
        self.track = self.word = seen.track

    def set_callback(self, loop: int, function: int, source: int) -> None:
        """
        Make it a callback.

        Args:
            loop: the index of the loop.
            function: the index of the function in the recording's ``callbacks``.
            source: where the callback came from: `SOON` and so on.
        """
        self.track = CALLBACK | loop
        self.word = CALLBACK | source << SOURCE_SHIFT | loop
        self.stack, self.detail = function, source


def mark_of_first_step() -> None:
    """
    Do nothing. Where this callback runs, the step that was open when the trace began has ended.
    """


def is_still_running(step: OpenStep) -> bool:
    """
    Return whether the task of a step is on a thread's stack just now.
    """
    task = step.reference()
    return task is not None and is_running(task.get_coro())


def source_of_handle(handle: Any, queued: tuple[Callable[[], Any], int, int, bool] | None) -> int:
    """
    Return where a callback comes from. Until 3.13 only readers and writers are queued without being
    scheduled; from 3.14 on callbacks of ``call_soon_threadsafe`` are, too.

    Args:
        handle: asyncio's.
        queued: what was noted when it was scheduled; None: nothing. Its last item tells whether another
            thread did.
    """
    if hasattr(handle, "_when"):
        return TIMER
    if queued is None:
        return THREADSAFE if type(handle).__name__ == "_ThreadSafeHandle" else SELECTOR
    return THREADSAFE if queued[3] else SOON
