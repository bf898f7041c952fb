"""
The packed format of a step: what a loop ran from when to when, what made it run, and how it ended.

A step is five words of 64 bits, and steps come in the order of their ends:

    0  start of the step, ns on the trace's clock
    1  end of the step, ns
    2  when it was scheduled ("ready"), ns; -1: not known
    3  low half: the track; high half: the waker
    4  low half: the stack; high half: the detail

A step of a task has the task's track. Its stack and its detail (the index of a `Waiter`) are those with which
the task suspended at the end of the step; the stack `GONE` says that the task ended. A callback that is no
step of a task has the track ``CALLBACK | index of the loop``. Its stack is the index of its function in the
recording's ``callbacks``, and its detail says where it came from: `SOON`, `TIMER`, `SELECTOR` or
`THREADSAFE`.

The waker is what scheduled the step:

- the track of a task, whose step was running then;
- ``CALLBACK | source << 24 | index of the loop``: the callback of that loop that was running at ``ready``;
- `THREAD`: another thread, outside any step of a loop;
- `NOBODY`: not known, or no part of a loop.
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
    "SOURCE_SHIFT",
    "STEP_BYTES",
    "THREAD",
    "THREADSAFE",
    "TIMER",
    "StepRecord",
    "loop_and_source",
    "pack_step",
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
SOURCE_SHIFT = 24

#: start, end, ready, track, waker, stack, detail
StepRecord = tuple[int, int, int, int, int, int, int]


def pack_step(  # noqa: PLR0913, PLR0917 - the fields, in their order
    start: int, end: int, ready: int, track: int, waker: int, stack: int, detail: int
) -> tuple[int, int, int, int, int]:
    """
    Return the five words of a step; see the module for the arguments.
    """
    who = (track | waker << 32) - (waker >> 31 << 64)  # as a signed number
    return start, end, ready, who, stack & _LOW | detail << 32


def unpack_steps(block: bytes) -> Iterator[StepRecord]:
    """
    Yield the steps that a block of whole records has, `STEP_BYTES` each.
    """
    values = iter(array("q", block))
    for start, end, ready, who, what in zip(values, values, values, values, values, strict=True):
        stack = what & _LOW
        if stack >= CALLBACK:
            stack -= 1 << 32
        yield start, end, ready, who & _LOW, who >> 32 & _LOW, stack, what >> 32 & _LOW


def loop_and_source(waker: int) -> tuple[int, int] | None:
    """
    Return the index of the loop, and the source (an index of `SOURCES`), of a waker that is a callback; None
    for any other waker.
    """
    if waker < CALLBACK or waker >= THREAD:
        return None
    rest = waker - CALLBACK
    return rest & (1 << SOURCE_SHIFT) - 1, rest >> SOURCE_SHIFT
