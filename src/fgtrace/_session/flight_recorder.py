"""
The flight recorder: it records all the time, keeps the last seconds, and writes them on demand.

Theory of operation: a sampler works as in any trace, and once a second its recording is emptied into a ring
(`fgtrace._recording.ring`). The ring drops what is older than the window. The tables of the recording
(stacks, functions, waiters) only grow. When they have reached their share of the memory, a second sampler
begins beside the first one. When the second one reaches back as far, the first one ends. So no moment is
missing, and two samplers work only for a while.
"""

from __future__ import annotations

import atexit
import importlib
import math
import os
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from fgtrace._formats.destination import make_sink
from fgtrace._options.options import MIB, RECORDER_OPTIONS, Destination, Options
from fgtrace._options.parsing import refuse_unknown
from fgtrace._output.metadata import metadata
from fgtrace._recording.ring import Ring
from fgtrace._recording.window import Window
from fgtrace._sampling.choose import make_sampler, tell_running_loop
from fgtrace._sampling.periodic_thread import PeriodicThread
from fgtrace._sampling.sampler import Sampler
from fgtrace._sampling.stats import Stats, note_failure
from fgtrace.errors import ConfigError, TraceStateError

if TYPE_CHECKING:  # the import takes 20 ms; `start` does it
    from fgtrace._output.captured_trace import CapturedTrace

__all__ = ["FlightRecorder", "FlightStats", "running_recorder"]

#: Seconds from one time at which the recording is emptied into the ring to the next; for a short window an
#: eighth of the window.
PERIOD = 1.0
#: The share of the memory that the tables may have. When they have more, and twice what they had when their
#: sampler took over, another sampler begins.
TABLES_SHARE = 0.25

_running: list[FlightRecorder] = []


@dataclass(slots=True)
class FlightStats:
    """
    The state of a flight recorder.

    Attributes:
        seconds: how far back a dump reaches now.
        memory: the bytes that it takes, as far as they are counted.
        observations: how many observations are in the window. tracks: how many threads and tasks.
        generation: the number of the latest sampler, from 1; two of them overlap for a while.
        shortened: whether the memory was too small for the whole window when that was last checked.
        dumps: how many dumps were made.
        sampling: what the sampler has done since it began, and what that cost.
    """

    seconds: float = 0.0
    memory: int = 0
    observations: int = 0
    tracks: int = 0
    generation: int = 0
    shortened: bool = False
    dumps: int = 0
    sampling: Stats = field(default_factory=Stats)


class _Generation:
    """
    A sampler with its ring. The recorder's lock is held around each call.
    """

    def __init__(self, options: Options, length: int) -> None:
        self.sampler: Sampler = make_sampler(options)
        self.sampler.recording.spills = False
        self.ring = Ring(self.sampler.recording, length)
        self.least = 0  # bytes of its tables as it took over

    @property
    def reach(self) -> int:
        """
        Return how far back the ring reaches, ns.
        """
        return self.ring.end - self.ring.start

    def roll(self, budget: int) -> None:
        """
        Move what was recorded into the ring, which may take ``budget`` bytes.
        """
        self.ring.roll(self.sampler.now(), budget)

    def window(self, length: int, budget: int) -> Window:
        """
        Return a window with the last ``length`` ns.
        """
        open_steps = self.sampler.open_steps(self.sampler.now())  # first: see `Window`
        self.roll(budget)
        return Window(self.ring, self.ring.end - length, open_steps, self.sampler.requests.open_requests())


