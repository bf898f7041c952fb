"""
What an encoder reads, `Drawing`; and slices as begins and ends, for formats that write the two separately.

Begins and ends come by time on each track. At equal times the ends come first, then the begins, outermost
first. An end belongs to the innermost slice that is open, so begins and ends always nest. Begins and ends of
different tracks may alternate in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple, Protocol

from fgtrace._model.values import Counter, Flow, Frame, Instant, Slice, Track

__all__ = ["FOREVER", "BeginEnd", "Drawing", "begins_and_ends", "begins_and_ends_by_track"]

#: The end (ns) of a slice that has none yet.
FOREVER = 1 << 63


class BeginEnd(NamedTuple):
    """
    A slice begins or ends: at this time (ns) this frame begins on the track, or (frame None) its innermost
    slice ends.
    """

    track: Track
    time: int
    frame: Frame | None


class Drawing(Protocol):
    """
    A trace as an encoder reads it: a `Timeline`, or a file that was read.

    An encoder reads either `slices` or `begins_and_ends`, once, and the flows, counters and instants after
    that. The slices of a file may be read again; a conversion does.
    """

    @property
    def tracks(self) -> list[Track]:
        """
        Return all tracks in display order; each slice lies between its track's start and end.
        """

    def identical_tasks(self) -> list[list[Track]]:
        """
        Return groups of tasks that have exactly the same slices, as far as that is known.
        """

    def slices(self) -> Iterator[Slice]:
        """
        Yield all slices; of two with the same start and end on a track the outer one comes first.
        """

    def begins_and_ends(self) -> Iterator[BeginEnd]:
        """
        Yield all slices as begins and ends. Those of a track come before those of any track that begins after
        its end.
        """

    def flows(self) -> Iterator[Flow]:
        """
        Yield all arrows.
        """

    def counters(self) -> Iterator[Counter]:
        """
        Yield the values of all counters, by time.
        """

    def instants(self) -> Iterator[Instant]:
        """
        Yield all flags.
        """


def begins_and_ends(slices: Iterable[Slice]) -> Iterator[BeginEnd]:
    """
    Yield the begins and ends of slices.

    Args:
        slices: by start on each track, outer ones before inner ones.

    Raises:
        ValueError: two slices of a track overlap in part, or are out of order.
    """
    stacks: dict[int, tuple[Track, list[int]]] = {}
    times: dict[int, int] = {}
    make = tuple.__new__  # does what BeginEnd() does, in half the time
    last, stack, latest = None, list[int](), 0
    for track, start, end, _, frame in slices:
        if track is not last:  # most slices of a track follow each other, so its stack is found once
            if last is not None:
                times[last.id] = latest
            last, stack = track, stacks.setdefault(track.id, (track, []))[1]
            latest = times.get(track.id, start)
        while stack and stack[-1] <= start:
            yield make(BeginEnd, (track, stack.pop(), None))
        if start < latest or (stack and end > stack[-1]):
            raise ValueError(f"{frame.name!r} at {start} ns overlaps another slice of {track.name!r} in part")
        latest = start
        stack.append(end)
        yield make(BeginEnd, (track, start, frame))
    for track, stack in stacks.values():
        while stack:
            yield BeginEnd(track, stack.pop(), None)


def begins_and_ends_by_track(slices: Iterable[Slice]) -> Iterator[BeginEnd]:
    """
    Yield the begins and ends of slices that come track by track; otherwise as `begins_and_ends`.
    """
    for _, rows in groupby(slices, key=_track):
        yield from begins_and_ends(rows)


def _track(each: Slice) -> int:
    return each.track.id
