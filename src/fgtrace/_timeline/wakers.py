"""
Who woke whom: names for it, and the callbacks of late, since a waker may be one of them.
"""

from __future__ import annotations

from bisect import bisect_right

from fgtrace._recording.recording import Recording
from fgtrace._recording.step_records import CALLBACK, SELECTOR, SOON, THREAD, THREADSAFE, TIMER, source_of
from fgtrace._timeline.stack_resolver import frame_name

__all__ = ["Wakers"]

#: Callbacks of a loop that are remembered: a waker lies a few handles back, seldom very many.
MOST_CALLBACKS = 8192

_WORDS = {SOON: "callback", TIMER: "timer", SELECTOR: "selector", THREADSAFE: "thread"}


class _Late:
    """
    A loop's callbacks of late: parallel lists, by start.
    """

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.functions: list[int] = []


class Wakers:
    """
    Tells what woke a step.

    Args:
        recording: where names are.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._late: dict[int, _Late] = {}

    def callback(self, loop: int, start: int, end: int, function: int) -> None:
        """
        A loop ran a callback.
        """
        late = self._late.setdefault(loop, _Late())
        late.starts.append(start)
        late.ends.append(end)
        late.functions.append(function)
        if len(late.starts) >= 2 * MOST_CALLBACKS:
            for each in (late.starts, late.ends, late.functions):
                del each[:MOST_CALLBACKS]

    def function(self, waker: int, time: int) -> int:
        """
        The function of the callback that a waker is, which ran at this time; -1: not known.
        """
        found = source_of(waker)
        late = self._late.get(found[0]) if found is not None else None
        if late is None:
            return -1
        place = bisect_right(late.starts, time) - 1
        return late.functions[place] if place >= 0 and time < late.ends[place] else -1

    def word(self, waker: int) -> str:
        """
        What kind of waker it is, as an arrow is named: ``wakes`` for a task, ``""`` for nobody.
        """
        found = source_of(waker)
        if found is not None:
            return _WORDS[found[1]]
        return "wakes" if waker < CALLBACK else "thread" if waker == THREAD else ""

    def name(self, waker: int, time: int) -> str:
        """
        The waker's name: the task's, ``timer``, ``selector``, ``thread``, ``callback NAME``.
        """
        if waker < CALLBACK:
            return self._recording.tracks[waker].name
        word = self.word(waker)
        function = self.function(waker, time) if word == "callback" else -1
        return f"{word} {frame_name(self._recording.callbacks[function].name)}" if function >= 0 else word
