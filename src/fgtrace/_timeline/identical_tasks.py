"""
Tasks that did the same: the same few looks at each, at the same times, until the same end.

A service with 100,000 connections has as many tasks that wait all the time. A track for each is more than a
viewer can open and a person can look at, and tasks that live at once cannot share a lane (see
`fgtrace._timeline.lanes`). But what is drawn of them is the same, so it is enough to draw it once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable

from fgtrace._model.values import Track
from fgtrace._recording.recording import GONE, Recording

__all__ = ["alike_in"]

#: Looks at a task that is like others; one that was seen to change more often is like no other.
MOST_OBSERVATIONS = 8

_Look = tuple[int, int, int]


def alike_in(recording: Recording, tracks: list[Track]) -> list[list[Track]]:
    """
    Tasks in groups of which exactly the same is drawn: time, stack, detail, and what their tracks say
    except for the name. A task that changed often, made a step that was noted, or served a request, is
    in none.

    Args:
        recording: complete.
        tracks: of which, in display order; groups and their tasks are in that order.
    """
    seen = _looks(recording)
    for step in recording.read_steps():
        seen[step[3]] = None
    for track_of_request, *_ in recording.requests:
        seen[track_of_request] = None
    groups: dict[Hashable, list[Track]] = defaultdict(list)
    for track in tracks:
        looks = seen.get(track.id) if track.kind == "task" else None
        if looks is not None:
            coroutine = recording.tracks[track.id].root
            life = (track.pid, track.parent, track.level, track.start, track.end, track.args)
            groups[coroutine, life, looks].append(track)
    return [group for group in groups.values() if len(group) > 1]


def _looks(recording: Recording) -> dict[int, int | None]:
    """
    Of each track a number that stands for all looks at it: the same number, the same looks; None: too many.

    A look and the number of those before it make the next number, so what is kept is what differs.
    """
    numbers: dict[tuple[int, _Look], int] = {}
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
