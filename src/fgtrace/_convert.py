"""
An existing trace in another format, whole or a part of it.
"""

from __future__ import annotations

import math
import os
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import orjson

from fgtrace._config import CHECKS, FORMATS, format_of
from fgtrace._decode import open_trace
from fgtrace._decode._file import TraceFile
from fgtrace._edges import Edge
from fgtrace._encode import encoder_of
from fgtrace._model import Slice, Track
from fgtrace._sinks import make_sink
from fgtrace.errors import ConfigError, TraceFormatError

__all__ = ["Selection", "convert", "select"]

T = TypeVar("T")

PROGRESS_EVERY = 4096
#: The end of a trace whose end is not asked for (ns).
_NEVER = 1 << 63

Span = tuple[int, int]


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


def select(trace: TraceFile, selection: Selection) -> TraceFile:
    """
    A part of a trace. Times stay what they are; slices are cut where the part ends.
    """
    if selection.is_whole:
        return trace
    start, end = selection.span
    part = _Part(trace, selection)
    kept = {track.id: part.track(track) for track in trace.tracks if part.has(track)}
    slices = [each for found in trace.found for each in part.cut(found, kept)]
    return TraceFile(
        tracks=list(kept.values()),
        found=slices,
        arrows=[
            flow._replace(source=kept[flow.source.id], target=kept[flow.target.id])
            for flow in trace.arrows
            if part.covers(flow.source, flow.source_time) and part.covers(flow.target, flow.target_time)
        ],
        values=[
            value
            for value in trace.values
            if start <= value.time < end and any(track.pid == value.pid for track in kept.values())
        ],
        flags=[
            flag._replace(track=kept[flag.track.id])
            for flag in trace.flags
            if part.covers(flag.track, flag.time)
        ],
        metadata=_with_note(trace.metadata, selection),
    )


class _Part:
    """
    What a selection leaves of each track: spans of time, one after the other.
    """

    def __init__(self, trace: TraceFile, selection: Selection) -> None:
        self._start, self._end = selection.span
        self._pattern = selection.track
        self._spans: dict[int, list[Span]] | None = None
        if selection.state is not None:
            self._spans = {}
            for each in trace.found:
                if each.frame.name == selection.state and each.frame.category == "state":
                    self._spans.setdefault(each.track.id, []).append((each.start, each.end))
            for spans in self._spans.values():
                spans.sort()

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
        spans = self._spans.get(each.track.id, [])
        for place in range(max(0, bisect_right(spans, (each.start, _NEVER)) - 1), len(spans)):
            if spans[place][0] >= each.end:
                return
            yield spans[place]

    def covers(self, track: Track, time: int) -> bool:
        if not (self.has(track) and self._start <= time < self._end):
            return False
        if self._spans is None:
            return True
        spans = self._spans.get(track.id, [])
        place = bisect_right(spans, (time, _NEVER)) - 1
        return place >= 0 and time < spans[place][1]


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
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """
    Write an existing trace in another format.

    Args:
        source: what `fgtrace.load` reads.
        dst: a path, written as a trace is.
        format_: one of `FORMATS`; None: by the suffix of the path.
        selection: which part; None: all.
        tracks: whether tasks share tracks: see `fgtrace.Config`.
        progress: called with the slices written and their total, now and then.

    Returns:
        The number of slices.

    Raises:
        ConfigError: there is no such format or ``tracks``, or nothing is in the part that is asked for.
        OSError: the source cannot be read.
        TraceFormatError: it is not a trace that can be read, or its slices overlap.
        SinkError: the destination cannot be written.
    """
    format_ = format_ or format_of(dst)
    if format_ not in FORMATS:
        raise ConfigError("format", format_ or dst, "allowed is " + ", ".join(FORMATS))
    allows, allowed = CHECKS["tracks"]
    if not allows(tracks):
        raise ConfigError("tracks", tracks, allowed)
    selection = selection or Selection()
    trace = select(open_trace(source), selection)
    if not (trace.found or selection.is_whole):
        raise ConfigError("part", selection.words, "nothing of the trace is in it")
    if progress is not None:
        trace = _Told(trace, progress)
    sink = make_sink(dst, format_)
    sink.begin()
    try:
        sink.write(encoder_of(format_, tracks)(trace, trace.metadata))
    except (ValueError, RecursionError, orjson.JSONEncodeError) as error:  # the sink has taken its file away
        raise TraceFormatError(os.fspath(source), str(error)) from error
    return len(trace.found)


class _Told(TraceFile):
    """
    The same trace, which tells how far it was read.
    """

    def __init__(self, trace: TraceFile, progress: Callable[[int, int], None]) -> None:
        super().__init__(trace.tracks, trace.found, trace.arrows, trace.values, trace.flags, trace.metadata)
        self._progress = progress

    def slices(self) -> Iterator[Slice]:
        return self._telling(super().slices(), 1)

    def edges(self) -> Iterator[Edge]:
        return self._telling(super().edges(), 2)

    def _telling(self, each: Iterator[T], parts: int) -> Iterator[T]:
        for number, one in enumerate(each):
            if number % PROGRESS_EVERY == 0:
                self._progress(number // parts, len(self.found))
            yield one
