"""
The selection of a part of a trace: by time, by track, by state.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from heapq import heappop, heappush
from itertools import groupby
from typing import Any, Protocol

from fgtrace._model.drawing import BeginEnd, Drawing, begins_and_ends_by_track
from fgtrace._model.values import Counter, Flow, Instant, Slice, Span, Track
from fgtrace.errors import ConfigError

__all__ = ["Selection", "TraceDrawing", "select"]

#: The end of a selection without one (ns).
_NEVER = 1 << 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """
    A part of a trace.

    Args:
        start: seconds from the trace's start. end: the same; None: to the end.
        track: a pattern (``*``, ``?``, ``[...]``) that the track's name fits.
        state: only the times at which a track was in this state.

    Raises:
        ConfigError: a value is not allowed; for ``start`` and ``end`` it names ``from`` and ``to``.
    """

    start: float = 0
    end: float | None = None
    track: str | None = None
    state: str | None = None

    def __post_init__(self) -> None:
        for name, value in (("from", self.start), ("to", self.end)):
            if value is not None and not _is_seconds(value):
                raise ConfigError(name, value, "allowed is a number of seconds from the trace's start")
        if self.end is not None and self.end <= self.start:
            raise ConfigError("to", self.end, f"allowed is what is later than {self.start} (seconds)")

    @property
    def is_whole(self) -> bool:
        """
        Whether nothing is left out.
        """
        return self == Selection()

    @property
    def text(self) -> str:
        """
        The selection for people, as ``from 1, to 2, track main``.
        """
        parts = {"from": self.start or None, "to": self.end, "track": self.track, "state": self.state}
        return ", ".join(f"{name} {value}" for name, value in parts.items() if value is not None)

    @property
    def span(self) -> Span:
        """
        Its start and end (ns).
        """
        return round(self.start * 1e9), _NEVER if self.end is None else round(self.end * 1e9)


def _is_seconds(value: object) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value) and 0 <= value < 1e9  # type: ignore[operator,arg-type]


def select(trace: TraceDrawing, selection: Selection) -> TraceDrawing:
    """
    Return the selected part of a trace. Times stay what they are; slices are cut where the part ends.
    """
    return trace if selection.is_whole else _Selected(trace, selection)


class TraceDrawing(Drawing, Protocol):
    """
    A drawing with its metadata.
    """

    @property
    def metadata(self) -> dict[str, Any]:
        """
        The metadata of the file.
        """


class _Selected:
    """
    The selected part of a trace, cut while it is read.
    """

    def __init__(self, trace: TraceDrawing, selection: Selection) -> None:
        self._trace = trace
        self._span = selection.span
        self._cut = _Cut(trace, selection)
        self._tracks = {track.id: self._cut.track(track) for track in trace.tracks if self._cut.has(track)}
        self.tracks = list(self._tracks.values())
        self.metadata = _with_part(trace.metadata, selection)

    def identical_tasks(self) -> list[list[Track]]:
        groups = (
            [self._tracks[task.id] for task in group if task.id in self._tracks]
            for group in self._trace.identical_tasks()
        )
        return [group for group in groups if len(group) > 1]

    def slices(self) -> Iterator[Slice]:
        for _, slices in groupby(self._trace.slices(), lambda each: each.track.id):
            yield from self._of_track(slices)

    def _of_track(self, slices: Iterator[Slice]) -> Iterator[Slice]:
        """
        Yield what is left of a track's slices, by start, the outer ones first; the parts of a slice that was
        cut are put in order with the others.
        """
        waiting: list[tuple[int, int, int, Slice]] = []
        for each in slices:
            while waiting and waiting[0][0] < each.start:
                yield heappop(waiting)[-1]
            for part in self._cut.cut(each, self._tracks):
                heappush(waiting, (part.start, -part.end, part.depth, part))
        while waiting:
            yield heappop(waiting)[-1]

    def begins_and_ends(self) -> Iterator[BeginEnd]:
        return begins_and_ends_by_track(self.slices())

    def flows(self) -> Iterator[Flow]:
        for flow in self._trace.flows():
            if self._cut.covers(flow.source, flow.source_time) and self._cut.covers(
                flow.target, flow.target_time
            ):
                yield flow._replace(source=self._tracks[flow.source.id], target=self._tracks[flow.target.id])

    def counters(self) -> Iterator[Counter]:
        (start, end), pids = self._span, {track.pid for track in self.tracks}
        for value in self._trace.counters():
            if start <= value.time < end and value.pid in pids:
                yield value

    def instants(self) -> Iterator[Instant]:
        for instant in self._trace.instants():
            if self._cut.covers(instant.track, instant.time):
                yield instant._replace(track=self._tracks[instant.track.id])


class _Cut:
    """
    Cuts slices to what a selection leaves of each track: spans of time, one after the other.
    """

    def __init__(self, trace: TraceDrawing, selection: Selection) -> None:
        self._start, self._end = selection.span
        self._pattern = selection.track
        self._spans: dict[int, _Spans] | None = None
        if selection.state is not None:
            self._spans = {}
            for each in trace.slices():  # by start
                if each.frame.name == selection.state and each.frame.category == "state":
                    spans = self._spans.setdefault(each.track.id, _Spans())
                    spans.starts.append(each.start)
                    spans.ends.append(each.end)

    def has(self, track: Track) -> bool:
        fits = self._pattern is None or fnmatchcase(track.name, self._pattern)
        lives = track.start < self._end and track.end > self._start
        return fits and lives and (self._spans is None or track.id in self._spans)

    def track(self, track: Track) -> Track:
        start = max(track.start, self._start)
        return replace(track, start=start, end=min(track.end, self._end))

    def cut(self, each: Slice, tracks: dict[int, Track]) -> Iterator[Slice]:
        """
        Yield what is left of a slice.
        """
        track = tracks.get(each.track.id)
        if track is None:
            return
        for first, last in self._near(each):
            start, end = max(each.start, first, self._start), min(each.end, last, self._end)
            if start < end:
                yield Slice(track, start, end, each.depth, each.frame)

    def _near(self, each: Slice) -> Iterator[Span]:
        """
        Yield the spans that a slice may overlap.
        """
        if self._spans is None:
            yield self._start, self._end
            return
        spans = self._spans.get(each.track.id, _NO_SPANS)
        for place in range(max(0, bisect_right(spans.starts, each.start) - 1), len(spans.starts)):
            if spans.starts[place] >= each.end:
                return
            yield spans.starts[place], spans.ends[place]

    def covers(self, track: Track, time: int) -> bool:
        if not (self.has(track) and self._start <= time < self._end):
            return False
        if self._spans is None:
            return True
        spans = self._spans.get(track.id, _NO_SPANS)
        place = bisect_right(spans.starts, time) - 1
        return place >= 0 and time < spans.ends[place]


class _Spans:
    """
    The times at which a track was in a state, one after the other.
    """

    __slots__ = ("ends", "starts")

    def __init__(self) -> None:
        self.starts = array("q")
        self.ends = array("q")


_NO_SPANS = _Spans()


def _with_part(metadata: dict[str, Any], selection: Selection) -> dict[str, Any]:
    about = metadata.get("fgtrace")
    part = {
        "from": selection.start, "to": selection.end, "track": selection.track, "state": selection.state,
    }  # fmt: skip
    return {**metadata, "fgtrace": {**(about if isinstance(about, dict) else {}), "part": part}}
