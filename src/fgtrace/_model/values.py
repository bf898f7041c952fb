"""
The values of a trace: what a collector found in a sample, and what a viewer shows.

Nothing here knows a clock, a file or the interpreter. Times are integers in nanoseconds from the trace's
start.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

__all__ = [
    "LOCK_HELD",
    "Collection",
    "Counter",
    "Cpu",
    "Flow",
    "Frame",
    "FrameName",
    "Gap",
    "Instant",
    "Observation",
    "Request",
    "RequestRow",
    "Slice",
    "Span",
    "ThreadSample",
    "Track",
    "Waiter",
    "WaiterKind",
]

#: The kind of a task's waiter when the collector read it.
#:
#: ``running``: there is no waiter, since the task's coroutine runs on a thread. ``runnable``: there is none,
#: or it is done. ``task``: a Task, or a future that only forwards tasks (gather, shield, wait). ``thread``:
#: the asyncio end of a concurrent future. ``io``: a future of the loop's own socket calls (uvloop).
#: ``future``: any other future.
WaiterKind = Literal["running", "runnable", "task", "thread", "io", "future"]

#: What a thread's CPU clock did since the tick before.
#:
#: ``busy``: it ran all the time. ``some``: it ran for a part. ``still``: it stood still and no other thread
#: ran either, so the thread did not wait for the GIL. ``starved``: it stood still while another thread ran.
#: ``unknown``: this is the thread's first sample, or the system has no such clock.
Cpu = Literal["busy", "some", "still", "starved", "unknown"]

#: Time (ns), track, stack and detail; appended only where it differs from the track's last one.
Observation = tuple[int, int, int, int]

#: Start and end (ns from the trace's start).
Span = tuple[int, int]

#: The name of a flag that says, on the track of a task that waits for a lock, who holds the lock.
LOCK_HELD = "lock held"


class FrameName(NamedTuple):
    """
    The name of the function that a frame runs; the state rules read it.
    """

    module: str
    qualname: str


@dataclass(frozen=True, slots=True)
class Waiter:
    """
    The future that a task waits for, as far as the future itself can tell.

    Args:
        kind: see `WaiterKind`.
        type: ``module.qualname`` of the waiter's type, ``""`` where there is no waiter.
        task: the track id of the task that is waited for, or -1.
    """

    kind: WaiterKind
    type: str = ""
    task: int = -1


@dataclass(frozen=True, slots=True)
class ThreadSample:
    """
    What a sample of a thread says besides its frames.

    Args:
        cpu: see `Cpu`.
    """

    cpu: Cpu = "unknown"


@dataclass(frozen=True, slots=True)
class Frame:
    """
    What a viewer writes on a slice, and shows when the slice is clicked.

    Args:
        name: ``module.qualname`` of a function, a state, or the text of a native call.
        category: ``python``, ``native``, ``state``, ``elided``, ``gap``, ``loop`` (what an event
            loop did), ``callback``, ``gc``, ``request``, or ``task`` (a whole task, on a lane).
        file: the source file, ``""`` where there is none.
        line: the line in that file, 0 where there is none.
        args: further (key, value) pairs, such as ``("on", "asyncio.Lock")``.
    """

    name: str
    category: str = "python"
    file: str = ""
    line: int = 0
    args: tuple[tuple[str, str | int], ...] = ()


@dataclass(frozen=True, slots=True)
class Track:
    """
    A thread, a task, or the tracer itself: a row in the viewer.

    With exact awaits an event loop has two tracks of its own: what the loop did (``loop``), and the callbacks
    that it ran (``callbacks``). A ``lane`` exists for viewers only: see `fgtrace._timeline.lanes`.

    Args:
        kind: ``thread``, ``task``, ``lane``, ``loop``, ``callbacks`` or ``tracer``.
        id: unique within a trace, counted from 0 in the order in which tracks were first seen.
        name: the thread's or task's name; a task's is followed by its coroutine's.
        group: the process row that it belongs to: ``""`` for threads, else the loop's name.
        tid: the thread's native id; for a task its place in display order, from 1.
        pid: the process id, or 4194304 + k for the k-th event loop.
        parent: the id of the task that started or awaits this one, or -1.
        level: how many ancestors it has.
        start: when it was first seen. end: when it was last seen (both ns from the trace's start).
        args: further facts, such as former names.
    """

    kind: Literal["thread", "task", "lane", "loop", "callbacks", "tracer"]
    id: int
    name: str
    group: str = ""
    tid: int = 0
    pid: int = 0
    parent: int = -1
    level: int = 0
    start: int = 0
    end: int = 0
    args: tuple[tuple[str, str | int], ...] = field(default=())


class Slice(NamedTuple):
    """
    A rectangle in the viewer: a track had this frame at this depth from start to end.

    ``start`` and ``end`` are nanoseconds from the trace's start, ``depth`` counts from 0 at the outermost
    frame. A slice is a named tuple, not a dataclass: a trace has millions of them, and a tuple is made in a
    sixth of the time.
    """

    track: Track
    start: int
    end: int
    depth: int
    frame: Frame


class Flow(NamedTuple):
    """
    An arrow from a slice of one track to a slice of another.
    """

    name: str
    source: Track
    source_time: int
    target: Track
    target_time: int


class Counter(NamedTuple):
    """
    The value of a counter from this time on; ``unit`` names what it counts.
    """

    pid: int
    name: str
    time: int
    value: float
    unit: str = "tasks"


class Instant(NamedTuple):
    """
    A flag in the viewer: an event at one moment of a track.
    """

    name: str
    track: Track
    time: int
    args: tuple[tuple[str, str | int | float], ...] = ()


class Collection(NamedTuple):
    """
    A run of the garbage collector: its start and end (ns), the native id of its thread, its generation, and
    how many objects it collected.
    """

    start: int
    end: int
    thread: int
    generation: int
    collected: int


#: A `Request` while the program runs: a plain tuple, since the garbage collector soon stops tracking that.
RequestRow = tuple[int, int, int, str, str, str, str, str]


class Request(NamedTuple):
    """
    A request that a task served, with its start and end (ns; end -1: the request was under way as the trace
    ended).

    ``request_id`` and ``parent`` are the headers ``X-Request-ID`` and ``traceparent``. ``trace_id`` is that
    of OpenTelemetry, where the program uses it.
    """

    track: int
    start: int
    end: int
    name: str
    path: str = ""
    request_id: str = ""
    parent: str = ""
    trace_id: str = ""

    @property
    def args(self) -> tuple[tuple[str, str], ...]:
        """
        Return the arguments of the request's slice.
        """
        parts = self.parent.split("-")  # https://www.w3.org/TR/trace-context/
        found = (
            ("path", self.path),
            ("request id", self.request_id),
            ("trace id", self.trace_id or (parts[1] if len(parts) >= 4 else "")),
        )
        return tuple((name, value) for name, value in found if value)


class Gap(NamedTuple):
    """
    A stretch of time without ticks.

    ``kind`` is ``late`` (the tick was due, but the tracer could not run: a C call held the GIL, for example)
    or ``skipped`` (the sampler left ticks out to keep within ``max_overhead``). ``ticks`` says how many are
    missing.
    """

    start: int
    end: int
    kind: Literal["late", "skipped"]
    ticks: int
