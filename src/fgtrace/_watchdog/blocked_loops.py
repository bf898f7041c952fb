"""
What the debug hook watches from a thread of its own: loops that are blocked, tasks that are stuck.

A blocked loop is found by asking it for a sign of life: a callback that does nothing but say that it ran. A
loop that waits in its selector is not blocked and is not asked, so an idle program is not woken. While no
sign comes the thread that runs the loop is still in whatever blocks it, so that is the moment to dump. Where
something held the GIL, nobody could look; then the sign comes late, or our own thread does, and that tells it
afterwards.

Known weakness: many short steps in one turn of the loop look like one that is long. That blocks all others
just the same; the dump shows which it was.
"""

from __future__ import annotations

import sys
import time
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NamedTuple

from fgtrace._sampling.collect.task_discovery import LoopFinder
from fgtrace._sampling.collect.tasks import nothing, weakly

__all__ = ["BlockedLoop", "LoopWatch", "StuckTask", "TaskWatch"]

#: Seconds between two searches for loops.
SEARCH_EVERY = 0.1
#: Of the threshold: how often it is looked; at most so often, at least so often.
SHARE, SHORTEST, LONGEST = 0.25, 0.005, 0.25
#: What asyncio's own loops have.
USUAL_THRESHOLD = 0.1


class BlockedLoop(NamedTuple):
    """
    A loop that is blocked, or was: in the thread of which ident, since when (`time.perf_counter`), for how
    long. It ``is_guess`` where only our own thread was held up, so that it takes a culprit to believe it.
    """

    ident: int
    since: float
    seconds: float
    is_over: bool
    is_guess: bool = False


class StuckTask(NamedTuple):
    """
    A task that is in one await for so many seconds.
    """

    task: Any
    seconds: float


class _WatchedLoop:
    """
    What is known of one loop.
    """

    def __init__(self, loop: Any, ident: int) -> None:
        self.loop = weakref.ref(loop)
        self.ident = ident
        self.asked = 0.0  # when; 0: not
        self.late: BlockedLoop | None = None  # a sign that came late
        self.is_told = False

    def answer(self) -> None:
        """
        The sign of life: it runs in the loop.
        """
        seconds = time.perf_counter() - self.asked
        if not self.is_told:
            self.late = BlockedLoop(self.ident, self.asked, seconds, is_over=True)
        self.asked, self.is_told = 0.0, False


class LoopWatch:
    """
    Watches the loops of all threads.

    Args:
        threshold: seconds; None: each loop's own ``slow_callback_duration``.
        finder: knows loops.
    """

    def __init__(self, threshold: float | None, finder: LoopFinder) -> None:
        self._threshold = threshold
        self._finder = finder
        self._loops: dict[int, _WatchedLoop] = {}
        self._next_search = 0.0
        self._expected = 0.0  # when it was to look again

    @property
    def period(self) -> float:
        """
        Seconds until it should look again.
        """
        found = [self._of(loop) for known in self._loops.values() if (loop := known.loop()) is not None]
        return min(LONGEST, max(SHORTEST, min(found, default=self._of(None)) * SHARE))

    def look(self) -> Iterator[BlockedLoop]:
        """
        The loops that have just turned out to be blocked.
        """
        now = time.perf_counter()
        frames = sys._current_frames()  # the documented way to see all threads
        running = self._finder.found() if now < self._next_search else self._finder.search(frames)
        if now >= self._next_search:
            self._next_search = now + SEARCH_EVERY
            self._loops = {ident: known for ident, known in self._loops.items() if ident in running}
        for ident, loop in running.items():
            known = self._loops.get(ident)
            if known is None or known.loop() is not loop:
                known = self._loops[ident] = _WatchedLoop(loop, ident)
            yield from self._look(known, loop, frames.get(ident), now)
        self._expected = time.perf_counter() + self.period

    def _look(
        self, known: _WatchedLoop, loop: Any, frame: FrameType | None, now: float
    ) -> Iterator[BlockedLoop]:
        late, known.late = known.late, None
        threshold = self._of(loop)
        if late is None and not known.asked and self._expected and now - self._expected >= threshold:
            late = BlockedLoop(known.ident, self._expected, now - self._expected, is_over=True, is_guess=True)
        if late is not None and late.seconds >= threshold:
            yield late
        elif known.asked and not known.is_told and now - known.asked >= threshold:
            known.is_told = True
            yield BlockedLoop(known.ident, known.asked, now - known.asked, is_over=False)
        elif not known.asked and not _is_idle(frame):
            known.asked = now
            try:
                loop.call_soon_threadsafe(known.answer)
            except RuntimeError:  # it was closed just now
                known.asked = 0.0

    def _of(self, loop: Any) -> float:
        if self._threshold is not None:
            return self._threshold
        found = getattr(loop, "slow_callback_duration", USUAL_THRESHOLD)
        return float(found) if isinstance(found, (int, float)) and found > 0 else USUAL_THRESHOLD


def _is_idle(frame: FrameType | None) -> bool:
    """
    Whether a thread is in a selector.
    """
    return frame is None or (
        frame.f_code.co_name == "select" and frame.f_globals.get("__name__") == "selectors"
    )


class TaskWatch:
    """
    Watches the tasks of all loops for one that is stuck.

    Args:
        threshold: seconds.
        finder: knows loops.
    """

    def __init__(self, threshold: float, finder: LoopFinder) -> None:
        self._threshold = threshold
        self._finder = finder
        self._waits: dict[Callable[[], Any], tuple[Callable[[], Any], float, bool]] = {}
        self.period = min(1.0, max(SHORTEST, threshold / 10))
        self._next = 0.0

    def look(self) -> Iterator[StuckTask]:
        """
        The tasks that have just turned out to be stuck.
        """
        now = time.perf_counter()
        tasks = sys.modules.get("asyncio.tasks")
        if now < self._next or tasks is None:
            return
        self._next = now + self.period
        before, self._waits = self._waits, {}
        for loop in self._finder.search(sys._current_frames()).values():
            for task in tasks.all_tasks(loop):
                waiter = getattr(task, "_fut_waiter", None)
                if waiter is None:
                    continue
                reference = weakref.ref(task)
                seen, since, is_told = before.get(reference, (nothing, now, False))
                if seen() is not waiter:
                    seen, since, is_told = weakly(waiter), now, False
                if not is_told and now - since >= self._threshold:
                    is_told = True
                    yield StuckTask(task, now - since)
                self._waits[reference] = (seen, since, is_told)
