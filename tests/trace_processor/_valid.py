"""
What makes a trace valid: it was read without a loss, and its slices can be drawn as they stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import NamedTuple

from ._processor import TraceProcessor

__all__ = ["Lives", "SliceRow", "assert_valid_trace", "faults"]

#: (pid, tid) -> (start, end) of a track, in ns on the trace's clock.
Lives = Mapping[tuple[int, int], tuple[int, int]]

_MOST_SHOWN = 10

_SLICES = """
    select slice.track_id, slice.ts, slice.dur, slice.depth, slice.name, process.pid, thread.tid
    from slice
    left join thread_track on thread_track.id = slice.track_id
    left join thread using (utid)
    left join process using (upid)
    order by slice.track_id, slice.ts, slice.depth
"""


class SliceRow(NamedTuple):
    """
    A slice as Perfetto holds it; pid and tid are None for one that is not on a thread's track.
    """

    track_id: int
    ts: int
    dur: int
    depth: int
    name: str
    pid: int | None
    tid: int | None

    @property
    def end(self) -> int:
        """
        The first nanosecond after it.
        """
        return self.ts + self.dur

    def __str__(self) -> str:
        return (
            f"{self.name!r} at {self.ts}+{self.dur} ns, depth {self.depth} (pid {self.pid}, tid {self.tid})"
        )


def assert_valid_trace(tp: TraceProcessor, *, lives: Lives | None = None, empty: bool = False) -> None:
    """
    Assert that Perfetto read a trace without a loss and that its slices are sound.

    Args:
        tp: the trace.
        lives: from when to when each track lived; every slice must lie within, and on one of them.
        empty: a trace without slices is fine. Otherwise it is a fault, for a file that Perfetto
            could make nothing of shows no other sign.

    Raises:
        AssertionError: with the first faults, a line each.
    """
    found = list(faults(tp, lives=lives, empty=empty))
    if found:
        shown = found[:_MOST_SHOWN]
        if len(found) > len(shown):
            shown.append(f"... and {len(found) - len(shown)} more")
        raise AssertionError("not a valid trace:\n" + "\n".join(f"  {line}" for line in shown))


def faults(tp: TraceProcessor, *, lives: Lives | None = None, empty: bool = False) -> Iterator[str]:
    """
    Everything that is wrong with a trace, as sentences; see `assert_valid_trace`.
    """
    for error in tp.errors():
        yield f"Perfetto counted {error['value']} x {error['name']} ({error['severity']})"
    slices = [SliceRow(**row) for row in tp.rows(_SLICES)]
    if not (slices or empty):
        yield "there is not one slice"
    for _, track in groupby(slices, key=lambda row: row.track_id):
        yield from _track_faults(track)
    if lives is not None:
        yield from _life_faults(slices, lives)


def _track_faults(track: Iterable[SliceRow]) -> Iterator[str]:
    """
    Faults among the slices of one track, which come by start and then outermost first.
    """
    still_open: list[SliceRow] = []
    for row in track:
        if row.dur < 0:
            yield f"{row} has no end"
            continue
        while still_open and still_open[-1].end <= row.ts:
            still_open.pop()
        if still_open and row.end > still_open[-1].end:
            yield f"{row} ends after {still_open[-1]}, in which it began"
        if row.depth != len(still_open):
            yield f"{row} lies within {len(still_open)} others"
        still_open.append(row)


def _life_faults(slices: Iterable[SliceRow], lives: Lives) -> Iterator[str]:
    for row in slices:
        if row.pid is None or row.tid is None:
            yield f"{row} is not on the track of a thread or task"
        elif (row.pid, row.tid) not in lives:
            yield f"{row} is on a track without a known life"
        else:
            start, end = lives[row.pid, row.tid]
            if row.ts < start or row.end > end:
                yield f"{row} is not within the life of its track, {start} to {end} ns"
