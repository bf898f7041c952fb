"""
The last seconds of a recording; what is older is folded into what each track was doing then.

The rules of this module
- It has no clock and no thread. Its caller says what time it is, and lets no other thread call it meanwhile.
- No list grows with time. What a recording notes is drained from it, chunk by chunk. When a chunk has left
  the window, only the last row of each track is kept of it, and the tracks that ended in it are forgotten.
  What remains and is never given back are the recording's tables (`Recording.held`): before they are too
  large, another recording takes over (`fgtrace._session.flight_recorder`).
- A chunk is the very array that was filled: if another thread appends a row to it just now, the row is not
  lost.

Theory of operation: rows and steps are numbers, and a question that concerns thousands of them (which track,
did it end) is put to a slice of 32-bit words, without a loop in Python for each. What was folded is rows
again, the last one of each track and some later ones; it is compacted when it has doubled. So a row costs
some 0.3 us, once, and the ring makes no object that the garbage collector counts.
"""

from __future__ import annotations

import sys
from array import array
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from fgtrace._model.values import Collection, Gap, RequestRow
from fgtrace._recording.recording import FORGOTTEN, TRACK_BYTES, Recording
from fgtrace._recording.step_records import CALLBACK

__all__ = ["ROW", "STEP", "Chunk", "LastRows", "Ring", "RowShape", "ended_in"]

_GONE = 0xFFFFFFFF
#: Rows that may wait to be compacted, besides one for each track.
_SLACK = 4096
#: Rows that are read by one call: a call of C holds the GIL until it returns.
_PIECE = 8192
_GAP_BYTES = _COLLECTION_BYTES = 250
_REQUEST_BYTES = 750


class RowShape(NamedTuple):
    """
    Describe a row of 32-bit words: how many there are, and which of them are its track and its stack.
    """

    width: int
    track: int
    stack: int


#: The lower half of a number is its first word, or its last.
_LOW = 0 if sys.byteorder == "little" else 1
ROW = RowShape(8, 2 + _LOW, 4 + _LOW)
STEP = RowShape(10, 6 + _LOW, 8 + _LOW)


class Chunk(NamedTuple):
    """
    Hold what was noted from the end of the chunk before until ``end`` (ns on the recording's clock); ``size``
    is in bytes.
    """

    end: int
    rows: array[int]
    steps: array[int]
    counters: array[int]
    gaps: list[Gap]
    collections: list[Collection]
    requests: list[RequestRow]
    size: int


class LastRows:
    """
    Keep the last row of each track, of rows of one shape.

    Args:
        shape: the shape of the rows.
        rows: rows to begin with.

    Attributes:
        rows: the last row of each track, among earlier ones that were not compacted yet.
    """

    def __init__(self, shape: RowShape, rows: array[int] | None = None) -> None:
        self.shape = shape
        self.rows = array("q") if rows is None else rows
        self._least = 0

    def add(self, rows: array[int], is_known: Callable[[int], bool]) -> list[int]:
        """
        Append later rows, and return the tracks that ended in them.

        Args:
            rows: the rows.
            is_known: whether something may still be read of a track; rows of others are dropped.
        """
        ended = ended_in(rows, self.shape)
        self.rows.extend(rows)
        if len(self.rows) * 2 // self.shape.width > 2 * self._least + _SLACK:
            self._compact(is_known)
        return ended

    def last(self) -> dict[int, int]:
        """
        Return the last row of each track: track -> the index in `rows` at which it begins.
        """
        step = self.shape.width // 2
        tracks = _as_words(self.rows)[self.shape.track :: self.shape.width]
        places = range(0, len(tracks) * step, step)
        found: dict[int, int] = {}
        for start in range(0, len(tracks), _PIECE):
            piece = slice(start, start + _PIECE)
            found.update(zip(tracks[piece], places[piece], strict=True))
        return found

    def _compact(self, is_known: Callable[[int], bool]) -> None:
        step, rows, kept = self.shape.width // 2, self.rows, array("q")
        for track, place in self.last().items():
            if track < CALLBACK and is_known(track):
                kept.extend(rows[place : place + step])
        self.rows, self._least = kept, len(kept) // step


