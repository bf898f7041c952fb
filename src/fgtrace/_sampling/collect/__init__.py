"""
Collectors: what one tick reads of the program. Each samples one kind of track, and notes what changed.

The rule of this room: a collector is hot code. It runs under the GIL while the program stands still, so it
compares and appends. It calls no code of the program, builds no texts, and holds no strong reference to an
object of the program beyond the tick; what it must know again, it knows by weak reference.

- `threads`: `ThreadCollector`, every thread's frames and CPU clock.
- `tasks`: `TaskCollector`, every task's await chain and waiter. It uses `task_discovery` (which tasks and
  loops there are), `await_chain` (frames and chains as stacks) and `waiters` (what a future is that a task
  waits for).
- `requests`: which task handles which request. `garbage_collections`: the runs of the garbage collector.
  `lock_holders`: who holds a lock, read once as a trace ends. These are told, or asked once: they are no
  collectors.

To add a collector, write a class as `Collector` says, in a module of its own here, and plug it in in
`PythonSampler._plug_in` (`fgtrace._sampling.python_sampler`). A kind of row that there is not yet needs a
table in `fgtrace._recording`, and is drawn by `fgtrace._timeline`.

The collectors here serve the sampler in Python alone. Where the C core serves, which is the default, no
collector of this kind runs: the core does the same work in ``src/core/threads`` and ``src/core/tasks``, and
a new kind of sample has to be taken in its tick, too (`run` in ``src/core/clock/tick.c``).
"""

from __future__ import annotations

from types import FrameType
from typing import Protocol

__all__ = ["Collector"]


class Collector(Protocol):
    """
    Sample one kind of track, once a tick.

        class SocketCollector:
            name = "sockets"

            def __init__(self, recording): ...

            def sample(self, now, frames): ...

            def conclude(self, now): ...

            def close(self, now): ...

    A collector gets its recording when it is made, adds a track (`Recording.add_track`) for what it sees for
    the first time, calls `Recording.observe` if a track's stack or detail differs from the track's last one,
    and ends the track with the stack `GONE`. A sampler calls it in one thread. What it raises unplugs it: it
    is called no more, and the trace goes on without it.

    Attributes:
        name: of the collector, in ``stats.failed`` and in the log.
    """

    name: str

    def sample(self, now: int, frames: dict[int, FrameType]) -> None:
        """
        Note what changed since the last tick.

        Args:
            now: the time to note, ns on the trace's clock.
            frames: ``sys._current_frames()`` of this tick, the innermost frame of each thread by its ident.
                They are let go when every collector has sampled; while they are held nothing may be called
                that waits, or what the program's functions have in their locals outlives their calls.
        """

    def conclude(self, now: int) -> None:
        """
        Do what is left of a tick once the frames are let go: the system may be asked.
        """

    def close(self, now: int) -> None:
        """
        Read what is wanted of tracks that are still alive as the trace ends, at ``now`` (ns on its clock).
        """
