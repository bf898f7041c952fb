"""
How a step is noted: what a loop ran from when to when, who had it run, and what came of it.

Five words of 64 bits each, in the order of the steps' ends:

    0  start of the step, ns on the trace's clock
    1  end of the step
    2  ready: when it was scheduled; -1: not known
    3  track, and above it in the high half the waker
    4  stack, and above it in the high half the detail

A task's step has the task's track, and the stack and the detail (index of a `Waiter`) of what it
suspended with; the stack `GONE` says that the task ended with this step. Any other callback of a
loop has the track ``CALLBACK | index of the loop``, the index of its function in the recording's
``callbacks`` as its stack, and as its detail where it came from: `SOON` and so on.

The waker is the track of the task whose step scheduled this one; or ``CALLBACK | source << 24 |
index of the loop``: a callback of that loop, which contains ``ready``; or `THREAD`, another thread
without a loop's step under way; or `NOBODY`: not known, or nothing of a loop.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

__all__ = [
    "CALLBACK",
    "NOBODY",
    "SELECTOR",
    "SOON",
    "SOURCES",
    "STEP_BYTES",
    "THREAD",
    "THREADSAFE",
    "TIMER",
    "StepRecord",
    "pack_step",
    "source_of",
    "unpack_steps",
]

STEP_BYTES = 40

#: The track of a callback: this bit, and the index of its loop.
CALLBACK = 1 << 31
THREAD = 0xFFFFFFFE
NOBODY = 0xFFFFFFFF

#: Where a callback came from: call_soon, a timer, a reader or writer, call_soon_threadsafe.
SOON, TIMER, SELECTOR, THREADSAFE = range(4)
SOURCES = ("soon", "timer", "selector", "thread")

_LOW = 0xFFFFFFFF
_SOURCE_SHIFT = 24

#: start, end, ready, track, waker, stack, detail
StepRecord = tuple[int, int, int, int, int, int, int]


def pack_step(  # noqa: PLR0913, PLR0917 - the fields, in their order
    start: int, end: int, ready: int, track: int, waker: int, stack: int, detail: int
) -> tuple[int, int, int, int, int]:
    """
    The five words of a step.
    """
    who = (track | waker << 32) - (waker >> 31 << 64)  # as a signed number
    return start, end, ready, who, stack & _LOW | detail << 32


def unpack_steps(block: bytes) -> Iterator[StepRecord]:
    """
    The steps of a block of whole steps.
    """
    values = iter(array("q", block))
    for start, end, ready, who, what in zip(values, values, values, values, values, strict=True):
        stack = what & _LOW
        if stack >= CALLBACK:
            stack -= 1 << 32
        yield start, end, ready, who & _LOW, who >> 32 & _LOW, stack, what >> 32 & _LOW


def source_of(waker: int) -> tuple[int, int] | None:
    """
    The loop and the source of a waker that is a callback; None for a task, a thread or nobody.
    """
    if waker < CALLBACK or waker >= THREAD:
        return None
    rest = waker - CALLBACK
    return rest & (1 << _SOURCE_SHIFT) - 1, rest >> _SOURCE_SHIFT
