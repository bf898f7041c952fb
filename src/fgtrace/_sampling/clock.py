"""
The time, and the ticker that says when to look.

Theory of operation: ticks lie on a fixed grid, ``start + k * period``, so that the rate is true
over any length of time. A tick that comes more than a period late (the interpreter was held by
a C call, the machine slept) stands for all ticks that it missed: they are counted, and the
stretch is a gap of the trace. The budget is a bucket that fills by ``max_overhead`` of the wall
clock and is emptied by what each tick took; while it is overdrawn, ticks are skipped, which is
counted and is a gap as well.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from fgtrace._model.values import Gap

__all__ = ["Clock", "SystemClock", "Tick", "Ticker"]

#: What a trace may overdraw at once: the first look at everything costs more than later ones.
BURST_NS = 10_000_000


class Clock(Protocol):
    """
    What the ticker needs of a clock; `fgtrace.testing.FakeClock` is another one.
    """

    def now(self) -> int:
        """
        Nanoseconds on a clock that never goes back.
        """

    def wait(self, until: int) -> bool:
        """
        Wait until that time; True, and at once, if the clock was stopped.
        """

    def stop(self) -> None:
        """
        End the present wait and all later ones.
        """

    def resume(self) -> None:
        """
        Let it be waited for again after `stop`.
        """

    def cost(self) -> int:
        """
        Nanoseconds of processor time that the calling thread has used.
        """


class SystemClock:
    """
    The system's monotonic clock.

    The wait is a lock that nobody frees but `stop`: it costs one system call and no list of
    waiters, as ``threading.Event`` does.
    """

    def __init__(self) -> None:
        self._stopped = threading.Lock()
        self._stopped.acquire()
        self.now: Callable[[], int] = time.perf_counter_ns
        self.cost: Callable[[], int] = time.thread_time_ns

    def wait(self, until: int) -> bool:
        left = until - self.now()
        if not self._stopped.acquire(timeout=left / 1e9 if left > 0 else 0):
            return False
        self._stopped.release()
        return True

    def stop(self) -> None:
        if self._stopped.locked():
            self._stopped.release()

    def resume(self) -> None:
        self._stopped.acquire(blocking=False)


class Tick(NamedTuple):
    """
    One moment to look.

    ``time`` is when it is, ``since`` the time from which what is seen holds: the same, or for a
    late tick the time at which it was due. ``gap`` tells of missed ticks.
    """

    time: int
    since: int
    gap: Gap | None


class Ticker:
    """
    When to look, and what it cost.

    Args:
        hz: ticks a second.
        max_overhead: the share of the wall clock that the ticks may take.
        clock: the time.
    """

    def __init__(self, hz: float, max_overhead: float, clock: Clock) -> None:
        self.clock = clock
        self.period = round(1e9 / hz)
        self.taken = 0
        self.missed = 0
        self.spent = 0
        self.longest = 0
        self._max_overhead = max_overhead
        self._bucket = float(BURST_NS)
        self.restart()

    def restart(self) -> None:
        """
        The trace begins now, and so does the grid.
        """
        self.start = self.ended = self._due = self._last = self.clock.now()

    def next(self) -> Tick | None:
        """
        Wait for the next tick; None when the clock was stopped.
        """
        due = self._next_due()
        if self.clock.wait(due):
            return None
        return self._tick(due, self.clock.now())

    def last(self) -> int:
        """
        The time of a tick at once, off the grid: the end of the trace.
        """
        self.ended = self.clock.now()
        return self.ended

    def charge(self, cost: int) -> None:
        """
        Tell what the tick just taken cost, in ns.
        """
        self.taken += 1
        self.spent += cost
        self.longest = max(self.longest, cost)
        self._bucket -= cost

    def _next_due(self) -> int:
        """
        The next point of the grid at which the budget is no longer overdrawn.
        """
        if self._bucket >= 0:
            return self._due
        paid_back = self._last + round(-self._bucket / self._max_overhead)
        behind = max(0, paid_back - self._due)
        return self._due + -(-behind // self.period) * self.period

    def _tick(self, due: int, now: int) -> Tick:
        self._bucket = min(BURST_NS, self._bucket + (now - self._last) * self._max_overhead)
        skipped = (due - self._due) // self.period
        late = (now - due) // self.period
        gap = self._gap(due, now, skipped, late)
        self.missed += skipped + late
        self._due = due + (late + 1) * self.period
        self._last = now
        return Tick(now, due if late and not skipped else now, gap)

    def _gap(self, due: int, now: int, skipped: int, late: int) -> Gap | None:
        if skipped:
            return Gap(self._due, now, "skipped", skipped + late)
        return Gap(due, now, "late", late) if late else None
