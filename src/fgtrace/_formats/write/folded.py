"""
Collapsed stacks: a line for each stack, its frames from the outermost on and its own time in nanoseconds.

    thread MainThread;sleep;__main__.main;time.sleep 1000000000

Source: Brendan Gregg's FlameGraph (https://github.com/brendangregg/FlameGraph, ``stackcollapse``), which
flamegraph.pl, inferno and speedscope read. Tasks that asyncio named (``Task-12 handler``) count together,
by their coroutine (``task handler``); a name that the program gave stays. The track of gaps is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from fgtrace._formats.write.safe_text import safe_name
from fgtrace._formats.write.stacks import Stacks, StackTime
from fgtrace._model.drawing import Drawing
from fgtrace._model.values import Frame, Track

__all__ = ["encode"]

_NAMED_BY_ASYNCIO = re.compile(r"^Task-\d+ ")
#: Lines in a chunk.
CHUNK = 500


def encode(drawing: Drawing, _metadata: Mapping[str, Any]) -> Iterator[bytes]:
    """
    Yield a whole file in chunks, which are empty while times are added up.

    Args:
        drawing: what to write.
        _metadata: the format has no field for it.
    """
    stacks = Stacks(_root, _frame_key)
    yield from stacks.add_all(drawing.begins_and_ends())
    lines = map(_line, stacks.times())
    while batch := list(islice(lines, CHUNK)):
        yield "".join(batch).encode("utf-8", "replace")


def _line(stack: StackTime[str, str]) -> str:
    return f"{';'.join((stack.root, *stack.frames))} {stack.time}\n"


def _frame_key(frame: Frame) -> str:
    return safe_name(frame.name).replace(";", ":")


def _root(track: Track) -> str | None:
    if track.kind == "tracer":
        return None
    name = _NAMED_BY_ASYNCIO.sub("", track.name) if track.kind == "task" else track.name
    return safe_name(f"{track.kind} {name}").replace(";", ":")
