"""
A sampler takes the ticks of one trace: here is its life, and what its two kinds share.

`start`, `stop`, `pause` and `resume` around a fork, `snapshot` and `measure` are the same for both. What
differs is how a tick is taken: `fgtrace._sampling.python_sampler` takes it in Python, in a thread of its own;
`fgtrace._sampling.core_sampler` leaves it to the C core, and answers what the core cannot judge.

What fails in a sampler is left out from then on, logged, and noted in the trace; the program goes on
unharmed.
"""

from __future__ import annotations

import _thread
import sys
import threading
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any, NamedTuple

from fgtrace._options.options import Options
from fgtrace._recording.recording import Recording
from fgtrace._sampling.collect.lock_holders import find_holders
from fgtrace._sampling.collect.requests import RequestNotes
from fgtrace._sampling.collect.task_discovery import LoopFinder
from fgtrace._sampling.forks import ignore_forks, pause_at_forks, wait_for_end
from fgtrace._sampling.own_threads import own_threads, start_without_signals
from fgtrace._sampling.stats import Stats, describe_awaits, dropped_counts, note_failure

__all__ = ["Figures", "Sampler"]


class Figures(NamedTuple):
    """
    Hold what the ticks of a sampler came to.

    ``taken`` and ``missed`` are numbers of ticks. ``rounds`` is how often every task was sampled. ``spent``
    and ``longest`` are the processor time of all ticks and of the longest one, ns.
    """

    taken: int
    missed: int
    rounds: int
    spent: int
    longest: int


class Sampler(ABC):
    """
    Take the ticks of one trace, from `start` to `stop`.

    Args:
        options: see `Options`.
        recording: is filled.
        stats: are kept up to date by `measure`; they say which core is at work.

    Attributes:
        finder: knows the running loops; a trace tells it of the loop in which it was started.
        requests: notes the requests that tasks handle.
    """

    def __init__(self, options: Options, recording: Recording, stats: Stats) -> None:
        self.recording = recording
        self.stats = stats
        self.finder = LoopFinder()
        self.requests = RequestNotes(recording, self._track_of, self.now, self._failed)
        self._options = options
        self._is_paused = False
        self._switch = threading.Lock()  # a fork of the program and `stop` exclude each other
        self._fetching = threading.Lock()  # our thread and `snapshot` exclude each other

    # what a trace asks of it

    def start(self) -> None:
        """
        Begin to take ticks; with exact awaits, begin to note steps and garbage collections as they happen.
        """
        self._prepare()
        self._begin_exact()
        try:
            self._begin()
        except BaseException:
            self._end_exact()
            raise
        if self._options.tasks:
            self.requests.start()
        pause_at_forks(self)

    def stop(self) -> None:
        """
        Take a last tick, and end; return when the threads are gone.
        """
        with self._switch:
            ignore_forks(self)
            self._halt()
            if self._thread.ident is None:  # `resume` got no thread: the last tick is taken in this one
                self._finish()
            else:
                self._thread.join()
        self.requests.stop()
        self._settle()
        self.measure()

    def snapshot(self) -> tuple[Recording, int]:
        """
        Return a copy of the recording so far, and its end (ns from the start), while the trace goes on.
        """
        with self._fetching:
            self._fetch()
            found, end = self.recording.snapshot(), self.now()
        self._note_holders(found)
        return found, end

    def measure(self) -> None:
        """
        Bring `stats` up to date.
        """
        figures, stats, recording = self._figures(), self.stats, self.recording
        seconds = max(1, self.end or self.now()) / 1e9
        stats.ticks_taken, stats.ticks_missed = figures.taken, figures.missed
        stats.ticks_asked = figures.taken + figures.missed
        stats.hz = figures.taken / seconds
        stats.hz_tasks = figures.rounds / seconds
        stats.overhead = figures.spent / 1e9 / seconds
        stats.pause_max = figures.longest / 1e9
        stats.observations = recording.observations
        stats.steps = recording.stepped
        stats.tracks = len(recording.tracks)
        stats.cut = recording.cut
        stats.failed.update(dropped_counts(recording))

    @property
    def awaits(self) -> str:
        """
        How tasks were recorded, see `describe_awaits`; complete after `stop`.
        """
        return describe_awaits(self._options, self.recording)

    @property
    @abstractmethod
    def taken(self) -> int:
        """
        The number of ticks taken so far.
        """

    @property
    @abstractmethod
    def end(self) -> int:
        """
        The time of the last tick of the trace, ns from the start; 0 before `stop`.
        """

    @abstractmethod
    def now(self) -> int:
        """
        Return the time, ns from the start.
        """

    @abstractmethod
    def open_steps(self, now: int) -> bytes:
        """
        Return the steps that are open, as if they ended at ``now`` (ns from the start); empty without exact
        awaits. They are packed as in `fgtrace._recording.step_records`.
        """

    # around a fork of the program: see `fgtrace._sampling.forks`

    def pause(self) -> None:
        """
        End the threads for a while, since the program forks. The ticks meanwhile are missed.
        """
        self._switch.acquire()
        self._is_paused = True
        self._halt()
        self._thread.join()
        wait_for_end(self._thread.native_id)

    def resume(self) -> None:
        """
        Begin the threads again after `pause`.
        """
        self._is_paused = False
        with suppress(RuntimeError):  # the interpreter ends, and allows no new thread
            self._begin()
        self._switch.release()

    # the sampler's own thread

    def _begin(self) -> None:
        is_hidden = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(is_hidden,), name="fgtrace sampler", daemon=True
        )
        start_without_signals(self._thread)
        is_hidden.wait()  # else a tick could show this thread among the program's

    def _run(self, is_hidden: threading.Event) -> None:
        ident = _thread.get_ident()
        own_threads.add(ident)
        is_hidden.set()
        try:
            self._serve()
            if not self._is_paused:
                self._finish()
        finally:
            own_threads.discard(ident)

    def _failed(self, name: str, error: Exception) -> None:
        note_failure(self.stats, name, error)

    def _note_holders(self, recording: Recording) -> None:
        """
        Note which tasks hold the locks that other tasks wait for now, as the trace ends.
        """
        try:
            recording.holders = find_holders(self.finder, sys._current_frames())
        except Exception as error:  # the observer is a guest
            self._failed("holders", error)

    # how the two kinds differ

    @abstractmethod
    def _prepare(self) -> None:
        """
        Get ready for the first tick.
        """

    @abstractmethod
    def _begin_exact(self) -> None:
        """
        Have steps and garbage collections noted from now on, if the options ask for exact awaits.
        """

    @abstractmethod
    def _end_exact(self) -> None:
        """
        Have steps and garbage collections noted no more.
        """

    @abstractmethod
    def _serve(self) -> None:
        """
        Take ticks, or serve the core that takes them, until `_halt`; in the sampler's own thread.
        """

    @abstractmethod
    def _halt(self) -> None:
        """
        Have `_serve` return.
        """

    @abstractmethod
    def _finish(self) -> None:
        """
        Take the last tick of the trace.
        """

    @abstractmethod
    def _settle(self) -> None:
        """
        Leave the interpreter as it was, and complete the recording; no thread of the sampler runs any more.
        """

    @abstractmethod
    def _fetch(self) -> None:
        """
        Have all that was noted so far in the recording.
        """

    @abstractmethod
    def _figures(self) -> Figures:
        """
        Return what the ticks came to until now.
        """

    @abstractmethod
    def _track_of(self, task: Any) -> int:
        """
        Return a task's track, -1 where it was not seen.
        """
