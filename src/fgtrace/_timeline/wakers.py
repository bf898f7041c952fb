"""
Finds the name and the kind of the waker of a step: a task, a callback, a timer, the selector or a thread.

A step record gives a waker that is a callback by its loop and the time at which it ran. So the recent
callbacks of each loop are remembered, with their functions.
"""

from __future__ import annotations

from bisect import bisect_right

from fgtrace._recording.recording import Recording
from fgtrace._recording.step_records import (
    CALLBACK,
    SELECTOR,
    SOON,
    THREAD,
    THREADSAFE,
    TIMER,
    loop_and_source,
)
from fgtrace._timeline.stack_resolver import frame_name

__all__ = ["Wakers"]

#: Callbacks of a loop that are remembered: a waker mostly ran a few handles ago, seldom many more.
MOST_CALLBACKS = 8192

#: Source of a callback -> the kind of the waker.
_KINDS = {SOON: "callback", TIMER: "timer", SELECTOR: "selector", THREADSAFE: "thread"}


class _RecentCallbacks:
    """
    The recent callbacks of a loop, as parallel lists by start.
    """

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.functions: list[int] = []


class Wakers:
    """
    Finds what woke a step.

    Args:
        recording: has the names.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._recent: dict[int, _RecentCallbacks] = {}

    def add_callback(self, loop: int, start: int, end: int, function: int) -> None:
        """
        Add a callback that a loop ran.

        Args:
            loop: the loop's index.
            start: ns.
            end: ns.
            function: the index of the callback's function.
        """
        recent = self._recent.setdefault(loop, _RecentCallbacks())
        recent.starts.append(start)
        recent.ends.append(end)
        recent.functions.append(function)
        if len(recent.starts) >= 2 * MOST_CALLBACKS:
            for each in (recent.starts, recent.ends, recent.functions):
                del each[:MOST_CALLBACKS]

    def function(self, waker: int, time: int) -> int:
        """
        Return the index of the function of a waker that is a callback and ran at this time; -1: not known.
        """
        found = loop_and_source(waker)
        recent = self._recent.get(found[0]) if found is not None else None
        if recent is None:
            return -1
        place = bisect_right(recent.starts, time) - 1
        return recent.functions[place] if place >= 0 and time < recent.ends[place] else -1

    def kind(self, waker: int) -> str:
        """
        Return the kind of a waker, which is an arrow's name: ``wakes`` for a task, ``""`` where there is
        none.
        """
        found = loop_and_source(waker)
        if found is not None:
            return _KINDS[found[1]]
        return "wakes" if waker < CALLBACK else "thread" if waker == THREAD else ""

    def name(self, waker: int, time: int) -> str:
        """
        Return the name of a waker: a task's name, ``timer``, ``selector``, ``thread``, ``callback NAME``
        (``callback`` where its function is not known any more), or ``""`` where there is no waker.
        """
        if waker < CALLBACK:
            return self._recording.tracks[waker].name
        kind = self.kind(waker)
        function = self.function(waker, time) if kind == "callback" else -1
        return f"{kind} {frame_name(self._recording.callbacks[function].name)}" if function >= 0 else kind
