"""
The sampler in Python: a tick is one round through the collectors.

Its thread waits for the clock, has each collector sample the program, and measures what that cost. A
collector that fails is unplugged. It is the twin of `fgtrace._sampling.core_sampler`, and serves where the C
core cannot.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from fgtrace._model.values import Gap
from fgtrace._options.options import Options
from fgtrace._recording.locked_recording import LockedRecording
from fgtrace._recording.recording import Recording
from fgtrace._sampling.clock import Clock, SystemClock, Ticker
from fgtrace._sampling.collect import Collector
from fgtrace._sampling.collect.garbage_collections import GcCallback, GcNotes
from fgtrace._sampling.collect.tasks import TaskCollector
from fgtrace._sampling.collect.threads import ThreadCollector
from fgtrace._sampling.exact.collector import ExactTaskCollector
from fgtrace._sampling.own_threads import own_threads
from fgtrace._sampling.sampler import Figures, Sampler
from fgtrace._sampling.stats import Stats
from fgtrace._sampling.switch_interval import restore_switch_interval, shorten_switch_interval

__all__ = ["PythonSampler"]


class PythonSampler(Sampler):
    """
    Take the ticks of one trace in a thread of its own.

    Args:
        options: see `Options`.
        clock: the time; None: the system's.
        recording: is filled; None: a new one.
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
        kind = LockedRecording if options.awaits == "exact" else Recording
        super().__init__(options, recording or kind(options.max_memory), Stats())
        self.ticker = Ticker(options.hz, options.max_overhead, clock or SystemClock())
        self._exact: ExactTaskCollector | None = None
        self._collections = GcCallback(GcNotes(self.recording, self.now))
        self._tasks: TaskCollector | None = None
        self._collectors = self._plug_in(options) if collectors is None else list(collectors)

    def _plug_in(self, options: Options) -> list[Collector]:
        """
        Return the collectors that the options ask for, in the order in which a tick calls them. Here a new
        one is added.
        """
        found: list[Collector] = []
        if options.awaits == "exact":
            self._exact = ExactTaskCollector(
                self.recording, finder=self.finder, labels=options.labels,
                now=self.now, hidden=own_threads, failed=self._failed,
            )  # fmt: skip
            self._tasks = self._exact
        elif options.tasks:
            self._tasks = TaskCollector(self.recording, finder=self.finder, labels=options.labels)
        if self._tasks is not None:  # first, since what a task does is over sooner than what a thread does
            found.append(self._tasks)
        if options.threads:
            hidden = () if options.include_self else own_threads
            found.append(ThreadCollector(self.recording, hidden=hidden))
        return found

    def start(self) -> None:
        super().start()
        shorten_switch_interval()  # at last: if no thread could be started, there is nothing to undo

    def stop(self) -> None:
        self._end_exact()
        super().stop()

    def resume(self) -> None:
        self.ticker.clock.resume()
        super().resume()

    @property
    def taken(self) -> int:
        return self.ticker.taken

    @property
    def end(self) -> int:
        return self.ticker.ended - self.ticker.start

    def now(self) -> int:
        return self.ticker.clock.now() - self.ticker.start

    def open_steps(self, now: int) -> bytes:
        return self._exact.open_steps(now) if self._exact is not None else b""

    def tick(self, now: int) -> None:
        """
        Take a tick: have every collector sample once.

        Args:
            now: the time that the samples hold from, ns from the start.
        """
        cost = self.ticker.clock.cost()
        frames = sys._current_frames()  # the documented way to see all threads
        self._have_each(lambda collector: collector.sample(now, frames))
        frames.clear()  # they keep objects of the program alive, and this very frame is among them
        self._have_each(lambda collector: collector.conclude(now))
        self.ticker.charge(self.ticker.clock.cost() - cost)

    def _prepare(self) -> None:
        self.ticker.restart()

    def _begin_exact(self) -> None:
        if self._exact is not None:
            self._exact.begin()
            self._collections.start()

    def _end_exact(self) -> None:
        if self._exact is not None:
            self._collections.stop()
            self._exact.end()

    def _serve(self) -> None:
        while self._collectors and (tick := self.ticker.next()) is not None:
            if tick.gap is not None:
                self._note(tick.gap)
            # With exact awaits what happened since a late tick was due is in the steps.
            time = tick.since if self._exact is None else tick.time
            self.tick(time - self.ticker.start)
            self._trim()

    def _halt(self) -> None:
        self.ticker.clock.stop()

    def _finish(self) -> None:
        self.tick(self.ticker.finish() - self.ticker.start)
        self._have_each(lambda collector: collector.close(self.end))
        if self._options.tasks:
            self._note_holders(self.recording)

    def _settle(self) -> None:
        restore_switch_interval()

    def _fetch(self) -> None:
        """
        Do nothing: all is noted in the recording itself.
        """

    def _figures(self) -> Figures:
        ticker = self.ticker
        return Figures(ticker.taken, ticker.missed, ticker.taken, ticker.spent, ticker.longest)

    def _track_of(self, task: Any) -> int:
        return -1 if self._tasks is None else self._tasks.track_of(task)

    def _note(self, gap: Gap) -> None:
        start = self.ticker.start
        self.recording.gaps.append(gap._replace(start=gap.start - start, end=gap.end - start))

    def _have_each(self, do: Callable[[Collector], None]) -> None:
        """
        Have each collector do something; one that fails is unplugged.
        """
        for collector in tuple(self._collectors):
            try:
                do(collector)
            except Exception as error:  # the observer is a guest
                self._unplug(collector, error)

    def _unplug(self, collector: Collector, error: Exception) -> None:
        self._collectors.remove(collector)
        self._failed(collector.name, error)

    def _trim(self) -> None:
        try:
            with self._fetching:
                self.recording.trim()
        except OSError as error:
            self._collectors.clear()
            self._failed("spill", error)
