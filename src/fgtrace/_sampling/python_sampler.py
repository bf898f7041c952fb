"""
The sampler: drives one trace.

It owns a thread, which waits for the clock, looks through the collectors at what the program
does, and measures what that cost. The program is never harmed: whatever goes wrong in a
collector unplugs that collector, is logged once, and is noted in the trace.
"""

from __future__ import annotations

import _thread
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from fgtrace._model.values import Gap
from fgtrace._options.options import Options
from fgtrace._recording.locked_recording import SharedRecording
from fgtrace._recording.recording import Recording
from fgtrace._sampling.clock import Clock, SystemClock, Ticker
from fgtrace._sampling.collect import Collector
from fgtrace._sampling.collect.garbage_collections import CollectionNotes, CollectionWatch
from fgtrace._sampling.collect.lock_holders import find_holders
from fgtrace._sampling.collect.requests import RequestWatch
from fgtrace._sampling.collect.task_discovery import LoopFinder
from fgtrace._sampling.collect.tasks import TaskCollector
from fgtrace._sampling.collect.threads import ThreadCollector
from fgtrace._sampling.exact.collector import ExactTaskCollector
from fgtrace._sampling.forks import forget, wait_for_end, watch
from fgtrace._sampling.switch_interval import calm, hurry

__all__ = ["Sampler", "Stats", "awaits_of", "complain", "dropped", "note_holders", "own_threads"]

#: Idents of the threads of all traces of this process.
own_threads: set[int] = set()


@dataclass(slots=True)
class Stats:
    """
    What a trace did, and what it cost.

    Attributes:
        ticks_asked: ticks that a clock which is never late would have taken.
        ticks_taken, ticks_missed: how many of them there were, and how many not.
        hz: the true rate, ticks a second.
        hz_tasks: how often a second every task was looked at; below ``hz`` where there are so many
            that a tick looks at a part of them.
        overhead: the share of the wall clock that the ticks took.
        pause_max: the longest tick, in seconds.
        observations, steps, tracks: the size of the recording.
        cut: stacks that were cut because the tables were full (see ``max_memory``).
        core: ``"c"`` or ``"python"``: which collectors were at work.
        failed: collectors that were unplugged, with the reason.
    """

    ticks_asked: int = 0
    ticks_taken: int = 0
    ticks_missed: int = 0
    hz: float = 0.0
    hz_tasks: float = 0.0
    overhead: float = 0.0
    pause_max: float = 0.0
    observations: int = 0
    steps: int = 0
    tracks: int = 0
    cut: int = 0
    core: str = "python"
    failed: dict[str, str] = field(default_factory=dict)


