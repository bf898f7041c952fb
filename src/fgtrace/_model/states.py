"""
The states of a track: the reasons why it is where it is.

A state is a fixed string, because a viewer colours a slice by its name, and two slices of one state should
have one colour. It has no digits, because the Perfetto UI leaves digits out when it derives the colour. What
varies (the lock, the awaited task) goes into the slice's arguments. The table in docs/states.md is made from
`STATES`.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "EVENT_WAIT",
    "FUTURE_WAIT",
    "GIL_WAIT",
    "IDLE",
    "IO_WAIT",
    "LOCK_WAIT",
    "POOL_WAIT",
    "QUEUE_WAIT",
    "RUNNABLE",
    "RUNNING",
    "SELECT",
    "SLEEP",
    "STATES",
    "SUBPROCESS_WAIT",
    "TASK_STATES",
    "TASK_WAIT",
    "THREAD_STATES",
    "THREAD_WAIT",
    "UNBLOCKED",
    "State",
]

RUNNING = "running"
RUNNABLE = "runnable"
GIL_WAIT = "GIL wait"
SLEEP = "sleep"
IO_WAIT = "I/O wait"
SELECT = "select"
POOL_WAIT = "pool wait"
LOCK_WAIT = "lock wait"
EVENT_WAIT = "event wait"
QUEUE_WAIT = "queue wait"
TASK_WAIT = "task wait"
THREAD_WAIT = "thread wait"
SUBPROCESS_WAIT = "subprocess wait"
FUTURE_WAIT = "future wait"
IDLE = "idle"


class State(NamedTuple):
    """
    A row of the table: the state's name, the kinds of track that can be in it, and its meaning.
    """

    name: str
    kinds: tuple[str, ...]
    meaning: str


_TASK = ("task",)
_THREAD = ("thread",)
_BOTH = ("task", "thread")

#: Every state, in the order of docs/states.md.
STATES = (
    State(RUNNING, _BOTH, "executes code"),
    State(RUNNABLE, _TASK, "could go on; waits for its turn on the event loop"),
    State(GIL_WAIT, _THREAD, "could go on; another thread holds the interpreter"),
    State(SLEEP, _BOTH, "sleeps for a time that it chose itself"),
    State(IO_WAIT, _BOTH, "waits for a socket, stream, pipe, file, TLS handshake or DNS answer"),
    State(SELECT, _THREAD, "runs an event loop that has nothing to do until a file or a timer is ready"),
    State(POOL_WAIT, _TASK, "waits for a free connection or worker of a pool that is all in use"),
    State(LOCK_WAIT, _BOTH, "waits for a lock or semaphore that another task or thread holds"),
    State(EVENT_WAIT, _BOTH, "waits for an event, barrier or condition"),
    State(QUEUE_WAIT, _BOTH, "waits for an item in a queue, or for room in it"),
    State(TASK_WAIT, _TASK, "waits for the end of one task or of several"),
    State(THREAD_WAIT, _BOTH, "waits for the end of a thread, or for a result that a thread computes"),
    State(SUBPROCESS_WAIT, _BOTH, "waits for the start, output or end of another process"),
    State(FUTURE_WAIT, _TASK, "waits for a future of which nothing more is known"),
    State(IDLE, _THREAD, "is an executor's worker without work"),
)

TASK_STATES = tuple(state.name for state in STATES if "task" in state.kinds)
THREAD_STATES = tuple(state.name for state in STATES if "thread" in state.kinds)

#: The states of a track that waits for nothing, or for its turn on the loop alone: no frame is the place of
#: the wait. A GIL wait has a place: the frame that the thread has stopped in.
UNBLOCKED = frozenset((RUNNING, RUNNABLE))
