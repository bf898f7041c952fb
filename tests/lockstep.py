"""
An event loop whose time moves only when every task waits and a trace has seen that.

A phase of a program under it lasts as long as the ticks need, however busy the machine is, and what a trace
must show of the phase is known: the loop notes when each phase was seen.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from itertools import groupby
from typing import Any

import fgtrace
from fgtrace._sampling.core_sampler import CoreSampler
from fgtrace._sampling.sampler import Sampler
from reading import Rows
from tick_count import Ticks

__all__ = ["Lockstep", "run", "states_at"]

#: Ticks of a phase before and after the time that stands for it: one may have begun before the phase did, and
#: what a late one sees is noted as of when it was due.
TICKS = 2


class _Selector(selectors.DefaultSelector):
    """
    Waits for the loop's time to move, where nothing is ready.
    """

    at_rest: Callable[[float | None], bool]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if found or (timeout is not None and timeout <= 0):
            return found
        if self.at_rest(timeout):
            return super().select(0)
        return super().select(timeout)

    def pause(self) -> None:
        """
        Give the interpreter away for a moment, as a wait for events does.
        """
        super().select(0.001)


class Lockstep(asyncio.SelectorEventLoop):
    """
    A loop beside which a trace runs.

    Args:
        trace: takes some ticks in each phase.

    Attributes:
        phases: times on the trace's clock (ns), one in the midst of each phase.
    """

    def __init__(self, trace: fgtrace.Trace) -> None:
        self._fgtrace = trace
        self._time = 0.0
        self.phases: list[int] = []
        self.is_virtual = True
        selector = _Selector()
        selector.at_rest = self._rest
        super().__init__(selector)
        self._pause = selector.pause

    def time(self) -> float:
        return self._time

    def _rest(self, timeout: float | None) -> bool:
        """
        Every task waits: let the trace see that, and move on. False where another thread must act.
        """
        sampler = self._fgtrace._sampler
        if not self.is_virtual or sampler is None:
            return False
        self._wait_for_ticks(sampler)
        self.phases.append(sampler.now())
        self._wait_for_ticks(sampler)
        self._time += timeout or 0
        return timeout is not None

    def _wait_for_ticks(self, sampler: Sampler) -> None:
        """
        Until each task was seen in so many ticks, and what the C core asked Python about them is answered.
        """
        ticks, rounds = Ticks(TICKS), sampler._figures().rounds + TICKS
        while not ticks.have_passed() or sampler._figures().rounds < rounds or _is_behind(sampler):
            self._pause()
        if isinstance(sampler, CoreSampler):
            sampler._guarded(lambda: sampler._answer(sampler.now()))


def _is_behind(sampler: Sampler) -> bool:
    """
    Whether there are tasks that the C core has not found yet.
    """
    return isinstance(sampler, CoreSampler) and bool(sampler._core.stats()["behind"])


def run(trace: fgtrace.Trace, main: Coroutine[Any, Any, None]) -> list[int]:
    """
    Run a coroutine beside a trace that runs; the times of its phases are returned.
    """
    loop = Lockstep(trace)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main)
        loop.is_virtual = False  # what the loop does as it closes takes its own time
    return loop.phases


def states_at(track: Rows, times: list[int]) -> list[str]:
    """
    The states of a track at some times, each once where it goes on; ``""`` where it has none.
    """
    states = [row for row in track if row.category == "state"]
    found = [next((row.name for row in states if row.ts <= time < row.end), "") for time in times]
    return [name for name, _ in groupby(found)]
