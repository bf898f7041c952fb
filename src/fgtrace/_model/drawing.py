"""
Slices as their begins and ends, for formats that write the two apart.

The order: of each track by time; at one time first the ends, then the begins, outermost first. An
end is always that of the innermost slice that is open, so begins and ends nest by construction. Tracks take
turns in any way.
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
    At this time (ns) this frame begins on the track; None: its innermost slice ends.
    """

    track: Track
    time: int
    frame: Frame | None


class Drawing(Protocol):
    """
    What an encoder writes: a `Timeline`, or a file that was read.

    Either `slices` or `begins_and_ends` is asked for, once; then what else there is.
    """

    @property
    def tracks(self) -> list[Track]:
        """
        All tracks, in display order; slices lie within their lives.
        """

    def identical_tasks(self) -> list[list[Track]]:
        """
        Tasks in groups of which exactly the same is drawn, as far as that is known.
        """

    def slices(self) -> Iterator[Slice]:
        """
        All slices; of two with the same start and end on a track the outer one comes first.
        """

    def begins_and_ends(self) -> Iterator[BeginEnd]:
        """
        All slices as begins and ends; a track that ends before another one begins comes before it.
        """

    def flows(self) -> Iterator[Flow]:
        """
        All arrows.
        """

    def counters(self) -> Iterator[Counter]:
        """
        All counters' values, by time.
        """

    def instants(self) -> Iterator[Instant]:
        """
        All flags.
        """


def begins_and_ends(slices: Iterable[Slice]) -> Iterator[BeginEnd]:
    """
    The begins and ends of slices.

    Args:
        slices: of each track by start, the outermost first.

    Raises:
        ValueError: two slices of a track overlap in part, or are out of order.
    """
    stacks: dict[int, tuple[Track, list[int]]] = {}
    times: dict[int, int] = {}
    make = tuple.__new__  # what Edge() comes to, in half the time
    last, stack, latest = None, list[int](), 0
    for track, start, end, _, frame in slices:
        if track is not last:  # most slices come in a row: what is looked up stays
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
    The begins and ends of slices that come track by track; else as `begins_and_ends`.
    """
    for _, rows in groupby(slices, key=_track):
        yield from begins_and_ends(rows)


def _track(each: Slice) -> int:
    return each.track.id
