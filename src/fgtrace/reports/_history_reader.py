"""
Reads slices once, and makes the state history of them.

The slices of a track come by time, whole or as begins and ends, so the reader keeps only what is open on each
track. It stores an interval when the next one begins, for equal ones that follow each other are one.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

from fgtrace._model.drawing import BeginEnd, Drawing
from fgtrace._model.states import RUNNING
from fgtrace._model.values import LOCK_HELD, Frame, Slice, Span, Track
from fgtrace.reports._state_history import StateHistory, StateStack, TrackHistory, Wakeup

__all__ = ["FOREVER", "read_histories"]

T = TypeVar("T")

#: The end of a span without an end, ns.
FOREVER = 1 << 63
#: The categories of the slices that divide a history into intervals; a task's frames are drawn within them.
_DIVIDING = frozenset(("state", "loop", "callback"))
#: The categories of a trace without states.
_OTHERS = frozenset(("loop", "callback", "gap", "gc"))
#: The greatest number of stacks of one interval whose times are added up.
MOST_STACKS = 1024
PROGRESS_EVERY = 16_384
_NONE = -1
#: The modes of a reader: no interval is open; (a function;) the open interval has its stack; it has ended,
#: unless it goes on at once; it waits, and gets its stack when its first slice ends; it runs, and the time of
#: each of its stacks is added up. The same numbers say what a frame is: neither, a function, or the begin of
#: an interval.
_IDLE, _PYTHON, _SEEN, _ENDED, _WAITS, _RUNS = range(6)


def read_histories(
    drawing: Drawing,
    metadata: Mapping[str, Any],
    span: Span = (0, FOREVER),
    progress: Callable[[int], None] | None = None,
    *,
    in_order: bool = False,
) -> StateHistory:
    """
    Return the state history of a drawing.

    Args:
        drawing: a timeline, or a file that was read.
        metadata: of the trace.
        span: the part that is requested.
        progress: called now and then with the number of begins and ends (or slices) that were read.
        in_order: whether the slices of each track come by start, the outer ones first, as a file's do. They
            are then read whole, in two thirds of the time.

    Raises:
        ValueError: slices overlap, or no slice is a state.
    """
    reader = _HistoryReader(span)
    for track in drawing.tracks:
        reader.add_track(track)
    if in_order:
        reader.add_slices(_counting(drawing.slices(), progress))
    else:
        reader.add_begins_and_ends(_counting(drawing.begins_and_ends(), progress))
    histories = reader.finish()
    _add_others(histories, drawing, span)
    own = metadata.get("fgtrace")
    own = own if isinstance(own, Mapping) else {}
    histories.is_exact = str(own.get("awaits", "")).startswith("exact")
    histories.tick = _tick(own)
    return histories


def _counting(each: Iterable[T], progress: Callable[[int], None] | None) -> Iterable[T]:
    """
    Return the same values, and report their count now and then if there is a `progress`.
    """
    return each if progress is None else _counted(each, progress)


def _counted(each: Iterable[T], progress: Callable[[int], None]) -> Iterator[T]:
    rest = iter(each)
    done = 0
    while some := list(islice(rest, PROGRESS_EVERY)):
        progress(done)
        yield from some
        done += len(some)


def _tick(own: Mapping[str, Any]) -> int:
    """
    Return the true time between two samples, ns; without statistics the one that was requested.
    """
    stats, config = own.get("stats"), own.get("config")
    for each in (stats, config):
        hz = each.get("hz") if isinstance(each, Mapping) else None
        if isinstance(hz, (int, float)) and hz > 0:
            return round(1e9 / hz)
    return 0


class _HistoryReader:
    """
    The readers of all tracks, and what they share: frames and stacks by number.
    """

    def __init__(self, span: Span) -> None:
        self.span = span
        self.readers: dict[int, _TrackReader] = {}
        self.stacks: list[StateStack] = []
        self.frames: list[Frame] = []
        self.roles: list[int] = []
        self.numbers: dict[int, int] = {}  # by the frame's id, for its hash costs a microsecond
        self._seen: list[Frame] = []  # keeps them alive, so that no id comes again
        self._equal: dict[Frame, int] = {}
        self._stacks: dict[tuple[int, tuple[int, ...]], int] = {}

    def add_track(self, track: Track) -> _TrackReader:
        found = self.readers[track.id] = _TrackReader(self, track)
        return found

    def add_begins_and_ends(self, begins_and_ends: Iterable[BeginEnd]) -> None:
        """
        Read all begins and ends.
        """
        reader: _TrackReader | None = None
        for track, time, frame in begins_and_ends:
            if reader is None or reader.track is not track:  # most of them come track by track
                reader = self.readers.get(track.id) or self.add_track(track)
            if frame is None:
                reader.end(time)
            else:
                reader.begin(time, frame)

    def add_slices(self, slices: Iterable[Slice]) -> None:
        """
        Read all slices; see `read_histories`.
        """
        reader: _TrackReader | None = None
        for track, start, end, _, frame in slices:
            if reader is None or reader.track is not track:
                reader = self.readers.get(track.id) or self.add_track(track)
            reader.slice(start, end, frame)
        for reader in self.readers.values():
            reader.close()

    def number(self, frame: Frame) -> int:
        """
        Return the number of a frame that is new, or of an equal one, if there is one.
        """
        found = self._equal.setdefault(frame, len(self.frames))
        if found == len(self.frames):
            self.frames.append(frame)
            self.roles.append(_role(frame))
        self._seen.append(frame)
        self.numbers[id(frame)] = found
        return found

    def stack_of(self, state: int, frames: tuple[int, ...]) -> int:
        """
        Return the number of a stack, by the numbers of a state's frame and of the open frames.
        """
        found = self._stacks.get((state, frames))
        if found is None:
            found = self._stacks[state, frames] = len(self.stacks)
            chain = tuple(self.frames[each] for each in frames if each != state)
            self.stacks.append(StateStack(self.frames[state], chain))
        return found

    def finish(self) -> StateHistory:
        """
        Return the histories of all tracks that overlap with the span.
        """
        found = StateHistory(stacks=self.stacks)
        for number, reader in self.readers.items():
            reader.flush()
            if reader.history.start < reader.history.end or reader.track.start == reader.track.end:
                reader.history.coroutine = _coroutine(reader)
                found.by_id[number] = reader.history
        start, end = self.span
        found.start = start
        found.end = min(end, max((reader.track.end for reader in self.readers.values()), default=start))
        categories = {frame.category for frame in self.frames}
        if categories - _OTHERS and "state" not in categories:
            raise ValueError(
                'the trace has no states: it is another tool\'s, or was made with state_frames="no"'
            )
        return found


class _TrackReader:
    """
    Reads one track: the slices that are open on it, and the open interval.
    """

    __slots__ = (
        "_changed", "_ends", "_latest", "_mode", "_open", "_reader", "_since", "_stack", "_state", "_times",
        "_until", "history", "outer", "track",
    )  # fmt: skip

    def __init__(self, reader: _HistoryReader, track: Track) -> None:
        self._reader = reader
        self.track = track
        start, end = max(track.start, reader.span[0]), min(track.end, reader.span[1])
        self.history = TrackHistory(track.id, track, track.name, "", start, end)
        self.outer: Frame | None = None
        self._open: list[int] = []
        self._ends: list[int] = []
        self._latest = 0
        self._mode = _IDLE
        self._state = self._stack = _NONE
        self._since = self._until = self._changed = 0
        self._times: dict[tuple[int, ...], int] = {}

    def slice(self, start: int, end: int, frame: Frame) -> None:
        """
        Read a whole slice, which begins after all others, or within one of them.
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
        End the slices that are still open.
        """
        while self._ends:
            self.end(self._ends.pop())

    def begin(self, time: int, frame: Frame) -> None:
        """
        Read the begin of a slice.
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
            self._add_time(time)
        if role == _PYTHON and (self.outer is None or (frame.file and not self.outer.file)):
            self.outer = frame
        self._open.append(number)

    def end(self, time: int) -> None:
        """
        Read the end of the innermost slice.
        """
        mode = self._mode
        if mode == _RUNS:
            if time > self._changed:
                self._add_time(time)
        elif mode == _WAITS:
            self._stack = self._reader.stack_of(self._state, tuple(self._open))
            self._mode = _SEEN
        if self._open.pop() == self._state:
            self._until, self._mode = time, _ENDED

    def _add_time(self, time: int) -> None:
        """
        Add the time until now to the stack that was open.
        """
        frames = tuple(self._open)
        times = self._times
        times[frames] = times.get(frames, 0) + time - self._changed
        self._changed = time
        if len(times) > MOST_STACKS:
            for each in sorted(times, key=times.__getitem__)[: MOST_STACKS // 2]:
                del times[each]

    def flush(self) -> None:
        """
        Store the interval that has ended, as far as it lies in the span.
        """
        if self._mode != _ENDED:
            return
        span = self._reader.span
        start, end = max(self._since, span[0]), min(self._until, span[1])
        if start < end:
            if self._stack == _NONE:
                seen = max(self._times, key=self._times.__getitem__, default=())
                self._stack = self._reader.stack_of(self._state, seen)
            self.history.add(start, end, self._stack)
        self._mode, self._state, self._stack = _IDLE, _NONE, _NONE
        self._times.clear()


def _role(frame: Frame) -> int:
    """
    Return what a frame is to a reader: a function, the begin of an interval, or neither.
    """
    if frame.category in _DIVIDING:
        return _RUNS if frame.name == RUNNING else _WAITS
    return _PYTHON if frame.category == "python" else _IDLE


def _coroutine(reader: _TrackReader) -> str:
    """
    Return the outermost function of a task, or without any the coroutine in the track's name.
    """
    history = reader.history
    if reader.track.kind != "task":
        return ""
    own = dict(reader.track.args)["task"] if history.serves else history.name
    name, _, last = str(own).rpartition(" ")
    history.name = history.name if history.serves else name or last
    return reader.outer.name if reader.outer is not None else last


def _add_others(histories: StateHistory, drawing: Drawing, span: Span) -> None:
    """
    Add the arrows, counters and flags, which a drawing yields after its slices.
    """
    first, last = span
    for flow in drawing.flows():
        if first <= flow.target_time < last and flow.name == "wakes":
            histories.wakeups.append(
                Wakeup(flow.name, flow.source.id, flow.source_time, flow.target.id, flow.target_time)
            )
    for counter in drawing.counters():
        if first <= counter.time < last and counter.name == "ready queue":
            histories.queues.setdefault(counter.pid, array("q")).extend((counter.time, round(counter.value)))
    for flag in drawing.instants():
        if flag.name == LOCK_HELD:
            histories.holders[flag.track.id] = str(dict(flag.args).get("by", ""))
