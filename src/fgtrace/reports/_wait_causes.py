"""
Finds the cause of a wait: the task that ended it, as far as the trace shows.

With exact awaits a step names what scheduled it, by an arrow ``wakes`` or the argument ``woken by``. A gather
or a task group is woken by a callback of its own; its cause is the child that ended last. In a sampled trace
the cause of a wait for tasks is known by the argument ``task`` or by the children; a sampler does not see
which task released a lock.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from fgtrace._model.states import RUNNABLE, TASK_WAIT
from fgtrace.reports._state_history import WAITS, StateHistory, TrackHistory

__all__ = ["Causes"]


class Causes:
    """
    Finds the causes of waits; made once for a trace.
    """

    def __init__(self, histories: StateHistory) -> None:
        self._histories = histories
        self._waits = [stack.state.name in WAITS for stack in histories.stacks]
        self._wakers = [stack.arg("woken by") for stack in histories.stacks]
        self._ready = [stack.name == RUNNABLE for stack in histories.stacks]
        self._wakes: dict[int, tuple[list[int], list[int]]] = {}
        for wakeup in sorted(histories.wakeups, key=lambda each: each.target_time):
            times, sources = self._wakes.setdefault(wakeup.target, ([], []))
            times.append(wakeup.target_time)
            sources.append(wakeup.source)
        self._named: dict[str, list[TrackHistory]] = {}
        self._children: dict[int, list[TrackHistory]] = {}
        self._ended: dict[int, list[tuple[int, int]]] = {}
        for history in histories.tasks:
            self._named.setdefault(history.name, []).append(history)
            self._children.setdefault(history.track.parent, []).append(history)
            self._ended.setdefault(history.track.pid, []).append((history.end, history.id))
        for each in self._children.values():
            each.sort(key=lambda history: history.end)
        for ended in self._ended.values():
            ended.sort()

    def is_wait(self, stack: int) -> bool:
        """
        Return whether a track waits at a stack.
        """
        return self._waits[stack]

    def of(self, history: TrackHistory, place: int) -> TrackHistory | None:
        """
        Return the task that ended a wait, or whose end would end it; None: no task, or not known.

        Args:
            history: of the task that waited.
            place: the index of the interval.
        """
        start, end, stack = history.at(place)
        found = (
            self._by_arrow(history, place, end)
            or self._by_name(self._woken_by(history, place), start, end)
            or (self.holder(history) if place == len(history) - 1 else None)
        )
        if found is not None and found is not history:
            return found
        if self._histories.stacks[stack].name != TASK_WAIT:
            return None
        return (
            self._by_name(self._histories.stacks[stack].arg("task"), start, end)
            or self._last_child(history, start, end)
            or self._last_ended(history, place, start, end)
        )

    def holder(self, history: TrackHistory) -> TrackHistory | None:
        """
        Return the task that holds the lock for which a task waits as the trace ends; None: not known.
        """
        return self.only(self._histories.holders.get(history.id, ""), history.end)

    def only(self, name: str, time: int) -> TrackHistory | None:
        """
        Return the one task of a name that lives at a time; None: there is none, or more than one.
        """
        found = [history for history in self._named.get(name, ()) if history.start <= time <= history.end]
        return found[0] if len(found) == 1 else None

    def _by_arrow(self, history: TrackHistory, place: int, end: int) -> TrackHistory | None:
        """
        Return the task from which an arrow leads to the step after the wait.
        """
        times, sources = self._wakes.get(history.id, ((), ()))
        step = self._histories.end + 1
        for following in range(place + 1, min(place + 3, len(history))):
            if not self._ready[history.stacks[following]]:
                step = history.starts[following]
                break
        at = bisect_left(times, end)
        if at < len(times) and times[at] <= step:
            return self._histories.by_id.get(sources[at])
        return None

    def _woken_by(self, history: TrackHistory, place: int) -> str:
        return self._wakers[history.stacks[place + 1]] if place + 1 < len(history) else ""

    def _by_name(self, name: str, start: int, end: int) -> TrackHistory | None:
        """
        Return the task of a name that lived in a span; of several the last.
        """
        slack = self._histories.tick
        found = [
            history
            for history in self._named.get(name, ())
            if history.start <= end and history.end + slack >= start
        ]
        return found[-1] if found else None

    def _last_child(self, history: TrackHistory, start: int, end: int) -> TrackHistory | None:
        """
        Return the child that ended last in a span, or lived on if nothing ended the wait.

        Of sampled children that ended within two ticks of each other it is the one that lived longest.
        """
        children = self._children.get(history.id, [])
        slack = 0 if self._histories.is_exact else 2 * self._histories.tick
        found, least = None, start
        for place in range(bisect_right(children, end + slack, key=lambda child: child.end) - 1, -1, -1):
            child = children[place]
            if child.end <= least:
                break
            if found is None and child.start < end:
                found, least = child, max(start, min(child.end, end) - slack)
            elif found is not None and child.start < found.start:
                found = child
        return found

    def _last_ended(self, history: TrackHistory, place: int, start: int, end: int) -> TrackHistory | None:
        """
        Return the task of the loop that ended just before, if a callback of asyncio's own ended the wait.
        """
        if not self._woken_by(history, place).startswith("callback asyncio."):
            return None
        ended = self._ended[history.track.pid]
        last = bisect_right(ended, (end, 1 << 62)) - 1
        return self._histories.by_id[ended[last][1]] if last >= 0 and ended[last][0] > start else None
