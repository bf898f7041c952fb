"""
For tests of tools that build on fgtrace: a clock that moves only when it is told to.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["FakeClock"]


class FakeClock:
    """
    Stands for the system's clock, and needs no time: a wait is over at once.

        clock = FakeClock(late=[0, 0, 25_000_000])   # the third tick comes 25 ms late

    It has the methods of ``fgtrace._sampling.clock.Clock``, and is given to the ``Ticker`` of that module,
    or to ``PythonSampler`` as ``clock=``. These two are private and may change.

    Args:
        late: by how many ns each wait overruns, in turn; further waits do not.
        costs: the ns of processor time that each tick costs, in turn; further ticks cost nothing.
        stop_at: a wait until this time (ns) or later returns True; None: only `stop` ends it.
    """

    def __init__(
        self, *, late: Iterable[int] = (), costs: Iterable[int] = (), stop_at: int | None = None
    ) -> None:
        self.time = 0
        self.waits: list[int] = []
        self._late = iter(late)
        self._costs = iter(costs)
        self._spent = 0
        self._reads = 0
        self._stop_at = stop_at
        self._stopped = False

    def now(self) -> int:
        """
        Return the nanoseconds since the clock was made.
        """
        return self.time

    def wait(self, until: int) -> bool:
        """
        Move to that time, and further if the next wait is to be late.

        Returns:
            Whether the clock has stopped.
        """
        if self._stopped or (self._stop_at is not None and until >= self._stop_at):
            return True
        self.waits.append(until)
        self.time = max(self.time, until) + next(self._late, 0)
        return False

    def stop(self) -> None:
        """
        End all later waits.
        """
        self._stopped = True

    def resume(self) -> None:
        """
        Let later waits go on after `stop`.
        """
        self._stopped = False

    def cost(self) -> int:
        """
        Return the processor time (ns); a tick reads it before and after.
        """
        self._reads += 1
        if self._reads % 2 == 0:
            self._spent += next(self._costs, 0)
        return self._spent