def ended_in(rows: array[int], shape: RowShape) -> list[int]:
    """
    Return the tracks that end in these rows.
    """
    found = _as_words(rows)
    tracks, stacks = found[shape.track :: shape.width], found[shape.stack :: shape.width]
    return [track for track, stack in zip(tracks, stacks, strict=True) if stack == _GONE and track < CALLBACK]


def _as_words(rows: array[int]) -> array[int]:
    """
    Return numbers of 64 bits as words of 32 bits, two for each.
    """
    found = array("I")
    found.frombytes(rows.tobytes())
    return found


class Ring:
    """
    Keep what a recording noted of late, in chunks.

    Args:
        recording: the recording that is filled meanwhile; all that it notes is drained from it.
        length: ns that are to be kept.

    Attributes:
        start: from when on everything is kept, ns on the recording's clock.
        end: until when.
        chunks: what was noted between the two.
        rows: the last observation of each track before ``start``. steps: the same of steps. counters: loop ->
            length of its ready queue.
    """

    def __init__(self, recording: Recording, length: int) -> None:
        self.recording = recording
        self.start = self.end = 0
        self.chunks: deque[Chunk] = deque()
        self.rows, self.steps = LastRows(ROW), LastRows(STEP)
        self.counters: dict[int, int] = {}
        self._length = length
        self._size = 0

    @property
    def memory(self) -> int:
        """
        Bytes of all of it, with the recording's tables.
        """
        past = (len(self.rows.rows) + len(self.steps.rows)) * 8
        living = len(self.recording.tracks) - self.recording.forgotten
        return self._size + past + living * TRACK_BYTES + self.recording.held

    def roll(self, now: int, budget: int) -> None:
        """
        Drain the recording, and fold the chunks that are older than the window or do not fit.

        Args:
            now: the time, ns on the recording's clock.
            budget: the bytes that it may take, see `memory`.
        """
        self.drain(now)
        while len(self.chunks) > 1 and (self.chunks[0].end <= now - self._length or self.memory > budget):
            self._fold(self.chunks.popleft())

    def drain(self, now: int) -> None:
        """
        Move what the recording has noted into a new chunk.

        Args:
            now: the time, ns on the recording's clock.
        """
        recording = self.recording
        recording.fetch()
        rows, recording.rows = recording.rows, array("q")
        steps, recording.steps = recording.steps, array("q")
        counters, recording.counters = recording.counters, array("q")
        gaps, recording.gaps = recording.gaps, []
        collections, recording.collections = recording.collections, []
        requests, recording.requests = recording.requests, []
        size = (len(rows) + len(steps) + len(counters)) * 8
        size += len(gaps) * _GAP_BYTES + len(collections) * _COLLECTION_BYTES
        size += len(requests) * _REQUEST_BYTES
        ends = [each[-1].end for each in (gaps, collections) if each] + [row[2] for row in requests[-1:]]
        now = max(
            [now, *rows[-4:-3], *steps[-4:-3], *counters[-3:-2], *ends]
        )  # some may have been noted after `now` was read
        self.chunks.append(Chunk(now, rows, steps, counters, gaps, collections, requests, size))
        self._size += size
        self.end = now

    def _fold(self, chunk: Chunk) -> None:
        tracks = self.recording.tracks

        def is_known(track: int) -> bool:
            return tracks[track] is not FORGOTTEN and not 0 <= tracks[track].end <= chunk.end

        ended = self.rows.add(chunk.rows, is_known) + self.steps.add(chunk.steps, is_known)
        self.recording.forget([track for track in ended if not is_known(track)])
        self.counters.update(zip(chunk.counters[1::3], chunk.counters[2::3], strict=True))
        self._size -= chunk.size
        self.start = chunk.end
