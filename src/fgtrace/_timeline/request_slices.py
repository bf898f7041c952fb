"""
Requests as slices, on the tracks of the tasks that served them.

A request is the outermost slice of its time. A task that served one request and did little else has the name
of the request, since most servers make a task for each; a task that serves a connection keeps its name.

A sampled stack is drawn from one tick to the next, and a request begins and ends in between. A stack within a
request has the middleware that notes requests on it. So such a stack is drawn within a request alone, neither
before nor after it.
"""

from __future__ import annotations

from collections.abc import Sequence

from fgtrace._model.values import Frame, Request
from fgtrace._recording.recording import Recording
from fgtrace._timeline.stack_resolver import DrawnStack, StackResolver

__all__ = ["OuterStacks", "RequestSlices"]

#: Times (ns), each with the frames that are a track's outermost ones from then on.
OuterStacks = Sequence[tuple[int, DrawnStack]]


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
        Return the name of the request after which a task is named, or ``""``.

        Args:
            track: the task's.
            start: when the task was first seen, ns.
            end: when it was last seen.
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
        Return within how many requests a stack is; 0 on a track that serves none.
        """
        if track not in self._by_track:
            return 0
        found = self._depths.get(stack)
        if found is None:
            codes = self._recording.codes
            elements = self._recording.elements(stack)
            found = self._depths[stack] = sum(codes[code].wraps == "request" for code, _ in elements)
        return found

    def outer(self, track: int, resolver: StackResolver) -> OuterStacks:
        """
        Return the frames of requests outside a track's own stacks, by time.
        """
        requests = self._by_track.get(track)
        if not requests:
            return ()
        # an inner request ends before the outer one; where both begin or end at once, the order is kept
        changes = [(each.start, 1, place) for place, each in enumerate(requests)]
        changes += [(each.end, 0, -place) for place, each in enumerate(requests) if each.end >= 0]
        found, open_ = [], {}
        for time, begins, place in sorted(changes):
            if begins:
                request = requests[place]
                frame = Frame(request.name, "request", args=request.args)
                open_[place] = resolver.shared_frame(frame)
            else:
                open_.pop(-place, None)
            found.append((time, tuple(open_.values())))
        return found
