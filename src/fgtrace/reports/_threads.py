"""
Threads: what the operating system's own were doing.
"""

from __future__ import annotations

from dataclasses import dataclass

from fgtrace._model.states import GIL_WAIT, IDLE, RUNNING, SELECT
from fgtrace.reports._state_history import UNSEEN, Lives

__all__ = ["Thread", "threads"]

_NOT_BLOCKED = (RUNNING, GIL_WAIT, IDLE, SELECT, UNSEEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """
    A thread; the four times and what is not seen add up to its life.

    Args:
        name: its name. tid: its native id.
        life_ns: from first to last sight. running_ns: executes code. gil_ns: waits for the interpreter.
        blocked_ns: waits for something else. idle_ns: waits for work: in ``select``, or a worker without any.
        states: the same by state.
    """

    name: str
    tid: int
    life_ns: int
    running_ns: int
    gil_ns: int
    blocked_ns: int
    idle_ns: int
    states: dict[str, int]


def threads(lives: Lives) -> tuple[Thread, ...]:
    """
    The threads, in display order.
    """
    found = []
    for life in lives.of("thread"):
        times = lives.times(life)
        found.append(
            Thread(
                name=life.name, tid=life.track.tid, life_ns=life.length,
                running_ns=times.get(RUNNING, 0), gil_ns=times.get(GIL_WAIT, 0),
                blocked_ns=sum(time for state, time in times.items() if state not in _NOT_BLOCKED),
                idle_ns=times.get(IDLE, 0) + times.get(SELECT, 0), states=times,
            )
        )  # fmt: skip
    return tuple(found)