class Sampler:
    """
    Takes the ticks of one trace in a thread of its own.

    Args:
        options: see `Options`.
        clock: the time.
        recording: to write to.
        collectors: instead of those that the options ask for.
    """

    def __init__(
        self,
        options: Options,
        *,
        clock: Clock | None = None,
        recording: Recording | None = None,
        collectors: Sequence[Collector] | None = None,
    ) -> None:
        kind = SharedRecording if options.awaits == "exact" else Recording
        self.recording = recording or kind(options.max_memory)
        self._options = options
        self.finder = LoopFinder()
        self.stats = Stats()
        self.ticker = Ticker(options.hz, options.max_overhead, clock or SystemClock())
        self._exact: ExactTaskCollector | None = None
        self._collections = CollectionWatch(CollectionNotes(self.recording, self.now))
        self._tasks: TaskCollector | None = None
        self.requests = RequestWatch(self.recording, self._track_of, self.now, self._failed)
        self._collectors = self._plug_in(options) if collectors is None else list(collectors)
        self._paused = False
        self._switch = threading.Lock()  # between the program's forks and `stop`
        self._moving = threading.Lock()  # between `snapshot` and what moves to a file

    def _plug_in(self, options: Options) -> list[Collector]:
        found: list[Collector] = []
        if options.awaits == "exact":
            self._exact = ExactTaskCollector(
                self.recording, finder=self.finder, labels=options.labels,
                now=self.now, hidden=own_threads, failed=self._failed,
            )  # fmt: skip
            self._tasks = self._exact
        elif options.tasks:
            self._tasks = TaskCollector(self.recording, finder=self.finder, labels=options.labels)
        if self._tasks is not None:  # first: what a task does is over sooner than what a thread does
            found.append(self._tasks)
        if options.threads:
            hidden = () if options.include_self else own_threads
            found.append(ThreadCollector(self.recording, hidden=hidden))
        return found

    def start(self) -> None:
        """
        Begin.
        """
        self.ticker.restart()
        self._hook()
        try:
            self._begin()
        except BaseException:
            self._unhook()
            raise
        hurry()  # only now: where no thread can be started, nothing is left to undo
        if self._tasks is not None:
            self.requests.start()
        watch(self)

    def _hook(self) -> None:
        """
        With exact awaits: from now on steps and garbage collections are noted as they happen.
        """
        if self._exact is not None:
            self._exact.begin()
            self._collections.start()

    def _unhook(self) -> None:
        if self._exact is not None:
            self._collections.stop()
            self._exact.end()

    def now(self) -> int:
        """
        The time, ns from the start.
        """
        return self.ticker.clock.now() - self.ticker.start

    def _track_of(self, task: Any) -> int:
        return -1 if self._tasks is None else self._tasks.track_of(task)

    def under_way(self, now: int) -> bytes:
        """
        With exact awaits the steps that are under way, as if they ended now: see
        `fgtrace._recording.step_records`.
        """
        return self._exact.so_far(now) if self._exact is not None else b""

    def _failed(self, name: str, error: Exception) -> None:
        complain(self.stats, name, error)

    def _begin(self) -> None:
        self._thread = threading.Thread(target=self._run, name="fgtrace sampler", daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """
        The program forks: end the thread for a while. The ticks meanwhile are missed.
        """
        self._switch.acquire()
        self._paused = True
        self.ticker.clock.stop()
        self._thread.join()
        wait_for_end(self._thread.native_id)

    def resume(self) -> None:
        """
        Go on after `pause`.
        """
        self._paused = False
        self.ticker.clock.resume()
        with suppress(RuntimeError):  # the interpreter ends, and allows no new thread
            self._begin()
        self._switch.release()

    def stop(self) -> None:
        """
        Take a last look, and end; returns when the thread is gone.
        """
        self._unhook()
        with self._switch:
            forget(self)
            self.ticker.clock.stop()
            if self._thread.ident is None:  # see `resume`: the last look is ours
                self._run()
            else:
                self._thread.join()
        calm()
        self.requests.stop()
        self.measure()

    @property
    def awaits(self) -> str:
        """
        How tasks were seen: ``exact``, ``sampled``, and by which loop's doing; complete after `stop`.
        """
        return awaits_of(self._options, self.recording)

    @property
    def taken(self) -> int:
        """
        The ticks taken so far.
        """
        return self.ticker.taken

    @property
    def end(self) -> int:
        """
        The time of the last look, ns from the start.
        """
        return self.ticker.ended - self.ticker.start

    def _run(self) -> None:
        ident = _thread.get_ident()
        own_threads.add(ident)
        try:
            while self._collectors and (tick := self.ticker.next()) is not None:
                if tick.gap is not None:
                    self._note(tick.gap)
                self.look(tick.since - self.ticker.start)
                self._trim()
            if not self._paused:
                self.look(self.ticker.last() - self.ticker.start)
                self._close()
        finally:
            own_threads.discard(ident)

    def _close(self) -> None:
        for collector in tuple(self._collectors):
            try:
                collector.close(self.end)
            except Exception as error:  # the observer is a guest
                self._unplug(collector, error)
        if self._options.tasks:
            note_holders(self.recording, self.finder, self.stats)

    def look(self, now: int) -> None:
        """
        Let every collector look once.

        Args:
            now: ns from the start.
        """
        cost = self.ticker.clock.cost()
        frames = sys._current_frames()  # the documented way to see all threads
        for collector in tuple(self._collectors):
            try:
                collector.look(now, frames)
            except Exception as error:  # the observer is a guest
                self._unplug(collector, error)
        del frames  # what they refer to is the program's, and goes when the program lets it go
        self.ticker.paid(self.ticker.clock.cost() - cost)

    def _note(self, gap: Gap) -> None:
        start = self.ticker.start
        self.recording.gaps.append(gap._replace(start=gap.start - start, end=gap.end - start))

    def _unplug(self, collector: Collector, error: Exception) -> None:
        self._collectors.remove(collector)
        complain(self.stats, collector.name, error)

    def snapshot(self) -> tuple[Recording, int]:
        """
        What was recorded so far, and until when (ns from the start), while it goes on.
        """
        with self._moving:
            found = self.recording.snapshot()
        note_holders(found, self.finder, self.stats)
        return found, self.now()

    def _trim(self) -> None:
        try:
            with self._moving:
                self.recording.trim()
        except OSError as error:
            self._collectors.clear()
            complain(self.stats, "spill", error)

    def measure(self) -> None:
        """
        Have in `stats` what was done until now.
        """
        ticker, stats = self.ticker, self.stats
        seconds = max(1, (ticker.ended - ticker.start) or self.now()) / 1e9
        stats.ticks_taken, stats.ticks_missed = ticker.taken, ticker.missed
        stats.ticks_asked = ticker.taken + ticker.missed
        stats.hz = stats.hz_tasks = ticker.taken / seconds
        stats.overhead = ticker.spent / 1e9 / seconds
        stats.pause_max = ticker.longest / 1e9
        stats.observations = self.recording.observations
        stats.steps = self.recording.stepped
        stats.tracks = len(self.recording.tracks)
        stats.cut = self.recording.cut
        stats.failed.update(dropped(self.recording))


def awaits_of(options: Options, recording: Recording) -> str:
    """
    ``exact``, ``sampled``, or ``exact; sampled (uvloop)`` where some loops could be sampled only.
    """
    if options.awaits != "exact":
        return "sampled"
    others = {loop.type.partition(".")[0] for loop in recording.loops if not loop.exact}
    found = ["exact"] if any(loop.exact for loop in recording.loops) or not others else []
    return "; ".join(found + ([f"sampled ({', '.join(sorted(others))})"] if others else []))


def note_holders(recording: Recording, finder: LoopFinder, stats: Stats) -> None:
    """
    Note who holds the locks that tasks wait for now, as the trace ends.
    """
    try:
        recording.holders = find_holders(finder, sys._current_frames())
    except Exception as error:  # the observer is a guest
        complain(stats, "holders", error)


def dropped(recording: Recording) -> dict[str, str]:
    """
    What there was too much of to keep it all.
    """
    counts = {"collections": recording.collections_dropped, "requests": recording.requests_dropped}
    return {name: f"{count} were too many to keep" for name, count in counts.items() if count}


def complain(stats: Stats, name: str, error: Exception) -> None:
    """
    Note in the trace, and log once, that a part of it failed.
    """
    import logging  # costs 10 ms to import, and is needed when something failed

    stats.failed[name] = f"{type(error).__name__}: {error}"
    logger = logging.getLogger("fgtrace")
    if logger.hasHandlers():  # else nobody configured logging, and it would print to stderr
        logger.warning("%s failed, the trace goes on without: %s", name, error, exc_info=error)
