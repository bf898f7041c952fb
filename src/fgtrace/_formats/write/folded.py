"""
Collapsed stacks: a line for each stack, its frames from the outermost on and its own time in nanoseconds.

    thread MainThread;sleep;__main__.main;time.sleep 1000000000

Source: Brendan Gregg's FlameGraph (https://github.com/brendangregg/FlameGraph, ``stackcollapse``), which
flamegraph.pl, inferno and speedscope read. Tasks that asyncio named (``Task-12 handler``) count together,
by their coroutine (``task handler``); a name that the program gave stays. Time in which no tick was
taken is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from fgtrace._formats.write.stacks import Stacks, StackTime
from fgtrace._formats.write.trace_event import clean
from fgtrace._model.drawing import Drawing
from fgtrace._model.values import Frame, Track

__all__ = ["encode"]

_NAMED_BY_ASYNCIO = re.compile(r"Task-\d+ ")
#: Lines in a piece.
CHUNK = 500


def encode(drawing: Drawing, _metadata: Mapping[str, Any]) -> Iterator[bytes]:
    """
    A whole file, piece by piece. While times are added up the pieces are empty.

    Args:
        drawing: what to write.
        _metadata: there is no place for it.
    """
    stacks = Stacks(_root, _face)
    yield from stacks.add_all(drawing.begins_and_ends())
    lines = map(_line, stacks.rows())
    while batch := list(islice(lines, CHUNK)):
        yield "".join(batch).encode("utf-8", "replace")


def _line(row: StackTime[str, str]) -> str:
    return f"{';'.join((row.root, *row.frames))} {row.time}\n"


def _face(frame: Frame) -> str:
    return clean(frame.name).replace(";", ":")


def _root(track: Track) -> str | None:
    if track.kind == "tracer":
        return None
    name = _NAMED_BY_ASYNCIO.sub("", track.name) if track.kind == "task" else track.name
    return clean(f"{track.kind} {name}").replace(";", ":")
