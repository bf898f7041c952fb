"""
Computes what the threads were doing.
"""

from __future__ import annotations

from dataclasses import dataclass

from fgtrace._model.states import GIL_WAIT, IDLE, RUNNING, SELECT
from fgtrace.reports._state_history import UNSEEN, StateHistory

__all__ = ["Thread", "threads"]

_NOT_BLOCKED = (RUNNING, GIL_WAIT, IDLE, SELECT, UNSEEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """
    A thread; its four times and the time that is not seen add up to its life.

    Args:
        name: its name. tid: its native id.
        life_ns: from the first sample to the last. running_ns: executing code. gil_ns: waiting for the GIL.
        blocked_ns: waiting for something else. idle_ns: in ``select``, or a worker without work.
        states: its life by state.
    """

    name: str
    tid: int
    life_ns: int
    running_ns: int
    gil_ns: int
    blocked_ns: int
    idle_ns: int
    states: dict[str, int]


def threads(histories: StateHistory) -> tuple[Thread, ...]:
    """
    Return the threads, in display order.
    """
    found = []
    for history in histories.of("thread"):
        times = histories.times(history)
        found.append(
            Thread(
                name=history.name, tid=history.track.tid, life_ns=history.length,
                running_ns=times.get(RUNNING, 0), gil_ns=times.get(GIL_WAIT, 0),
                blocked_ns=sum(time for state, time in times.items() if state not in _NOT_BLOCKED),
                idle_ns=times.get(IDLE, 0) + times.get(SELECT, 0), states=times,
            )
        )  # fmt: skip
    return tuple(found)
