"""
The words of the house, as frozen values (design: tick, track, stack, state, slice, gap).

Nothing here knows a clock, a file or the interpreter: a value is what a collector saw or what
a viewer draws. Times are integers in nanoseconds from the trace's start.
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

#: What a task's waiter turned out to be when the collector looked at it.
#:
#: ``running``: none, the task's coroutine is on a thread. ``runnable``: none, or one that is
#: done. ``task``: a Task, or a future that only forwards tasks (gather, shield, wait).
#: ``thread``: the asyncio end of a concurrent future. ``io``: a future of the loop's own socket
#: calls (uvloop). ``future``: any other.
WaiterKind = Literal["running", "runnable", "task", "thread", "io", "future"]

#: What a thread's CPU clock did since the tick before.
#:
#: ``busy``: it ran all the time. ``some``: it ran for a part. ``still``: it stood still and no
#: other thread ran either, so it was not the GIL that it waited for. ``starved``: it stood
#: still while another thread ran. ``unknown``: first sight, or no such clock here.
Cpu = Literal["busy", "some", "still", "starved", "unknown"]

#: Time (ns), track, stack and detail; appended only where it differs from the track's last one.
Observation = tuple[int, int, int, int]

#: Start and end (ns from the trace's start).
Span = tuple[int, int]


#: What a flag on a task's track is called that says who holds the lock that it waits for.
LOCK_HELD = "lock held"


class FrameName(NamedTuple):
    """
    Which function a frame runs: what the state rules read.
    """

    module: str
    qualname: str


@dataclass(frozen=True, slots=True)
class Waiter:
    """
    What a task waits for, as far as the future itself can tell.

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
    What was seen of a thread besides its frames.

    Args:
        cpu: see `Cpu`.
    """

    cpu: Cpu = "unknown"


@dataclass(frozen=True, slots=True)
class Frame:
    """
    One rectangle's face: what a viewer writes on a slice and shows when it is clicked.

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
    One thread, task, or the tracer itself: a row in the viewer.

    With exact awaits an event loop has two more: what the loop did (``loop``), and the callbacks
    that it ran (``callbacks``). A ``lane`` is there for viewers only: see `fgtrace._timeline.lanes`.

    Args:
        kind: ``thread``, ``task``, ``lane``, ``loop``, ``callbacks`` or ``tracer``.
        id: unique within a trace, counted from 0 in the order of first sight.
        name: the thread's or task's name; a task's is followed by its coroutine's.
        group: the process row that it belongs to: ``""`` for threads, else the loop's name.
        tid: the thread's native id; for a task its place in display order, from 1.
        pid: the process id, or 4194304 + k for the k-th event loop.
        parent: the id of the task that started or awaits this one, or -1.
        level: how many ancestors it has.
        start: first sight. end: last sight (both ns from the trace's start).
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
    One rectangle: a track had this frame at this depth from start to end.

    ``start`` and ``end`` are nanoseconds from the trace's start, ``depth`` counts from 0 at the
    outermost frame. A named tuple, not a dataclass: a trace has millions of them, and a tuple
    is made in a sixth of the time.
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
    The value of a counter from this time on; ``unit`` is what is counted.
    """

    pid: int
    name: str
    time: int
    value: float
    unit: str = "tasks"


class Instant(NamedTuple):
    """
    Something that is said of one moment of a track: a flag in the viewer.
    """

    name: str
    track: Track
    time: int
    args: tuple[tuple[str, str | int | float], ...] = ()


class Collection(NamedTuple):
    """
    A run of the garbage collector: when (ns), in the thread of which native id, and what came of it.
    """

    start: int
    end: int
    thread: int
    generation: int
    collected: int


#: A request while the program runs: a plain tuple, which the garbage collector soon looks at no more.
RequestRow = tuple[int, int, int, str, str, str, str, str]


class Request(NamedTuple):
    """
    A request that a task served, from when to when (ns; -1: it was under way when the trace ended).

    ``request_id`` and ``parent``: its headers ``X-Request-ID`` and ``traceparent``. ``trace_id``: that of
    OpenTelemetry, where the program uses it.
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
        The arguments of its slice.
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
    A stretch without ticks.

    ``kind``: ``late`` (the tick was due, but the tracer could not run: a C call held the GIL,
    say) or ``skipped`` (left out to keep within ``max_overhead``). ``ticks``: how many.
    """

    start: int
    end: int
    kind: Literal["late", "skipped"]
    ticks: int
