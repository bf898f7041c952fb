"""
Reads a drawing, once: slices in, lives out.

Slices come by time on each track, as they are or as begins and ends, so all that is kept of a track
meanwhile is what is open on it. A stretch is put down when the next one begins: equal ones that follow each
other are one.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

from fgtrace._model.drawing import BeginEnd, Drawing
from fgtrace._model.states import RUNNING
from fgtrace._model.values import LOCK_HELD, Frame, Slice, Span, Track
from fgtrace.reports._state_history import Flight, Life, Lives, Spot

__all__ = ["FOREVER", "read_lives"]

T = TypeVar("T")

#: From when to when (ns).
FOREVER = 1 << 63
#: What divides a life; a task's frames are drawn within.
_DIVIDING = frozenset(("state", "loop", "callback"))
#: What is there where no track has a state.
_OTHERS = frozenset(("loop", "callback", "gap", "gc"))
#: Stacks of one stretch whose times are told apart.
MOST_STACKS = 1024
PROGRESS_EVERY = 16_384
_NONE = -1
#: What a row is at: nothing; a stretch of which the stack is to be looked at, or was, when the
#: first slice of it ends; one that runs, of which stacks are weighed; one that is over, if it does not go on.
#: The same numbers say what a frame is: a function, or the face of a stretch.
_IDLE, _PYTHON, _SEEN, _ENDED, _WAITS, _RUNS = range(6)


def read_lives(
    drawing: Drawing,
    metadata: Mapping[str, Any],
    span: Span = (0, FOREVER),
    progress: Callable[[int], None] | None = None,
    *,
    in_order: bool = False,
) -> Lives:
    """
    The lives of a drawing.

    Args:
        drawing: a timeline, or a file that was read.
        metadata: that of the trace.
        span: the part that is asked for.
        progress: called with the begins and ends (or slices) taken, now and then.
        in_order: its slices come by start on each track, the outer ones first, as a file's do: then they
            are taken as they are, in two thirds of the time.

    Raises:
        ValueError: slices overlap, or none says a state.
    """
    reader = _LivesReader(span)
    for track in drawing.tracks:
        reader.row(track)
    if in_order:
        reader.take_slices(_told(drawing.slices(), progress))
    else:
        reader.add_begins_and_ends(_told(drawing.begins_and_ends(), progress))
    lives = reader.finish()
    _add_others(lives, drawing, span)
    said = metadata.get("fgtrace")
    said = said if isinstance(said, Mapping) else {}
    lives.is_exact = str(said.get("awaits", "")).startswith("exact")
    lives.tick = _tick(said)
    return lives


def _told(each: Iterable[T], progress: Callable[[int], None] | None) -> Iterable[T]:
    """
    The same, counted now and then, if anybody counts.
    """
    return each if progress is None else _counted(each, progress)


def _counted(each: Iterable[T], progress: Callable[[int], None]) -> Iterator[T]:
    rest = iter(each)
    done = 0
    while some := list(islice(rest, PROGRESS_EVERY)):
        progress(done)
        yield from some
        done += len(some)


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


class _LivesReader:
    """
    All rows, and what they share: frames by number, and spots.
    """

    def __init__(self, span: Span) -> None:
        self.span = span
        self.rows: dict[int, _TrackReader] = {}
        self.spots: list[Spot] = []
        self.frames: list[Frame] = []
        self.roles: list[int] = []
        self.numbers: dict[int, int] = {}  # by id: a frame's hash costs a microsecond
        self._seen: list[Frame] = []  # so that their ids stay theirs
        self._equal: dict[Frame, int] = {}
        self._spots: dict[tuple[int, tuple[int, ...]], int] = {}

    def row(self, track: Track) -> _TrackReader:
        found = self.rows[track.id] = _TrackReader(self, track)
        return found

    def add_begins_and_ends(self, begins_and_ends: Iterable[BeginEnd]) -> None:
        """
        Take all begins and ends.
        """
        row: _TrackReader | None = None
        for track, time, frame in begins_and_ends:
            if row is None or row.track is not track:  # most come track by track
                row = self.rows.get(track.id) or self.row(track)
            if frame is None:
                row.end(time)
            else:
                row.begin(time, frame)

    def take_slices(self, slices: Iterable[Slice]) -> None:
        """
        Take all slices; see `read_lives`.
        """
        row: _TrackReader | None = None
        for track, start, end, _, frame in slices:
            if row is None or row.track is not track:
                row = self.rows.get(track.id) or self.row(track)
            row.slice(start, end, frame)
        for row in self.rows.values():
            row.close()

    def number(self, frame: Frame) -> int:
        """
        The number of a frame that was not seen before; that of an equal one, if there is one.
        """
        found = self._equal.setdefault(frame, len(self.frames))
        if found == len(self.frames):
            self.frames.append(frame)
            self.roles.append(_role(frame))
        self._seen.append(frame)
        self.numbers[id(frame)] = found
        return found

    def spot(self, state: int, stack: tuple[int, ...]) -> int:
        """
        The number of a spot: of a state's frame and the frames that are open, by their numbers.
        """
        found = self._spots.get((state, stack))
        if found is None:
            found = self._spots[state, stack] = len(self.spots)
            chain = tuple(self.frames[each] for each in stack if each != state)
            self.spots.append(Spot(self.frames[state], chain))
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
        categories = {frame.category for frame in self.frames}
        if categories - _OTHERS and "state" not in categories:
            raise ValueError(
                'no slice says a state: it is another tool\'s, or was made with state_frames="no"'
            )
        return found


class _TrackReader:
    """
    A track while it is read: what is open on it, and the stretch under way.
    """

    __slots__ = (
        "_changed", "_ends", "_latest", "_mode", "_reader", "_since", "_spot", "_stack", "_state", "_times",
        "_until", "life", "outer", "track",
    )  # fmt: skip

    def __init__(self, reader: _LivesReader, track: Track) -> None:
        self._reader = reader
        self.track = track
        start, end = max(track.start, reader.span[0]), min(track.end, reader.span[1])
        self.life = Life(track.id, track, track.name, "", start, end)
        self.outer: Frame | None = None
        self._stack: list[int] = []
        self._ends: list[int] = []
        self._latest = 0
        self._mode = _IDLE
        self._state = self._spot = _NONE
        self._since = self._until = self._changed = 0
        self._times: dict[tuple[int, ...], int] = {}

    def slice(self, start: int, end: int, frame: Frame) -> None:
        """
        A whole slice, later than all before, or within one of them.
        """
        ends = self._ends
        while ends and ends[-1] <= start:
            self.end(ends.pop())
        if start < self._latest or (ends and end > ends[-1]):
            raise ValueError(f"{frame.name!r} at {start} ns overlaps another slice of {self.track.name!r}")
        self._latest = start
        ends.append(end)
        self.begin(start, frame)

    def close(self) -> None:
        """
        No slice comes any more.
        """
        while self._ends:
            self.end(self._ends.pop())

    def begin(self, time: int, frame: Frame) -> None:
        """
        A slice begins.
        """
        reader = self._reader
        number = reader.numbers.get(id(frame))
        if number is None:
            number = reader.number(frame)
        role = reader.roles[number]
        if role >= _WAITS:
            if number != self._state or self._until != time:
                self.flush()
                self._state, self._since, self._changed = number, time, time
                self._mode = role
            elif self._mode == _ENDED:
                self._mode = _RUNS if role == _RUNS else _SEEN
        elif self._mode == _RUNS and time > self._changed:
            self._weigh(time)
        if role == _PYTHON and (self.outer is None or (frame.file and not self.outer.file)):
            self.outer = frame
        self._stack.append(number)

    def end(self, time: int) -> None:
        """
        The innermost slice ends.
        """
        mode = self._mode
        if mode == _RUNS:
            if time > self._changed:
                self._weigh(time)
        elif mode == _WAITS:
            self._spot = self._reader.spot(self._state, tuple(self._stack))
            self._mode = _SEEN
        if self._stack.pop() == self._state:
            self._until, self._mode = time, _ENDED

    def _weigh(self, time: int) -> None:
        """
        The stack that was there until now had so much time.
        """
        stack = tuple(self._stack)
        times = self._times
        times[stack] = times.get(stack, 0) + time - self._changed
        self._changed = time
        if len(times) > MOST_STACKS:
            for each in sorted(times, key=times.__getitem__)[: MOST_STACKS // 2]:
                del times[each]

    def flush(self) -> None:
        """
        The stretch is over: put it down, as far as it is asked for.
        """
        if self._mode != _ENDED:
            return
        span = self._reader.span
        start, end = max(self._since, span[0]), min(self._until, span[1])
        if start < end:
            if self._spot == _NONE:
                seen = max(self._times, key=self._times.__getitem__, default=())
                self._spot = self._reader.spot(self._state, seen)
            self.life.add(start, end, self._spot)
        self._mode, self._state, self._spot = _IDLE, _NONE, _NONE
        self._times.clear()


def _role(frame: Frame) -> int:
    """
    What a frame is to a row: a function, what divides its life, or neither.
    """
    if frame.category in _DIVIDING:
        return _RUNS if frame.name == RUNNING else _WAITS
    return _PYTHON if frame.category == "python" else _IDLE


def _coroutine(row: _TrackReader) -> str:
    """
    The outermost function of a task; that of which no more is known than its name is in the track's.
    """
    life = row.life
    if row.track.kind != "task":
        return ""
    own = dict(row.track.args)["task"] if life.serves else life.name
    name, _, last = str(own).rpartition(" ")
    life.name = life.name if life.serves else name or last
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
            lives.queues.setdefault(counter.pid, array("q")).extend((counter.time, round(counter.value)))
    for flag in drawing.instants():
        if flag.name == LOCK_HELD:
            lives.holders[flag.track.id] = str(dict(flag.args).get("by", ""))
