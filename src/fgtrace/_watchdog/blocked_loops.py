"""
Finds event loops that are blocked, from the debug hook's thread.

The detector asks a loop for a sign of life: a callback that does nothing but note that it ran. A loop that
waits in its selector is not blocked and is not asked, so an idle program is not woken. While no sign comes,
the thread of the loop is still in whatever blocks it, so that is the moment to dump. While something holds
the GIL no thread can look; then the sign comes late, or the hook's own thread does, and the detector reports
the loop afterwards.

Known weakness: many short steps in one iteration of the loop look like a long one. That blocks all other
tasks just the same; the dump shows which it was.
"""

from __future__ import annotations

import sys
import time
import weakref
from types import FrameType
from typing import Any, NamedTuple

from fgtrace._sampling.collect.task_discovery import LoopFinder

__all__ = ["BlockedLoop", "BlockedLoopDetector"]

#: Seconds between two searches for loops.
SEARCH_EVERY = 0.1
#: The time between two checks, as a share of the threshold; and its least and greatest number of seconds.
SHARE, SHORTEST, LONGEST = 0.25, 0.005, 0.25
#: The threshold of a loop that has no ``slow_callback_duration``: that of asyncio's own loops.
USUAL_THRESHOLD = 0.1


class BlockedLoop(NamedTuple):
    """
    A loop that is blocked, or was.

    Args:
        ident: of the loop's thread.
        since: when the loop was last seen to be free, by `time.perf_counter`.
        seconds: how long ago that is.
        is_over: whether the loop is free again.
        is_guess: whether only the hook's own thread was held up; then it takes a culprit to believe it.
    """

    ident: int
    since: float
    seconds: float
    is_over: bool
    is_guess: bool = False


class _WatchedLoop:
    """
    A loop that is watched, and whether a sign of life is due.
    """

    def __init__(self, loop: Any, ident: int) -> None:
        self.loop = weakref.ref(loop)
        self.ident = ident
        self.asked = 0.0  # when the loop was asked; 0: no sign is due
        self.late: BlockedLoop | None = None  # set by a sign that came late
        self.is_reported = False

    def answer(self) -> None:
        """
        Note the sign of life; the loop calls this.
        """
        seconds = time.perf_counter() - self.asked
        if not self.is_reported:
            self.late = BlockedLoop(self.ident, self.asked, seconds, is_over=True)
        self.asked, self.is_reported = 0.0, False


class BlockedLoopDetector:
    """
    Finds blocked loops among those of all threads.

    Args:
        threshold: seconds; None: each loop's own ``slow_callback_duration``.
        finder: finds the loops.
    """

    def __init__(self, threshold: float | None, finder: LoopFinder) -> None:
        self._threshold = threshold
        self._finder = finder
        self._loops: dict[int, _WatchedLoop] = {}
        self._next_search = 0.0
        self._expected = 0.0  # when the next check was due

    @property
    def period(self) -> float:
        """
        Return the seconds until the next check.
        """
        found = [
            self._threshold_of(loop) for known in self._loops.values() if (loop := known.loop()) is not None
        ]
        least = min(found, default=self._threshold_of(None))
        return min(LONGEST, max(SHORTEST, least * SHARE))

    def check(self) -> list[BlockedLoop]:
        """
        Return the loops that were found to be blocked since the last check.

        Nothing of the program is held when this returns: a dump takes its time, and what the program's
        functions have in their locals must not outlive their calls meanwhile.
        """
        now = time.perf_counter()
        running = self._running(now)
        found = []
        for ident, (loop, is_idle) in running.items():
            known = self._loops.get(ident)
            if known is None or known.loop() is not loop:
                known = self._loops[ident] = _WatchedLoop(loop, ident)
            blocked = self._check(known, loop, now, is_idle=is_idle)
            if blocked is not None:
                found.append(blocked)
        self._expected = time.perf_counter() + self.period
        return found

    def _running(self, now: float) -> dict[int, tuple[Any, bool]]:
        """
        Return the loops that run, by the ident of their thread, and whether that waits in its selector.
        """
        frames = sys._current_frames()  # the documented way to see all threads
        try:
            is_due = now >= self._next_search
            running = self._finder.search(frames) if is_due else self._finder.running_loops()
            if is_due:
                self._next_search = now + SEARCH_EVERY
                self._loops = {ident: known for ident, known in self._loops.items() if ident in running}
            return {ident: (loop, _is_idle(frames.get(ident))) for ident, loop in running.items()}
        finally:
            frames.clear()  # it has this very frame, too, which would be a cycle

    def _check(self, known: _WatchedLoop, loop: Any, now: float, *, is_idle: bool) -> BlockedLoop | None:
        late, known.late = known.late, None
        threshold = self._threshold_of(loop)
        if late is None and not known.asked and self._expected and now - self._expected >= threshold:
            late = BlockedLoop(known.ident, self._expected, now - self._expected, is_over=True, is_guess=True)
        if late is not None and late.seconds >= threshold:
            return late
        if known.asked and not known.is_reported and now - known.asked >= threshold:
            known.is_reported = True
            return BlockedLoop(known.ident, known.asked, now - known.asked, is_over=False)
        if not known.asked and not is_idle:
            known.asked = now
            try:
                loop.call_soon_threadsafe(known.answer)
            except RuntimeError:  # the loop was closed just now
                known.asked = 0.0
        return None

    def _threshold_of(self, loop: Any) -> float:
        if self._threshold is not None:
            return self._threshold
        found = getattr(loop, "slow_callback_duration", USUAL_THRESHOLD)
        return float(found) if isinstance(found, (int, float)) and found > 0 else USUAL_THRESHOLD


def _is_idle(frame: FrameType | None) -> bool:
    """
    Return whether a thread waits in its selector, by its innermost frame.
    """
    return frame is None or (
        frame.f_code.co_name == "select" and frame.f_globals.get("__name__") == "selectors"
    )
