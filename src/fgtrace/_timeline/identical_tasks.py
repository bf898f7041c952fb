"""
Finds identical tasks: those with the same few observations at the same times, until the same end.

A service with 100,000 connections has as many tasks that wait all the time. A track for each is more than a
viewer can open and a person can read, and tasks that live at the same time cannot share a lane (see
`fgtrace._timeline.lanes`). But their slices are the same, so it is enough to draw them once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable

from fgtrace._model.values import Track
from fgtrace._recording.recording import GONE, Recording

__all__ = ["MOST_OBSERVATIONS", "groups_of_identical_tasks"]

#: Observations of a task that can be identical to others; a task that changed more often is in no group.
MOST_OBSERVATIONS = 8

#: Time, stack and detail.
_TimedStack = tuple[int, int, int]


def groups_of_identical_tasks(recording: Recording, tracks: list[Track]) -> list[list[Track]]:
    """
    Return groups of tasks whose observations and tracks are the same, except for the name.

    A task that changed often, made a step that was noted, or served a request, is in no group.

    Args:
        recording: complete.
        tracks: the tracks in display order; groups and their tasks are in that order.
    """
    seen = _histories(recording)
    for step in recording.read_steps():
        seen[step[3]] = None
    for track_of_request, *_ in recording.requests:
        seen[track_of_request] = None
    groups: dict[Hashable, list[Track]] = defaultdict(list)
    for track in tracks:
        history = seen.get(track.id) if track.kind == "task" else None
        if history is not None:
            coroutine = recording.tracks[track.id].root
            life = (track.pid, track.parent, track.level, track.start, track.end, track.args)
            groups[coroutine, life, history].append(track)
    return [group for group in groups.values() if len(group) > 1]


def _histories(recording: Recording) -> dict[int, int | None]:
    """
    Return for each track a number that stands for all its observations; None: there are too many of them.

    Tracks with the same number have the same observations. An observation and the number of those before it
    give the next number, so memory grows with the different histories alone.
    """
    numbers: dict[tuple[int, _TimedStack], int] = {}
    counts = [0]
    seen: dict[int, int | None] = {}
    for time, track, stack, detail in recording.read():
        before = seen.get(track, 0)
        if stack == GONE or before is None:
            continue
        if counts[before] == MOST_OBSERVATIONS:
            seen[track] = None
            continue
        number = numbers.setdefault((before, (time, stack, detail)), len(counts))
        if number == len(counts):
            counts.append(counts[before] + 1)
        seen[track] = number
    return seen
