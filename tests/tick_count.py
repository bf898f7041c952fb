"""
Time as the traces that run count it: a program that waits or works for some ticks is seen by them, however
busy the machine is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import fgtrace
from fgtrace._sampling import forks
from fgtrace._sampling.sampler import Sampler

__all__ = ["Ticks", "pass_ticks", "ticks_taken", "wait_for_ticks", "work_for_ticks"]


class Ticks:
    """
    Some more ticks of each trace that runs.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        self._until = {each: each.taken + count for each in _samplers()}

    def have_passed(self) -> bool:
        """
        Whether each trace has taken them, or has ended.
        """
        running = _samplers()
        return all(each not in running or each.taken >= until for each, until in self._until.items())


def _samplers() -> list[Sampler]:
    return [each for each in list(forks._at_work) if isinstance(each, Sampler)]


def ticks_taken(trace: fgtrace.Trace) -> int:
    """
    The ticks that a trace has taken so far; 0 where it does not run.
    """
    return 0 if trace._sampler is None else trace._sampler.taken


def wait_for_ticks(count: int) -> None:
    """
    Sleep for so many ticks.
    """
    ticks = Ticks(count)
    while not ticks.have_passed():
        time.sleep(0.01)


def work_for_ticks(count: int, work: Callable[[], object] = int) -> None:
    """
    Work for so many ticks.
    """
    ticks = Ticks(count)
    while not ticks.have_passed():
        work()


async def pass_ticks(count: int) -> None:
    """
    Sleep for so many ticks, in a task.
    """
    ticks = Ticks(count)
    while not ticks.have_passed():
        await asyncio.sleep(0.01)
