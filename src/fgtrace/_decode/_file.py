"""
A file that was read: the same words as those that were written.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from fgtrace._edges import Edge, by_tracks
from fgtrace._model import Counter, Flow, Instant, Slice, Track

__all__ = ["BadTrace", "TraceFile", "plain", "with_depths"]

#: A compressed file may not grow beyond this: bytes.
LARGEST = 4 * 1024**3


class BadTrace(ValueError):  # noqa: N818 -- it becomes a `TraceFormatError`
    """
    This is no trace that can be read.

    Args:
        reason: what is wrong.
        pos: where, in bytes from the start of the (unpacked) file; None: not known.
    """

    def __init__(self, reason: str, pos: int | None = None) -> None:
        super().__init__(reason)
        self.pos = pos


@dataclass(slots=True)
class TraceFile:
    """
    What a file holds. It can be written again: it is a `fgtrace._edges.Drawing`.

    Attributes:
        tracks: in display order.
        found: the slices, in the order of the file.
        metadata: as in the file.
    """

    tracks: list[Track] = field(default_factory=list)
    found: list[Slice] = field(default_factory=list)
    arrows: list[Flow] = field(default_factory=list)
    values: list[Counter] = field(default_factory=list)
    flags: list[Instant] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)

    def slices(self) -> Iterator[Slice]:
        return iter(self.found)

    def edges(self) -> Iterator[Edge]:
        return by_tracks(in_order(self.found))

    def flows(self) -> Iterator[Flow]:
        return iter(self.arrows)

    def counters(self) -> Iterator[Counter]:
        return iter(self.values)

    def instants(self) -> Iterator[Instant]:
        return iter(self.flags)


def in_order(slices: Iterable[Slice]) -> list[Slice]:
    """
    The slices track by track, by start, the longest first; of equal ones the first stays the first.
    A track that began earlier comes first.
    """
    return sorted(slices, key=lambda each: (each.track.start, *_place(each)))


def with_depths(slices: list[Slice]) -> list[Slice]:
    """
    The same slices in the same order, each with its depth: how many others it lies in.
    """
    depths: dict[int, int] = {}
    track, stack = -1, list[int]()
    order = sorted(range(len(slices)), key=lambda place: _place(slices[place]))
    for place in order:
        each = slices[place]
        if each.track.id != track:
            track, stack = each.track.id, []
        while stack and stack[-1] <= each.start:
            stack.pop()
        depths[place] = len(stack)
        stack.append(each.end)
    return [each._replace(depth=depths[place]) for place, each in enumerate(slices)]


def _place(each: Slice) -> tuple[int, int, int]:
    return each.track.id, each.start, -each.end


def plain(data: bytes) -> bytes:
    """
    The bytes of a file, unpacked where they are packed.

    Raises:
        BadTrace: the gzip data are broken, or too large.
    """
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        unpacker = zlib.decompressobj(wbits=31)
        found = unpacker.decompress(data, LARGEST)
    except (zlib.error, gzip.BadGzipFile) as error:
        raise BadTrace(f"broken gzip data: {error}") from error
    if not unpacker.eof:
        raise BadTrace("the gzip data ends too early, or holds more than 4 GiB")
    return found
