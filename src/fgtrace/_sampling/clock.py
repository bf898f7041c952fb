"""
The time, the grid of ticks, and the budget that ticks may use.

Theory of operation: ticks lie on a fixed grid, ``start + k * period``, so that the rate is true over any
length of time. A tick that comes more than a period late (a C call held the GIL, the machine slept) stands
for all ticks that it missed: they are counted, and the stretch is a gap of the trace. The budget is a bucket
that fills by ``max_overhead`` of the wall clock and is emptied by what each tick took. While it is overdrawn,
ticks are skipped; these are counted and are a gap as well.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from fgtrace._model.values import Gap

__all__ = ["Clock", "SystemClock", "Tick", "Ticker"]

#: What ticks may overdraw at once (ns): the first tick costs more than later ones, since all is new.
BURST_NS = 10_000_000


class Clock(Protocol):
    """
    Tell the time, and wait; `fgtrace.testing.FakeClock` is another one.
    """

    def now(self) -> int:
        """
        Return nanoseconds on a clock that never goes back.
        """

    def wait(self, until: int) -> bool:
        """
        Wait until a time (ns), and return False; return True at once when the clock is stopped.
        """

    def stop(self) -> None:
        """
        End the present wait and all later ones.
        """

    def resume(self) -> None:
        """
        Allow waits again after `stop`.
        """

    def cost(self) -> int:
        """
        Return the nanoseconds of processor time that the calling thread has used.
        """


class SystemClock:
    """
    Tell the system's monotonic time.

    The wait is a lock that only `stop` frees: it costs one system call, and has no list of waiters as
    ``threading.Event`` has.
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
    Describe one tick, in ns on the clock.

    ``time`` is when it is taken. ``since`` is the time from which on its samples hold: the same, or for a
    late tick the time at which it was due. ``gap`` tells of missed ticks before it.
    """

    time: int
    since: int
    gap: Gap | None


class Ticker:
    """
    Say when the next tick is due, and count what ticks cost.

    Args:
        hz: ticks a second.
        max_overhead: the share of the wall clock that the ticks may take.
        clock: the time.

    Attributes:
        start: the time of `restart`. ended: the time of the last tick of the trace; until then ``start``.
        taken, missed: numbers of ticks. spent, longest: what all ticks and the longest one cost, ns.
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
        Begin the grid now.
        """
        self.start = self.ended = self._due = self._last = self.clock.now()

    def next(self) -> Tick | None:
        """
        Wait for the next tick, and return it; None when the clock was stopped.
        """
        due = self._next_due()
        if self.clock.wait(due):
            return None
        return self._tick(due, self.clock.now())

    def finish(self) -> int:
        """
        End the trace now, and return the time: that of a last tick, off the grid.
        """
        self.ended = self.clock.now()
        return self.ended

    def charge(self, cost: int) -> None:
        """
        Count a tick that was taken, and charge its cost (ns) to the budget.
        """
        self.taken += 1
        self.spent += cost
        self.longest = max(self.longest, cost)
        self._bucket -= cost

    def _next_due(self) -> int:
        """
        Return the next point of the grid at which the budget is no longer overdrawn.
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
