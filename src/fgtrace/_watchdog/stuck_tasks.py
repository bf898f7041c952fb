"""
Finds tasks that are stuck: in one await for longer than a threshold.
"""

from __future__ import annotations

import sys
import time
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from fgtrace._sampling.collect.task_discovery import LoopFinder
from fgtrace._sampling.collect.tasks import no_reference, weak_reference

__all__ = ["StuckTask", "StuckTaskDetector"]

#: Seconds between two searches, at least and at most.
SHORTEST, LONGEST = 0.005, 1.0
#: Searches in the time of a threshold.
SEARCHES = 10


class StuckTask(NamedTuple):
    """
    A task, by weak reference, and for how many seconds it is in one await.
    """

    task: Callable[[], Any]
    seconds: float


class StuckTaskDetector:
    """
    Finds stuck tasks among those of all loops.

    Args:
        threshold: seconds.
        finder: finds the loops.
    """

    def __init__(self, threshold: float, finder: LoopFinder) -> None:
        self._threshold = threshold
        self._finder = finder
        # a task's weak reference -> its waiter's, since when it waits for that, whether it was reported
        self._waits: dict[Callable[[], Any], tuple[Callable[[], Any], float, bool]] = {}
        self.period = min(LONGEST, max(SHORTEST, threshold / SEARCHES))
        self._next = 0.0

    def check(self) -> list[StuckTask]:
        """
        Return the tasks that were found to be stuck since the last check.

        None of them is held when this returns: a dump takes its time, and no task may outlive it for that.
        """
        now = time.perf_counter()
        tasks = sys.modules.get("asyncio.tasks")
        found: list[StuckTask] = []
        if now < self._next or tasks is None:
            return found
        self._next = now + self.period
        before, self._waits = self._waits, {}
        for loop in self._finder.search(sys._current_frames()).values():
            for task in tasks.all_tasks(loop):
                waiter = getattr(task, "_fut_waiter", None)
                if waiter is None:
                    continue
                reference = weakref.ref(task)
                seen, since, is_reported = before.get(reference, (no_reference, now, False))
                if seen() is not waiter:
                    seen, since, is_reported = weak_reference(waiter), now, False
                if not is_reported and now - since >= self._threshold:
                    is_reported = True
                    found.append(StuckTask(reference, now - since))
                self._waits[reference] = (seen, since, is_reported)
        return found
