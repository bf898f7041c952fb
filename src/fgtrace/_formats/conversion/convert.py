"""
Converts an existing trace into another format, whole or a part of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import TypeVar

import orjson

from fgtrace._formats.conversion.selection import Selection, select
from fgtrace._formats.destination import make_sink
from fgtrace._formats.read import open_trace
from fgtrace._formats.write import encoder_of
from fgtrace._model.drawing import BeginEnd, Drawing
from fgtrace._model.values import Slice
from fgtrace._options.options import CHECKS, FORMATS, format_of
from fgtrace.errors import ConfigError, TraceFormatError

__all__ = ["convert"]

T = TypeVar("T")

#: Slices, or begins and ends, between two reports of progress.
PROGRESS_EVERY = 4096


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
    Write an existing trace in another format, whole or a part of it.

    Args:
        source: what `fgtrace.load` reads.
        dst: a path, written as a trace is.
        format_: one of `FORMATS`; None: by the suffix of the path.
        selection: which part; None: all.
        tracks: whether tasks share tracks: see `fgtrace.Config`.
        progress: called now and then: with ``reading``, the bytes that were read and their total; then with
            ``writing``, the slices that were written and how many the source has.

    Returns:
        The number of slices.

    Raises:
        ConfigError: there is no such format or ``tracks``, or nothing is in the selected part.
        OSError: the source cannot be read.
        TraceFormatError: it is not a trace that can be read, or its slices overlap.
        SinkError: the destination cannot be written.
    """
    format_ = _format(dst, format_, tracks)
    selection, progress = selection or Selection(), progress or _ignore
    with open_trace(source, partial(progress, "reading")) as whole:
        trace = select(whole, selection)
        if not selection.is_whole and next(trace.slices(), None) is None:
            raise ConfigError("part", selection.text, "nothing of the trace is in it")
        drawing = _CountedDrawing(trace, partial(progress, "writing"), whole.count)
        sink = make_sink(dst, format_)
        sink.begin()  # `write` raises its error, if the obstacle stays
        try:
            sink.write(encoder_of(format_, tracks)(drawing, trace.metadata))
        # the sink has deleted its file
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


def _ignore(_what: str, _done: int, _total: int) -> None:
    """
    Do nothing: nobody wants progress.
    """


class _CountedDrawing:
    """
    A drawing that counts its slices, and reports how far it was read.

    Attributes:
        count: the slices that were read until now.
    """

    def __init__(self, drawing: Drawing, progress: Callable[[int, int], None], total: int) -> None:
        self.count = 0
        self.tracks, self.identical_tasks = drawing.tracks, drawing.identical_tasks
        self.flows, self.counters, self.instants = drawing.flows, drawing.counters, drawing.instants
        self._drawing = drawing
        self._progress = progress
        self._total = total

    def slices(self) -> Iterator[Slice]:
        return self._counting(self._drawing.slices(), 1)

    def begins_and_ends(self) -> Iterator[BeginEnd]:
        return self._counting(self._drawing.begins_and_ends(), 2)

    def _counting(self, each: Iterator[T], parts: int) -> Iterator[T]:
        number = 0
        while chunk := list(islice(each, PROGRESS_EVERY)):
            yield from chunk
            number += len(chunk)
            self.count = number // parts
            self._progress(self.count, self._total)
