"""
Reads a drawing, once: slices in, lives out.

Slices come as edges, by time on each track, so all that is kept of a track meanwhile is what is open
on it. A stretch is put down when the next one begins: equal ones that follow each other are one.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from typing import Any

from fgtrace._edges import Drawing
from fgtrace._model import LOCK_HELD, Frame, Track
from fgtrace._states import RUNNING
from fgtrace.reports._lives import Flight, Life, Lives, Spot

__all__ = ["FOREVER", "Span", "read"]

#: From when to when (ns).
Span = tuple[int, int]
FOREVER = 1 << 63
#: What divides a life; a task's frames are drawn within.
_DIVIDING = frozenset(("state", "loop", "callback"))
#: What is there where no track has a state.
_OTHERS = frozenset(("loop", "callback", "gap", "gc"))
#: Stacks of one stretch whose times are told apart.
MOST_STACKS = 1024
PROGRESS_EVERY = 16_384
_NO_SPOT = -1


def read(
    drawing: Drawing,
    metadata: Mapping[str, Any],
    span: Span = (0, FOREVER),
    progress: Callable[[int], None] | None = None,
) -> Lives:
    """
    The lives of a drawing.

    Args:
        drawing: a timeline, or a file that was read.
        metadata: that of the trace.
        span: the part that is asked for.
        progress: called with the edges read, now and then.

    Raises:
        ValueError: slices overlap, or none says a state.
    """
    reader = _Reader(span)
    for track in drawing.tracks:
        reader.row(track)
    for number, (track, time, frame) in enumerate(drawing.edges()):
        row = reader.rows.get(track.id) or reader.row(track)
        if frame is None:
            row.end(time)
        else:
            row.begin(time, frame)
        if progress is not None and number % PROGRESS_EVERY == 0:
            progress(number)
    lives = reader.finish()
    _add_others(lives, drawing, span)
    said = metadata.get("fgtrace")
    said = said if isinstance(said, Mapping) else {}
    lives.is_exact = str(said.get("awaits", "")).startswith("exact")
    lives.tick = _tick(said)
    return lives


def _tick(said: Mapping[str, Any]) -> int:
    """
    The time between two looks as it really was, ns.
    """
    stats, config = said.get("stats"), said.get("config")
    for each in (stats, config):
        hz = each.get("hz") if isinstance(each, Mapping) else None
        if isinstance(hz, (int, float)) and hz > 0:
            return round(1e9 / hz)
    return 0


class _Reader:
    """
    All rows, and the spots that they share.
    """

    def __init__(self, span: Span) -> None:
        self.span = span
        self.rows: dict[int, _Row] = {}
        self.spots: list[Spot] = []
        self._frames: list[Frame] = []
        self._by_id: dict[int, int] = {}
        self._numbers: dict[tuple[int, tuple[int, ...]], int] = {}

    def row(self, track: Track) -> _Row:
        found = self.rows[track.id] = _Row(self, track)
        return found

    def number(self, frame: Frame) -> int:
        """
        A frame's number. It is kept, and so is its id.
        """
        found = self._by_id[id(frame)] = len(self._frames)
        self._frames.append(frame)
        return found

    @property
    def numbers(self) -> dict[int, int]:
        """
        ``id(frame)`` -> number, of those that are known.
        """
        return self._by_id

    def spot(self, state: Frame, stack: tuple[int, ...]) -> int:
        """
        The number of a spot.
        """
        number = self._by_id[id(state)]
        found = self._numbers.get((number, stack))
        if found is None:
            found = self._numbers[number, stack] = len(self.spots)
            chain = tuple(self._frames[each] for each in stack if each != number)
            self.spots.append(Spot(state, chain))
        return found

    def finish(self) -> Lives:
        """
        The lives of all rows that reach into the span.
        """
        found = Lives(spots=self.spots)
        for number, row in self.rows.items():
            row.flush()
            if row.life.start < row.life.end or row.track.start == row.track.end:
                row.life.coroutine = _coroutine(row)
                found.by_id[number] = row.life
        start, end = self.span
        found.start = start
        found.end = min(end, max((row.track.end for row in self.rows.values()), default=start))
        categories = {frame.category for frame in self._frames}
        if categories - _OTHERS and "state" not in categories:
            raise ValueError(
                'no slice says a state: it is another tool\'s, or was made with state_frames="no"'
            )
        return found


class _Row:
    """
    A track while it is read: what is open on it, and the stretch under way.
    """

    __slots__ = (
        "_changed", "_numbers", "_reader", "_since", "_span", "_spot", "_stack", "_state", "_times", "_until",
        "life", "outer", "track",
    )  # fmt: skip

    def __init__(self, reader: _Reader, track: Track) -> None:
        self._reader, self._numbers, self._span = reader, reader.numbers, reader.span
        self.track = track
        start, end = max(track.start, self._span[0]), min(track.end, self._span[1])
        self.life = Life(track.id, track, track.name, "", start, end)
        self.outer: Frame | None = None
        self._stack: list[int] = []
        self._state: Frame | None = None
        self._spot = _NO_SPOT
        self._since = self._until = self._changed = 0
        self._times: dict[tuple[int, ...], int] = {}

    def begin(self, time: int, frame: Frame) -> None:
        """
        A slice begins.
        """
        number = self._numbers.get(id(frame))
        if number is None:
            number = self._reader.number(frame)
        if frame.category in _DIVIDING:
            if frame is not self._state or self._until != time:
                self.flush()
                self._state, self._since, self._changed = frame, time, time
            self._until = -1
        elif self._state is not None and self._state.name == RUNNING:
            self._weigh(time)
        if frame.category == "python" and (self.outer is None or (frame.file and not self.outer.file)):
            self.outer = frame
        self._stack.append(number)

    def end(self, time: int) -> None:
        """
        The innermost slice ends.
        """
        state = self._state
        if state is not None and self._until < 0:
            if state.name == RUNNING:
                self._weigh(time)
            elif self._spot == _NO_SPOT:
                self._spot = self._reader.spot(state, tuple(self._stack))
        number = self._stack.pop()
        if state is not None and number == self._numbers[id(state)]:
            self._until = time

    def _weigh(self, time: int) -> None:
        """
        The stack that was there until now had so much time.
        """
        if time > self._changed:
            stack = tuple(self._stack)
            times = self._times
            times[stack] = times.get(stack, 0) + time - self._changed
            if len(times) > MOST_STACKS:
                for each in sorted(times, key=times.__getitem__)[: MOST_STACKS // 2]:
                    del times[each]
        self._changed = time

    def flush(self) -> None:
        """
        The stretch is over: put it down, as far as it is asked for.
        """
        state, self._state = self._state, None
        if state is None:
            return
        start, end = max(self._since, self._span[0]), min(self._until, self._span[1])
        if start < end:
            if self._spot == _NO_SPOT:
                seen = max(self._times, key=self._times.__getitem__, default=())
                self._spot = self._reader.spot(state, seen)
            self.life.add(start, end, self._spot)
        self._spot = _NO_SPOT
        self._times.clear()


def _coroutine(row: _Row) -> str:
    """
    The outermost function of a task; that of which no more is known than its name is in the track's.
    """
    life = row.life
    if row.track.kind != "task":
        return ""
    name, _, last = life.name.rpartition(" ")
    life.name = name or last
    return row.outer.name if row.outer is not None else last


def _add_others(lives: Lives, drawing: Drawing, span: Span) -> None:
    """
    Arrows, counters and flags. They are asked for after the slices.
    """
    first, last = span
    for flow in drawing.flows():
        if first <= flow.target_time < last and flow.name == "wakes":
            lives.wakes.append(
                Flight(flow.name, flow.source.id, flow.source_time, flow.target.id, flow.target_time)
            )
    for counter in drawing.counters():
        if first <= counter.time < last and counter.name == "ready queue":
            lives.queues.setdefault(counter.pid, array("q")).extend((counter.time, counter.value))
    for flag in drawing.instants():
        if flag.name == LOCK_HELD:
            lives.holders[flag.track.id] = str(dict(flag.args).get("by", ""))
