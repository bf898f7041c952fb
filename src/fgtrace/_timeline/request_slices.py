"""
Requests on the tracks of the tasks that served them.

A request is the outermost slice of its time. A task that served one request and did little else, as most
servers make one for each, is named by it; a task that serves a connection keeps its name.

A sampled stack stands from when a look was due until the next one, and a request begins and ends in between.
What was seen within it can be neither before nor after it, for the middleware that tells of requests is on
that stack: so it is drawn only within one.
"""

from __future__ import annotations

from collections.abc import Sequence

from fgtrace._model.values import Frame, Request
from fgtrace._recording.recording import Recording
from fgtrace._timeline.stack_resolver import DrawnStack, Resolver

__all__ = ["Outer", "RequestSlices"]

#: At these times (ns) a track's outermost steps become these.
Outer = Sequence[tuple[int, DrawnStack]]


class RequestSlices:
    """
    The requests of a recording, by track.

    Args:
        recording: complete.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._depths: dict[int, int] = {}
        self._by_track: dict[int, list[Request]] = {}
        for request in map(Request._make, recording.requests):
            self._by_track.setdefault(request.track, []).append(request)
        for requests in self._by_track.values():
            requests.sort(key=lambda each: each.start)

    def name(self, track: int, start: int, end: int) -> str:
        """
        The request that names a task which lived so long (ns); ``""``: none does.
        """
        requests = self._by_track.get(track)
        if not requests:
            return ""
        first = requests[0]
        until = first.end if first.end >= 0 else end
        is_only = all(0 <= each.end <= until for each in requests[1:])  # others lie within it
        seen = min(until, end) - max(first.start, start)
        return first.name if is_only and 2 * seen >= end - start else ""

    def depth(self, track: int, stack: int) -> int:
        """
        Within how many requests a stack is, on a track that has any.
        """
        if track not in self._by_track:
            return 0
        found = self._depths.get(stack)
        if found is None:
            codes = self._recording.codes
            elements = self._recording.elements(stack)
            found = self._depths[stack] = sum(codes[code].wraps == "request" for code, _ in elements)
        return found

    def outer(self, track: int, resolver: Resolver) -> Outer:
        """
        What is drawn around a track's paths, by time.
        """
        requests = self._by_track.get(track)
        if not requests:
            return ()
        # a request within another ends before it; where both begin or end at once, the order is kept
        changes = [(each.start, 1, place) for place, each in enumerate(requests)]
        changes += [(each.end, 0, -place) for place, each in enumerate(requests) if each.end >= 0]
        found, open_ = [], {}
        for time, begins, place in sorted(changes):
            if begins:
                request = requests[place]
                frame = Frame(request.name, "request", args=request.args)
                open_[place] = resolver.shared_step(frame)
            else:
                open_.pop(-place, None)
            found.append((time, tuple(open_.values())))
        return found
