"""
An existing trace in another format, whole or a part of it.
"""

from __future__ import annotations

import math
import os
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from heapq import heappop, heappush
from itertools import groupby, islice
from typing import Any, Protocol, TypeVar

import orjson

from fgtrace._formats.destination import make_sink
from fgtrace._formats.read import open_trace
from fgtrace._formats.write import encoder_of
from fgtrace._model.drawing import BeginEnd, Drawing, begins_and_ends_by_track
from fgtrace._model.values import Counter, Flow, Instant, Slice, Span, Track
from fgtrace._options.options import CHECKS, FORMATS, format_of
from fgtrace.errors import ConfigError, TraceFormatError

__all__ = ["Selection", "convert", "select"]

T = TypeVar("T")

#: Slices or begins and ends between two words of progress.
PROGRESS_EVERY = 4096
#: The end of a trace whose end is not asked for (ns).
_NEVER = 1 << 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """
    Which part of a trace.

    Args:
        start: seconds from the trace's start. end: the same; None: to the end.
        track: a pattern (``*``, ``?``, ``[...]``) that the track's name fits.
        state: only the times at which a track was in this state.

    Raises:
        ConfigError: a value is not allowed.
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
    def words(self) -> str:
        """
        What was asked for, as a person would say it.
        """
        said = {"from": self.start or None, "to": self.end, "track": self.track, "state": self.state}
        return ", ".join(f"{name} {value}" for name, value in said.items() if value is not None)

    @property
    def span(self) -> Span:
        """
        From when to when (ns).
        """
        return round(self.start * 1e9), _NEVER if self.end is None else round(self.end * 1e9)


def _is_seconds(value: object) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value) and 0 <= value < 1e9  # type: ignore[operator,arg-type]


def select(trace: TraceDrawing, selection: Selection) -> TraceDrawing:
    """
    A part of a trace. Times stay what they are; slices are cut where the part ends.
    """
    return trace if selection.is_whole else _Selected(trace, selection)


class TraceDrawing(Drawing, Protocol):
    """
    A drawing with its metadata.
    """

    @property
    def metadata(self) -> dict[str, Any]:
        """
        As in the file.
        """


class _Selected:
    """
    A part of a trace, cut while it is asked for.
    """

    def __init__(self, trace: TraceDrawing, selection: Selection) -> None:
        self._trace = trace
        self._span = selection.span
        self._part = _Cut(trace, selection)
        self._kept = {track.id: self._part.track(track) for track in trace.tracks if self._part.has(track)}
        self.tracks = list(self._kept.values())
        self.metadata = _with_note(trace.metadata, selection)

    def identical_tasks(self) -> list[list[Track]]:
        groups = (
            [self._kept[task.id] for task in group if task.id in self._kept]
            for group in self._trace.identical_tasks()
        )
        return [group for group in groups if len(group) > 1]

    def slices(self) -> Iterator[Slice]:
        for _, slices in groupby(self._trace.slices(), lambda each: each.track.id):
            yield from self._of_track(slices)

    def _of_track(self, slices: Iterator[Slice]) -> Iterator[Slice]:
        """
        What is left of a track, by start, the outer ones first: a later part of a slice waits for its turn.
        """
        waiting: list[tuple[int, int, int, Slice]] = []
        for each in slices:
            while waiting and waiting[0][0] < each.start:
                yield heappop(waiting)[-1]
            for part in self._part.cut(each, self._kept):
                heappush(waiting, (part.start, -part.end, part.depth, part))
        while waiting:
            yield heappop(waiting)[-1]

    def begins_and_ends(self) -> Iterator[BeginEnd]:
        return begins_and_ends_by_track(self.slices())

    def flows(self) -> Iterator[Flow]:
        for flow in self._trace.flows():
            if self._part.covers(flow.source, flow.source_time) and self._part.covers(
                flow.target, flow.target_time
            ):
                yield flow._replace(source=self._kept[flow.source.id], target=self._kept[flow.target.id])

    def counters(self) -> Iterator[Counter]:
        (start, end), pids = self._span, {track.pid for track in self.tracks}
        for value in self._trace.counters():
            if start <= value.time < end and value.pid in pids:
                yield value

    def instants(self) -> Iterator[Instant]:
        for flag in self._trace.instants():
            if self._part.covers(flag.track, flag.time):
                yield flag._replace(track=self._kept[flag.track.id])


class _Cut:
    """
    What a selection leaves of each track: spans of time, one after the other.
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

    def cut(self, each: Slice, kept: dict[int, Track]) -> Iterator[Slice]:
        """
        What is left of a slice.
        """
        track = kept.get(each.track.id)
        if track is None:
            return
        for first, last in self._near(each):
            start, end = max(each.start, first, self._start), min(each.end, last, self._end)
            if start < end:
                yield Slice(track, start, end, each.depth, each.frame)

    def _near(self, each: Slice) -> Iterator[Span]:
        """
        The spans that a slice may reach.
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


def _with_note(metadata: dict[str, Any], selection: Selection) -> dict[str, Any]:
    said = metadata.get("fgtrace")
    part = {
        "from": selection.start, "to": selection.end, "track": selection.track, "state": selection.state,
    }  # fmt: skip
    return {**metadata, "fgtrace": {**(said if isinstance(said, dict) else {}), "part": part}}


def convert(  # noqa: PLR0913 -- the command's options, by keyword
    source: str | os.PathLike[str],
    dst: str,
    *,
    format_: str | None = None,
    selection: Selection | None = None,
    tracks: str = "auto",
    progress: Callable[[str, int, int], None] | None = None,
) -> int:
    """
    Write an existing trace in another format.

    Args:
        source: what `fgtrace.load` reads.
        dst: a path, written as a trace is.
        format_: one of `FORMATS`; None: by the suffix of the path.
        selection: which part; None: all.
        tracks: whether tasks share tracks: see `fgtrace.Config`.
        progress: called now and then: ``reading``, the bytes that were read and their total; then
            ``writing``, the slices that were written and how many the source has.

    Returns:
        The number of slices.

    Raises:
        ConfigError: there is no such format or ``tracks``, or nothing is in the part that is asked for.
        OSError: the source cannot be read.
        TraceFormatError: it is not a trace that can be read, or its slices overlap.
        SinkError: the destination cannot be written.
    """
    format_ = _format(dst, format_, tracks)
    selection, told = selection or Selection(), progress or _untold
    with open_trace(source, partial(told, "reading")) as whole:
        trace = select(whole, selection)
        if not selection.is_whole and next(trace.slices(), None) is None:
            raise ConfigError("part", selection.words, "nothing of the trace is in it")
        drawing = _Told(trace, partial(told, "writing"), whole.count)
        sink = make_sink(dst, format_)
        sink.begin()
        try:
            sink.write(encoder_of(format_, tracks)(drawing, trace.metadata))
        # the sink has taken its file away
        except (ValueError, RecursionError, orjson.JSONEncodeError) as error:
            raise TraceFormatError(os.fspath(source), str(error)) from error
        return drawing.count


def _format(dst: str, format_: str | None, tracks: str) -> str:
    format_ = format_ or format_of(dst)
    if format_ not in FORMATS:
        raise ConfigError("format", format_ or dst, "allowed is " + ", ".join(FORMATS))
    allows, allowed = CHECKS["tracks"]
    if not allows(tracks):
        raise ConfigError("tracks", tracks, allowed)
    return format_


def _untold(_what: str, _done: int, _total: int) -> None:
    """
    Nobody wants to know.
    """


class _Told:
    """
    The same drawing, which counts its slices and tells how far it was read.

    Attributes:
        count: slices that were asked for until now.
    """

    def __init__(self, drawing: Drawing, progress: Callable[[int, int], None], total: int) -> None:
        self.count = 0
        self.tracks, self.identical_tasks = drawing.tracks, drawing.identical_tasks
        self.flows, self.counters, self.instants = drawing.flows, drawing.counters, drawing.instants
        self._drawing = drawing
        self._progress = progress
        self._total = total

    def slices(self) -> Iterator[Slice]:
        return self._telling(self._drawing.slices(), 1)

    def begins_and_ends(self) -> Iterator[BeginEnd]:
        return self._telling(self._drawing.begins_and_ends(), 2)

    def _telling(self, each: Iterator[T], parts: int) -> Iterator[T]:
        number = 0
        while piece := list(islice(each, PROGRESS_EVERY)):
            yield from piece
            number += len(piece)
            self.count = number // parts
            self._progress(self.count, self._total)
