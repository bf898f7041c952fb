"""
Who ended a wait: the task that another one waited for, as far as a trace tells.

With exact awaits a step says who scheduled it: an arrow ``wakes``, or the argument ``woken by``. A gather
or a task group is woken by a callback of its own; then it is the child that ended last. Of a sampled
trace the same is known for tasks: by the argument ``task``, or by the children. Who released a lock
is not seen by a sampler.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from fgtrace._model.states import RUNNABLE, TASK_WAIT
from fgtrace.reports._state_history import WAITS, Life, Lives

__all__ = ["Causes"]


class Causes:
    """
    Finds causes; made once for a trace.
    """

    def __init__(self, lives: Lives) -> None:
        self._lives = lives
        self._waits = [spot.state.name in WAITS for spot in lives.spots]
        self._wakers = [spot.arg("woken by") for spot in lives.spots]
        self._ready = [spot.name == RUNNABLE for spot in lives.spots]
        self._wakes: dict[int, tuple[list[int], list[int]]] = {}
        for flight in sorted(lives.wakes, key=lambda each: each.target_time):
            times, sources = self._wakes.setdefault(flight.target, ([], []))
            times.append(flight.target_time)
            sources.append(flight.source)
        self._named: dict[str, list[Life]] = {}
        self._children: dict[int, list[Life]] = {}
        self._ended: dict[int, list[tuple[int, int]]] = {}
        for life in lives.tasks:
            self._named.setdefault(life.name, []).append(life)
            self._children.setdefault(life.track.parent, []).append(life)
            self._ended.setdefault(life.track.pid, []).append((life.end, life.id))
        for each in self._children.values():
            each.sort(key=lambda life: life.end)
        for ended in self._ended.values():
            ended.sort()

    def is_wait(self, spot: int) -> bool:
        """
        Whether a track at this spot waits.
        """
        return self._waits[spot]

    def of(self, life: Life, place: int) -> Life | None:
        """
        The task that ended a wait, or by whose end it would; None: no task, or not known.

        Args:
            life: who waited.
            place: of the stretch.
        """
        start, end, spot = life.at(place)
        found = (
            self._by_arrow(life, place, end)
            or self._by_name(self._woken_by(life, place), start, end)
            or (self.holder(life) if place == len(life) - 1 else None)
        )
        if found is not None and found is not life:
            return found
        if self._lives.spots[spot].name != TASK_WAIT:
            return None
        return (
            self._by_name(self._lives.spots[spot].arg("task"), start, end)
            or self._last_child(life, start, end)
            or self._last_ended(life, place, start, end)
        )

    def holder(self, life: Life) -> Life | None:
        """
        Who holds the lock that a task waits for as the trace ends; None: not known.
        """
        return self.only(self._lives.holders.get(life.id, ""), life.end)

    def only(self, name: str, time: int) -> Life | None:
        """
        The one task of a name that lives at a time; None: there is none, or more than one.
        """
        found = [life for life in self._named.get(name, ()) if life.start <= time <= life.end]
        return found[0] if len(found) == 1 else None

    def _by_arrow(self, life: Life, place: int, end: int) -> Life | None:
        """
        By the arrow to the step that followed.
        """
        times, sources = self._wakes.get(life.id, ((), ()))
        step = self._lives.end + 1
        for following in range(place + 1, min(place + 3, len(life))):
            if not self._ready[life.spots[following]]:
                step = life.starts[following]
                break
        at = bisect_left(times, end)
        if at < len(times) and times[at] <= step:
            return self._lives.by_id.get(sources[at])
        return None

    def _woken_by(self, life: Life, place: int) -> str:
        return self._wakers[life.spots[place + 1]] if place + 1 < len(life) else ""

    def _by_name(self, name: str, start: int, end: int) -> Life | None:
        """
        The one of a name that lived then; of several the last.
        """
        slack = self._lives.tick
        found = [
            life for life in self._named.get(name, ()) if life.start <= end and life.end + slack >= start
        ]
        return found[-1] if found else None

    def _last_child(self, life: Life, start: int, end: int) -> Life | None:
        """
        The child that ended last in this time, or lived on where nothing ended the wait.

        Of sampled ones that ended within two ticks of each other, it is the one that was there the longest.
        """
        children = self._children.get(life.id, [])
        slack = 0 if self._lives.is_exact else 2 * self._lives.tick
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

    def _last_ended(self, life: Life, place: int, start: int, end: int) -> Life | None:
        """
        Woken by a callback of asyncio's own: the task of this loop that ended just before.
        """
        if not self._woken_by(life, place).startswith("callback asyncio."):
            return None
        ended = self._ended[life.track.pid]
        last = bisect_right(ended, (end, 1 << 62)) - 1
        return self._lives.by_id[ended[last][1]] if last >= 0 and ended[last][0] > start else None
