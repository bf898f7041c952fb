"""
Every thread: its frames, and whether its CPU clock moved.

The CPU clock tells a thread that works from one that waits, whatever its frames say. Its id is computed from
the thread's native id (Linux: ``~tid << 3 | 6``, the kernel's encoding of "this thread, scheduler time").
``pthread_getcpuclockid`` would read the memory of a thread that may have ended by then, while the kernel
answers a stale id with an error.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Container
from types import FrameType

from fgtrace._model.values import Cpu, ThreadSample
from fgtrace._recording.recording import GONE, Recording, TrackEntry
from fgtrace._sampling.collect.await_chain import Walker

__all__ = ["THREAD_SAMPLES", "ThreadCollector", "cpu_clock"]

#: Shares of the time between two ticks. A CPU clock that moved by less than `STILL` counts as still; a
#: clock that moved by `BUSY` or more, as busy.
STILL = 0.02
BUSY = 0.9

_CPU: tuple[Cpu, ...] = ("unknown", "busy", "some", "still", "starved")
UNKNOWN, RAN, SOME, STOOD_STILL, STARVED = range(5)
THREAD_SAMPLES = tuple(ThreadSample(cpu) for cpu in _CPU)
ENDED, TOO_SOON, FROZEN = -1, -2, -3

#: A thread that waits for the GIL wakes at each switch interval to ask for it, which takes it some
#: microseconds. A thread whose clock did not move at all in this number of intervals waits for something
#: else.
FROZEN_AFTER = 2

#: A tick that comes sooner than this (ns) after the last one, as it does after a late tick, tells nothing:
#: the tracer itself held the GIL, and no thread's clock moved.
SOONEST = 500_000


def cpu_clock(native_id: int) -> Callable[[], int] | None:
    """
    Return a function that reads a thread's CPU time in ns; None where the system has no such clock.
    """
    if not sys.platform.startswith("linux") or native_id <= 0:
        return None
    clock = ~native_id << 3 | 6
    return lambda: time.clock_gettime_ns(clock)


class SeenThread:
    """
    Hold what was last sampled of one thread.

    Attributes:
        track: its track.
        thread: a weak reference to its Thread object; returns None where ``threading`` does not know it.
        clock: reads its CPU time (ns); None where the system has no such clock.
        cpu, time: what its CPU clock said, and when that was read (ns); -1 before the first reading.
        ran: what its CPU clock did, as last noted (`UNKNOWN`, `RAN` and so on); -1 before that.
        still: whether the system was asked since its clock stopped, and said that it waits.
        name: the name that its track has from ``threading``; None until then.
        path, stack: its frames as last noted, and their index in the recording.
    """

    __slots__ = ("clock", "cpu", "name", "path", "ran", "stack", "still", "thread", "time", "track")

    def __init__(
        self, track: int, thread: Callable[[], threading.Thread | None], clock: Callable[[], int] | None
    ) -> None:
        self.track = track
        self.thread = thread
        self.clock = clock
        self.cpu = -1
        self.time = -1
        self.ran = -1
        self.still = False
        self.name: str | None = None
        self.path: list[int] | None = None
        self.stack = GONE


def _no_thread() -> None:
    """
    Stand for the reference to the Thread object of a thread that has none.
    """


class ThreadCollector:
    """
    Sample every thread's frames and CPU clock.

    Args:
        recording: is filled.
        hidden: idents of threads to leave out: the tracer's own.
        clock_of: returns a reader of the CPU time (ns) of the thread with a native id.
        clock: returns the time (ns) at which CPU clocks are read; a late tick is noted with an earlier time.
    """

    name = "threads"

    def __init__(
        self,
        recording: Recording,
        *,
        hidden: Container[int] = (),
        clock_of: Callable[[int], Callable[[], int] | None] = cpu_clock,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._recording = recording
        self._walker = Walker(recording)
        self._hidden = hidden
        self._clock_of = clock_of
        self._clock = clock
        self._looked = 0
        self._seen: dict[int, SeenThread] = {}
        self._sampled: tuple[dict[int, int], dict[int, list[int]]] = {}, {}
        self._samples = [recording.intern_thread_sample(each) for each in THREAD_SAMPLES]

    def sample(self, now: int, frames: dict[int, FrameType]) -> None:
        seen = self._seen
        active = threading._active  # type: ignore[attr-defined]  # enumerate() takes a lock of the program's
        time_ = self._clock()
        is_soon = time_ - self._looked < SOONEST
        ran, paths = {}, {}
        for ident, frame in frames.items():
            if ident not in self._hidden:
                known, thread = seen.get(ident), active.get(ident)
                if known is None or known.thread() is not thread:
                    known = self._identify(now, ident, thread)
                # not `name`: the property may be code of the program
                if thread is not None and thread._name is not known.name:
                    self._rename(known, thread._name)
                value = _cpu_since_last(known, time_, is_soon)
                if value != ENDED:
                    ran[ident] = value
                    paths[ident] = self._walker.frames(frame)
        self._sampled = ran, paths
        self._looked = self._clock()

    def conclude(self, now: int) -> None:
        """
        Judge what the threads did. The system may be asked, which lets other threads run meanwhile.
        """
        seen = self._seen
        ran, paths = self._sampled
        values = ran.values()
        if RAN in values or SOME in values:
            instead = STARVED
            self._check_runnable(ran, (FROZEN,), STARVED)
        else:
            self._check_runnable(ran, (FROZEN, STOOD_STILL), UNKNOWN)
            # A thread that came or went may have run, so it is not known what the others waited for.
            instead = TOO_SOON if UNKNOWN in values or len(seen) != len(ran) else STOOD_STILL
        for ident, value in ran.items():
            cpu = instead if value == STOOD_STILL else STOOD_STILL if value == FROZEN else value
            self._note(now, seen[ident], paths[ident], cpu)
        if len(seen) != len(ran):
            for ident in [ident for ident in seen if ident not in ran]:
                self._end_track(now, ident)

    def _check_runnable(self, ran: dict[int, int], doubted: Container[int], then: int) -> None:
        """
        Correct the judgement of threads whose CPU clock stood still because the system gave their time to
        others.

        The system is asked once for each stop of a clock, and again only while the answer is that the thread
        would run.

        Args:
            ran: ident -> what its clock did; is corrected.
            doubted: the values that are in doubt.
            then: the value for a thread that would run if it could.
        """
        for ident, value in ran.items():
            known = self._seen[ident]
            if value in doubted and not known.still:
                known.still = not _wants_to_run(self._recording.tracks[known.track].tid)
                if not known.still:
                    ran[ident] = then

    def close(self, now: int) -> None:
        """
        Do nothing: names are read at each tick.
        """

    def _note(self, now: int, known: SeenThread, path: list[int], ran: int) -> None:
        if ran == TOO_SOON:
            ran = known.ran if path == known.path else UNKNOWN
        if path != known.path:
            known.path = path
            known.stack = self._recording.intern_stack(path)
        elif ran == known.ran:
            return
        known.ran = ran
        self._recording.observe(now, known.track, known.stack, self._samples[ran])

    def _identify(self, now: int, ident: int, thread: threading.Thread | None) -> SeenThread:
        """
        Return the record for an ident whose Thread object has changed.

        ``threading`` knows a thread a little later than it begins, and forgets it a little before it ends:
        that is still the same thread. A new thread may have an old one's ident, but it has another native id
        and another CPU clock.
        """
        known = self._seen.get(ident)
        if known is not None:
            entry = self._recording.tracks[known.track]
            if thread is None and known.clock is not None:
                return known
            if thread is not None and thread.native_id == entry.tid:
                known.thread = weakref.ref(thread)
                return known
            self._end_track(now, ident)
        return self._first_seen(now, ident, thread)

    def _first_seen(self, now: int, ident: int, thread: threading.Thread | None) -> SeenThread:
        native = thread.native_id if thread is not None else _native_id(ident)
        track = self._recording.add_track(
            TrackEntry("thread", f"thread {native or ident}", now, tid=native or 0)
        )
        reference = weakref.ref(thread) if thread is not None else _no_thread
        known = self._seen[ident] = SeenThread(track, reference, self._clock_of(native or 0))
        return known

    def _end_track(self, now: int, ident: int) -> None:
        known = self._seen.pop(ident)
        entry = self._recording.tracks[known.track]
        entry.end = now
        self._recording.observe(now, known.track, GONE, 0)

    def _rename(self, known: SeenThread, name: str) -> None:
        entry = self._recording.tracks[known.track]
        if known.name is not None and name != entry.name:
            entry.args["former name"] = entry.name
        known.name = entry.name = name


def _native_id(ident: int) -> int | None:
    """
    Return the native id of a thread that ``threading`` does not know. It is read once, when the thread is
    first seen.
    """
    if not sys.platform.startswith("linux"):
        return None
    try:
        return ~(time.pthread_getcpuclockid(ident) >> 3)
    except OSError:
        return None


def _cpu_since_last(known: SeenThread, now: int, is_soon: bool) -> int:  # noqa: FBT001
    """
    Return what the thread's CPU clock did since the last tick.
    """
    if known.clock is None:
        return UNKNOWN
    try:
        cpu = known.clock()
    except OSError:
        if known.time >= 0:
            return ENDED  # if the ident is still in use, it is another thread's, which the next tick sees
        known.clock = None  # the system has no such clock
        return UNKNOWN
    elapsed, used = now - known.time, cpu - known.cpu
    first = known.time < 0
    if is_soon and not first:
        return TOO_SOON
    known.time, known.cpu = now, cpu
    if used >= elapsed * STILL:
        known.still = False
    return UNKNOWN if first else _judge(used, elapsed)


def _judge(used: int, elapsed: int) -> int:
    """
    Return what it means that a CPU clock moved by ``used`` ns in ``elapsed`` ns.
    """
    if used >= elapsed * BUSY:
        return RAN
    if used >= elapsed * STILL:
        return SOME
    frozen = used == 0 and elapsed >= FROZEN_AFTER * sys.getswitchinterval() * 1e9
    return FROZEN if frozen else STOOD_STILL


def _wants_to_run(native_id: int) -> bool:
    """
    Return whether the system would run a thread if it had a processor free (the call takes 10 us).
    """
    try:
        file = os.open(f"/proc/self/task/{native_id}/stat", os.O_RDONLY)
    except OSError:
        return False
    try:
        return os.read(file, 100).rpartition(b") ")[2][:1] == b"R"
    except OSError:  # it has ended since
        return False
    finally:
        os.close(file)
