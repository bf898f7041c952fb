"""
The figures of a trace: the ticks that were taken and missed, what they cost, and the parts that failed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fgtrace._options.options import Options
from fgtrace._recording.recording import Recording

__all__ = ["Stats", "describe_awaits", "dropped_counts", "note_failure"]


@dataclass(slots=True)
class Stats:
    """
    The figures of a trace: what it did, and what that cost.

    Attributes:
        ticks_asked: the ticks that a clock which is never late would have taken.
        ticks_taken, ticks_missed: how many of these were taken, and how many were not.
        hz: the true rate, ticks a second.
        hz_tasks: how often a second every task was sampled; below ``hz`` where a tick has no time for all
            tasks.
        overhead: the share of the wall clock that the ticks took.
        pause_max: the longest tick, in seconds.
        observations, steps, tracks: the size of the recording.
        cut: the number of stacks that were cut because the tables were full (see ``max_memory``).
        core: ``"c"`` or ``"python"``: which core was at work.
        failed: the parts that failed and were left out, each with the reason.
    """

    ticks_asked: int = 0
    ticks_taken: int = 0
    ticks_missed: int = 0
    hz: float = 0.0
    hz_tasks: float = 0.0
    overhead: float = 0.0
    pause_max: float = 0.0
    observations: int = 0
    steps: int = 0
    tracks: int = 0
    cut: int = 0
    core: str = "python"
    failed: dict[str, str] = field(default_factory=dict)


def describe_awaits(options: Options, recording: Recording) -> str:
    """
    Return how tasks were recorded: ``exact``, ``sampled``, or ``exact; sampled (uvloop)`` where some loops
    allow samples only.
    """
    if options.awaits != "exact":
        return "sampled"
    others = {loop.type.partition(".")[0] for loop in recording.loops if not loop.exact}
    found = ["exact"] if any(loop.exact for loop in recording.loops) or not others else []
    return "; ".join(found + ([f"sampled ({', '.join(sorted(others))})"] if others else []))


def dropped_counts(recording: Recording) -> dict[str, str]:
    """
    Return the kinds of facts of which some were dropped, each with a text that says how many.
    """
    counts = {"collections": recording.collections_dropped, "requests": recording.requests_dropped}
    return {name: f"{count} were too many to keep" for name, count in counts.items() if count}


def note_failure(stats: Stats, name: str, error: Exception) -> None:
    """
    Note in a trace that a part of it failed, and log it.

    Args:
        stats: the trace's.
        name: the part.
        error: why it failed.
    """
    import logging  # costs 10 ms to import, and is needed only now

    stats.failed[name] = f"{type(error).__name__}: {error}"
    logger = logging.getLogger("fgtrace")
    if logger.hasHandlers():  # without one the message would go to stderr
        logger.warning("%s failed, the trace goes on without: %s", name, error, exc_info=error)
