"""
Tasks that did the same: one look at each, at the same time, and nothing else until the same end.

A service with 100,000 connections has as many tasks that wait all the time. A track for each is more than a
viewer can open and a person can look at, and tasks that live at once cannot share a lane (see
`fgtrace._sharing`). But what is drawn of them is the same, so it is enough to draw it once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable

from fgtrace._model import Track
from fgtrace._recording import GONE, Recording

__all__ = ["alike_in"]

_Look = tuple[int, int, int]


def alike_in(recording: Recording, tracks: list[Track]) -> list[list[Track]]:
    """
    Tasks in groups of which exactly the same is drawn: time, stack, detail, and what their tracks say
    except for the name. A task that did more than wait, or served a request, is in none.

    Args:
        recording: complete.
        tracks: of which, in display order; groups and their tasks are in that order.
    """
    looks: dict[int, _Look | None] = {}
    for time, number, stack, detail in recording.read():
        if stack != GONE:
            looks[number] = None if number in looks else (time, stack, detail)
    for step in recording.read_steps():
        looks[step[3]] = None
    for request in recording.requests:
        looks[request.track] = None
    groups: dict[Hashable, list[Track]] = defaultdict(list)
    for track in tracks:
        look = looks.get(track.id) if track.kind == "task" else None
        if look is not None:
            coroutine = recording.tracks[track.id].root
            life = (track.pid, track.parent, track.level, track.start, track.end, track.args)
            groups[coroutine, life, look].append(track)
    return [group for group in groups.values() if len(group) > 1]
