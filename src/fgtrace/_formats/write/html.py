"""
A page to share: the trace and its viewer in one file that needs no network.

The viewer is flame-chart-js (https://github.com/pyatyispyatil/flame-chart-js) with what ties it to a trace,
made of ``src/page`` by ``scripts/viewer-bundle``. The trace is in it as base64 of gzip of records, so that no
name of the program's can be taken for a part of the page:

    u32 kind, u32 size in bytes, payload, zeros up to a multiple of 8 bytes; all little-endian

- 1: JSON, the tracks and the metadata;
- 2: JSON, more frames: [name, category, file, line, args]; they are numbered as they come;
- 3: slices, in columns: f64 starts, f64 durations (ns), u32 tracks, u32 frames, u32 depths.
"""

from __future__ import annotations

import binascii
import struct
import sys
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from itertools import islice
from typing import Any

from fgtrace._formats.write.safe_text import safe_json, safe_name
from fgtrace._model.drawing import Drawing
from fgtrace._model.values import Frame, Slice, Track

__all__ = ["encode"]

#: Slices in a chunk: a millisecond's work.
CHUNK = 1000
#: zlib's: higher ones take twice the time and more for a tenth of the size.
LEVEL = 3

_HEAD, _FRAMES, _SLICES = 1, 2, 3
_PLACE = b"%TRACE%"


def encode(drawing: Drawing, metadata: Mapping[str, Any]) -> Iterator[bytes]:
    """
    Yield a whole file in chunks.

    Args:
        drawing: what to write; the page shows no arrows, counters and instants.
        metadata: goes into the page, which shows when the trace began.
    """
    before, _, after = (
        (files("fgtrace._formats.write") / "_page" / "page.html").read_bytes().partition(_PLACE)
    )
    yield before
    text = _Text()
    yield text.add(
        _json(_HEAD, {"tracks": [_track(track) for track in drawing.tracks], "metadata": metadata})
    )
    columns = _Columns(drawing.tracks)
    slices = drawing.slices()
    while batch := list(islice(slices, CHUNK)):
        yield text.add(columns.records(batch))
    yield text.end() + after


class _Text:
    """
    Encodes bytes as base64 of gzip; what is added comes out as far as it makes whole groups of three.
    """

    def __init__(self) -> None:
        self._packer = zlib.compressobj(LEVEL, zlib.DEFLATED, 31)
        self._rest = b""

    def add(self, data: bytes) -> bytes:
        return self._written(self._packer.compress(data))

    def end(self) -> bytes:
        found = self._written(self._packer.flush())
        return found + binascii.b2a_base64(self._rest, newline=False)

    def _written(self, packed: bytes) -> bytes:
        packed = self._rest + packed
        whole = len(packed) // 3 * 3
        self._rest = packed[whole:]
        return binascii.b2a_base64(packed[:whole], newline=False)


class _Columns:
    """
    Encodes slices as columns, each chunk behind the frames that are new in it.
    """

    def __init__(self, tracks: list[Track]) -> None:
        self._tracks = {track.id: place for place, track in enumerate(tracks)}
        self._frames: dict[int, tuple[int, Frame]] = {}

    def records(self, slices: Iterable[Slice]) -> bytes:
        """
        Return the records of some slices.
        """
        tracks, frames, new = self._tracks, self._frames, []
        starts, durations, numbers = array("d"), array("d"), (array("I"), array("I"), array("I"))
        of_tracks, of_frames, depths = (column.append for column in numbers)
        for track, start, end, depth, frame in slices:
            found = frames.get(id(frame))
            if found is None:
                found = frames[id(frame)] = len(frames), frame  # the frame stays, and so its id
                new.append(_frame(frame))
            starts.append(start)
            durations.append(end - start)
            of_tracks(tracks[track.id])
            of_frames(found[0])
            depths(depth)
        return (_json(_FRAMES, new) if new else b"") + _record(_SLICES, _bytes(starts, durations, *numbers))


def _bytes(*columns: array[float] | array[int]) -> bytes:
    if sys.byteorder == "big":
        for column in columns:
            column.byteswap()
    return b"".join(column.tobytes() for column in columns)


def _record(kind: int, payload: bytes) -> bytes:
    return struct.pack("<II", kind, len(payload)) + payload + bytes(-len(payload) % 8)


def _json(kind: int, value: Any) -> bytes:
    return _record(kind, safe_json(value))


def _frame(frame: Frame) -> list[Any]:
    return [safe_name(frame.name), frame.category, frame.file, frame.line, frame.args]


def _track(track: Track) -> dict[str, Any]:
    return {
        "name": safe_name(track.name),
        "group": track.group,
        "kind": track.kind,
        "level": track.level,
        "start": track.start,
        "end": track.end,
        "args": track.args,
    }