class FlightRecorder:
    """
    Records all the time and keeps the last seconds, within its memory; `dump` writes them while it goes on.

        recorder = fgtrace.FlightRecorder(seconds=30).start()
        ...
        recorder.dump("slow.pftrace")

    As a context manager it runs from ``with`` to the end of the block. It ends with the process at the
    latest, and does not run in a child process (after ``os.fork``).

    Args:
        seconds: the length of the window that is kept.
        max_memory: bytes; where they do not suffice, the window is shorter (see `stats`).
        options: those of `Config`, except for ``dst`` and ``format``, which are options of `dump`.

    Raises:
        ConfigError: a value is not allowed.
        UnknownOptionError: an option does not exist.
    """

    def __init__(self, seconds: float = 30, *, max_memory: int = 64 * MIB, **options: Any) -> None:
        _check_seconds(seconds)
        for name in ("dst", "format"):
            if name in options:
                raise ConfigError(name, options[name], "allowed is no value here: it is an option of dump()")
        refuse_unknown("fgtrace.FlightRecorder", options, ("seconds", *RECORDER_OPTIONS))
        self.config = Options(max_memory=max_memory, **options)
        self.seconds = seconds
        self._length = round(seconds * 1e9)
        self._lock = threading.RLock()
        self._generations: list[_Generation] = []
        self._stats = FlightStats()
        self._worker = PeriodicThread("fgtrace recorder", min(PERIOD, seconds / 8), self._roll, self._fail)
        self._pid = 0
        self._is_stopped = False
        self._longest = 0

    def __repr__(self) -> str:
        state = "running" if self.is_running else "stopped" if self._pid else "new"
        return f"<fgtrace.FlightRecorder {state} seconds={self.seconds}>"

    @property
    def is_running(self) -> bool:
        """
        Return whether the recorder runs in this process.
        """
        return bool(self._generations) and self._pid == os.getpid()

    @property
    def stats(self) -> FlightStats:
        """
        Return the state of the recorder, which is brought up to date once a second.
        """
        with self._lock:
            for generation in self._generations[:1]:
                generation.sampler.measure()
                self._stats.sampling = generation.sampler.stats
            return replace(self._stats)

    def start(self) -> Self:
        """
        Start the recorder.

        Raises:
            TraceStateError: the recorder was started before.
        """
        if self._pid:
            raise TraceStateError("this flight recorder was started before; make another one")
        # The import is better made now than in a dump, when something has gone wrong.
        importlib.import_module("fgtrace._output.captured_trace")
        self._pid = os.getpid()
        self._worker.start()
        try:
            with self._lock:
                self._begin()
        except BaseException:
            self._worker.stop()
            raise
        atexit.register(self._at_exit)
        _running.append(self)
        return self

    def stop(self) -> None:
        """
        Stop the recorder and discard what it has. In a child process nothing is done.

        Raises:
            TraceStateError: the recorder is not running.
        """
        if not self._pid or self._is_stopped:
            raise TraceStateError("this flight recorder is not running")
        self._is_stopped = True
        if self in _running:
            _running.remove(self)
        atexit.unregister(self._at_exit)
        if self._pid == os.getpid():
            self._worker.stop()
            self._end_all()
        else:
            self._generations.clear()

    def dump(
        self,
        dst: Destination,
        *,
        seconds: float | None = None,
        format: str | None = None,  # noqa: A002 - as of `Config`
        reason: str = "",
    ) -> float:
        """
        Write the last seconds while the recorder goes on. The call blocks, and may be made in any thread.

            recorder.dump("slow.json", seconds=10)

        Args:
            dst: the destination, as in `Config`.
            format: as in `Config`; None: the path's suffix decides.
            seconds: how many of the last seconds; None: all that are kept.
            reason: a text that is noted in the file.

        Returns:
            How many seconds were written: fewer than asked for if the recorder has not run that long.

        Raises:
            ConfigError: a value is not allowed.
            TraceStateError: the recorder is not running.
            SinkError: the destination could not be opened or written.
        """
        from fgtrace._output.pacing import paced  # only a dump needs it

        options = replace(self.config, dst=dst, format=format)
        captured = self.cut(seconds, options, reason)
        sink = make_sink(dst, captured.format)
        sink.begin()
        sink.write(paced(captured.chunks()))
        return captured.end / 1e9

    def cut(self, seconds: float | None, options: Options, reason: str) -> CapturedTrace:
        """
        Return the last seconds as a captured trace, while the recorder goes on.

        Args:
            seconds: as of `dump`.
            options: how the trace is drawn, and its format.
            reason: as of `dump`.

        Raises:
            ConfigError: the number of seconds is not allowed.
            TraceStateError: the recorder is not running.
        """
        _check_seconds(self.seconds if seconds is None else seconds)
        from fgtrace._output.captured_trace import CapturedTrace  # `start` has imported it

        length = self._length if seconds is None else round(seconds * 1e9)
        with self._lock:
            if not self.is_running:
                raise TraceStateError("this flight recorder is not running")
            generation = self._generations[0]
            window = generation.window(length, self._budget(generation))
            self._stats.dumps += 1
            generation.sampler.measure()
            flight = {"seconds": window.length / 1e9, "reason": reason}
            began = time.time() - window.length / 1e9
            about = metadata(options, generation.sampler, self._pid, began, flight=flight)
            return CapturedTrace(window, options, window.length, self._pid, about)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    # What follows runs in the recorder's own thread.

    def _roll(self) -> None:
        with self._lock:
            for generation in reversed(self._generations):
                generation.roll(self._budget(generation))
            if self._generations:
                self._renew()
                self._update_stats()

    def _budget(self, generation: _Generation) -> int:
        return self.config.max_memory - self._memory() + generation.ring.memory

    def _renew(self) -> None:
        """
        Begin a second sampler if the tables have grown too large; end the first one if the second reaches
        back as far, or at once if two do not fit into the memory.
        """
        oldest, newest = self._generations[0], self._generations[-1]
        most = self.config.max_memory
        if oldest is not newest:
            if newest.reach >= min(self._length, oldest.reach) or self._memory() > most:
                self._end(oldest)
                newest.least = newest.sampler.recording.held
        elif newest.sampler.recording.held > max(most * TABLES_SHARE, 2 * newest.least):
            self._begin()

    def _memory(self) -> int:
        return sum(each.ring.memory for each in self._generations)

    def _begin(self) -> None:
        generation = _Generation(self.config, self._length)
        tell_running_loop(generation.sampler)
        for known in self._generations:
            for ident, loop in known.sampler.finder.running_loops().items():
                generation.sampler.finder.add(ident, loop)
        generation.sampler.start()
        self._generations.append(generation)
        self._stats.generation += 1

    def _end(self, generation: _Generation) -> None:
        self._generations.remove(generation)
        generation.sampler.stop()
        self._stats.sampling = generation.sampler.stats
        generation.sampler.recording.close()

    def _update_stats(self) -> None:
        stats, oldest = self._stats, self._generations[0]
        recording = oldest.sampler.recording
        stats.seconds = oldest.reach / 1e9
        stats.memory = self._memory()
        stats.observations = sum(len(chunk.rows) for chunk in oldest.ring.chunks) // 4
        stats.tracks = len(recording.tracks) - recording.forgotten
        self._longest = max(self._longest, oldest.reach)
        could = min(self._length, max(self._longest, oldest.sampler.now()) - round(2e9 * PERIOD))
        stats.shortened = oldest.reach < could

    def _end_all(self) -> None:
        with self._lock:
            while self._generations:
                self._end(self._generations[0])

    def _fail(self, error: Exception) -> None:
        """
        Stop after a failure: a recording that is not emptied any more would grow without bound.
        """
        for generation in self._generations:
            note_failure(generation.sampler.stats, "recorder", error)
        self._end_all()

    def _at_exit(self) -> None:
        if self.is_running:
            self.stop()


def running_recorder() -> FlightRecorder | None:
    """
    Return the flight recorder that was started last of those that run in this process, or None.
    """
    return next((recorder for recorder in reversed(_running) if recorder.is_running), None)


def _check_seconds(seconds: object) -> None:
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not is_number or not 0 < float(seconds) < math.inf:  # type: ignore[arg-type]  # just checked
        raise ConfigError("seconds", seconds, "allowed is a number above 0")
