"""
The sampler over the C core: it answers what the core asks, and fetches what it noted.

The core keeps the time and takes the ticks without Python (see clock.c). A thread of ours sleeps until
there is something that only Python can do: read a waiter of an uncommon kind, follow a chain through a
compiled coroutine or a greenlet, look at tasks that are of Python themselves. All of that is policy that
the Python collectors have, so they are used.
"""

from __future__ import annotations

import _thread
import importlib
import os
import sys
import threading
from contextlib import suppress
from typing import Any

from fgtrace._options.options import Options
from fgtrace._recording.core_recording import CoreRecording
from fgtrace._sampling.collect.calibration import CoreError, end_types, fields_of, load, marks, opaque_types
from fgtrace._sampling.collect.core_questions import Answerer, CoreTaskCollector
from fgtrace._sampling.collect.garbage_collections import CollectionWatch
from fgtrace._sampling.collect.requests import RequestWatch
from fgtrace._sampling.collect.task_discovery import LoopFinder
from fgtrace._sampling.collect.tasks import TaskCollector
from fgtrace._sampling.collect.threads import LOOKS
from fgtrace._sampling.exact.core_hooks import Hooks, leave_steps, mark_steps, nothing
from fgtrace._sampling.forks import forget, wait_for_end, watch
from fgtrace._sampling.python_sampler import Stats, awaits_of, complain, dropped, note_holders, own_threads

__all__ = ["CoreSampler"]

#: Of a tick's share of `max_overhead`, what the look at the tasks may take; and its bounds, in ns.
TASKS_SHARE, SHORTEST_LOOK, LONGEST_LOOK = 0.6, 20_000, 300_000
#: Bytes of a node of the core's tree with its place in the index.
NODE_BYTES = 28
#: Looks that a trace with exact awaits begins with, at most: 100,000 tasks take some hundred.
MOST_LOOKS = 2000
#: From so many tasks on it pays to know which of them ran (clock.c has the same).
MANY_TASKS = 2000
#: Rows that wait in the core until they are fetched (clock.c has the same).
MOST_ROWS = 65_536


class CoreSampler:
    """
    Takes the ticks of one trace with the C core.

    Args:
        options: see `Options`.

    Raises:
        CoreError: the core is not there, or does not fit this interpreter.
    """

    def __init__(self, options: Options) -> None:
        module = load()
        self._options = options
        self._module = module
        self._period = round(1e9 / options.hz)
        self._core = module.Core(
            period=self._period,
            max_overhead=options.max_overhead,
            most_nodes=max(1024, options.max_memory // 2 // NODE_BYTES),
            tick_budget=round(
                min(LONGEST_LOOK, max(SHORTEST_LOOK, self._period * options.max_overhead * TASKS_SHARE))
            ),
            threads=options.threads,
            tasks=options.tasks,
            active=threading._active,  # type: ignore[attr-defined]  # see threads.py
            hidden=frozenset() if options.include_self else own_threads,
            opaque=opaque_types(),
        )
        self.recording = CoreRecording(self._core, options.max_memory)
        self.recording.looks += LOOKS
        self.finder = LoopFinder()
        self.stats = Stats(core="c")
        self.end = 0
        self._answerer: Answerer | None = None
        self._all: TaskCollector | None = None  # where the core cannot look at the tasks
        self._marks: Hooks | None = None  # where very many tasks ask for them
        self._asked = False
        self._exact: Hooks | None = None
        self._collections = CollectionWatch(self._core.note_collection)
        self.requests = RequestWatch(self.recording, self._track_of, self.now, self._failed)
        self._step: type = type(None)  # asyncio's wrapper of a task's step
        self._paused = False
        self._switch = threading.Lock()  # between the program's forks and `stop`
        self._fetching = threading.Lock()  # between our thread and `snapshot`
        if options.awaits == "exact":
            for name in ("asyncio.base_events", "asyncio.tasks"):  # that they come is likely enough
                importlib.import_module(name)
        if options.tasks:
            self._attach()

    def _attach(self) -> None:
        """
        Tell the core of asyncio, once that is there.
        """
        tasks = sys.modules.get("asyncio.tasks")
        if tasks is None or not hasattr(tasks, "_GatheringFuture") or self._answerer is not None:
            return
        fields, self._step = fields_of(self._module, tasks)
        for code, flags in marks(tasks):
            self._core.mark(code, flags)
        source = getattr(tasks, "_all_tasks", None)
        self._core.attach(
            tasks=(tasks._scheduled_tasks if source is None else source).data,
            eager=getattr(tasks, "_eager_tasks", None),
            task=tasks.Task,
            future=tasks.futures.Future,
            labels=bool(self._options.labels),
            ends=end_types(tasks),
            **fields,
        )
        self._answerer = Answerer(self.recording, tasks, self.finder, self._options)

    def start(self) -> None:
        """
        Begin.
        """
        self._name_loops()
        if self._options.awaits == "exact":
            self._begin_exact()
        try:
            self._begin()
        except BaseException:
            self._end_exact()
            raise
        watch(self)
        if self._options.tasks:
            self.requests.start()

    def _begin_exact(self) -> None:
        """
        From now on have every step noted. What runs just now in this thread is under way.
        """
        if self._answerer is None:  # no asyncio yet: see `_attach_late`
            return
        self._core.look(0)
        for _ in range(MOST_LOOKS):  # all tasks that are there: a step may be any one's
            if not self._core.stats()["behind"]:
                break
            self._core.look(0)
        folder = os.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - a file without a name
        hooks = mark_steps(self._module, self._step, exact=True)
        if hooks is None:
            self.stats.failed["awaits"] = "another tool's wrapper lies over ours in asyncio"
        elif not self._core.begin_exact(folder, self._most_steps(), hooks.is_watching):
            leave_steps(hooks)
            self.stats.failed["awaits"] = "too many traces with exact awaits at once"
        else:
            self._exact = hooks
            self._collections.start()
            self._assume()

    def _most_steps(self) -> int:
        return self._options.max_memory // 2 if self.recording.spills else -1

    def _end_exact(self) -> None:
        hooks, self._exact = self._exact, None
        if hooks is not None:
            self._collections.stop()
            leave_steps(hooks)

    def _failed(self, name: str, error: Exception) -> None:
        complain(self.stats, name, error)

    def _track_of(self, task: Any) -> int:
        if self._all is not None:
            return self._all.track_of(task)
        return -1 if self._answerer is None else self._answerer.track_of(task)

    def _assume(self) -> None:
        """
        What runs in this thread is under way.
        """
        events, tasks = sys.modules["asyncio.events"], sys.modules["asyncio.tasks"]
        loop = events._get_running_loop()
        if isinstance(loop, sys.modules["asyncio.base_events"].BaseEventLoop):
            task = tasks.current_task(loop)
            if task is not None:
                self._module.assume(loop, task)
                loop.call_soon(nothing)  # what runs next tells when this step has ended

    def _name_loops(self) -> None:
        """
        Tell the core of loops that are known to run: a compiled one does not say in which thread.
        """
        for ident, loop in self.finder.found().items() if self._answerer is not None else ():
            index = self._core.loop(loop)
            if index >= 0:
                self._core.place(index, ident)

    def _begin(self) -> None:
        hidden = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(hidden,), name="fgtrace sampler", daemon=True)
        self._thread.start()
        hidden.wait()  # else the first tick would see our thread among the program's
        try:
            self._core.run()
        except BaseException:
            self._core.halt()
            raise

    @property
    def taken(self) -> int:
        """
        The ticks taken so far.
        """
        found: int = self._core.stats()["taken"]
        return found

    def pause(self) -> None:
        """
        The program forks: end our threads for a while. The ticks meanwhile are missed.
        """
        self._switch.acquire()
        self._paused = True
        self._core.halt()
        self._thread.join()
        wait_for_end(self._thread.native_id)

    def resume(self) -> None:
        """
        Go on after `pause`.
        """
        self._paused = False
        with suppress(RuntimeError):  # the interpreter ends, and allows no new thread
            self._begin()
        self._switch.release()

    def stop(self) -> None:
        """
        Take a last look, and end; returns when the threads are gone.
        """
        with self._switch:
            forget(self)
            self._core.halt()
            if self._thread.ident is None:  # see `resume`: the last look is ours
                self._guarded(self._last)
            else:
                self._thread.join()
        self.requests.stop()
        if self._marks is not None:
            self._core.mark_steps(False)
            leave_steps(self._marks)
        self._end_exact()
        self.end = self.end or self.now()
        self.recording.absorb()
        self.recording.settle()
        self.measure()
        self._core.close()

    @property
    def awaits(self) -> str:
        """
        How tasks were seen: as of the Python twin.
        """
        return awaits_of(self._options, self.recording)

    def _run(self, hidden: threading.Event) -> None:
        ident = _thread.get_ident()
        own_threads.add(ident)
        hidden.set()
        try:
            while self._core.wait():
                self._guarded(lambda: self._serve(self.now()))
            if not self._paused:
                self._guarded(self._last)
        finally:
            own_threads.discard(ident)

    def snapshot(self) -> tuple[CoreRecording, int]:
        """
        As of the Python twin.
        """
        with self._fetching:
            self.recording.absorb()
            self.recording.settle()
            found, end = self.recording.snapshot(), self.now()
        note_holders(found, self.finder, self.stats)
        return found, end

    def _guarded(self, do: Any) -> None:
        try:
            with self._fetching:
                do()
        except Exception as error:  # the observer is a guest
            complain(self.stats, "core", error)
            self._core.detach()

    def _serve(self, now: int, *, is_last: bool = False) -> None:
        """
        Do what waits to be done.
        """
        stats = self._core.stats()
        if self._answerer is None and self._all is None and self._options.tasks and not is_last:
            self._attach_late()
        if self._answerer is not None:
            for ask in self._core.take_asks():
                self._answerer.answer(*ask)
            if stats["foreign"]:
                self._answerer.look(now)
        if stats["broken"] is not None and self._all is None:
            complain(self.stats, "core", CoreError(stats["broken"]))
            self._hand_over()
        if self._all is not None:
            self._all.look(now, sys._current_frames())
        elif stats["tasks"] > MANY_TASKS and not (self._asked or self._exact or self._paused):
            self._asked = True
            self._marks = mark_steps(self._module, self._step)
            self._core.mark_steps(self._marks is not None)
        if self._exact is not None:
            self._core.purge()
        if stats["pending"] >= MOST_ROWS:
            self.recording.absorb_rows()
            self.recording.trim()

    def _attach_late(self) -> None:
        try:
            self._attach()
            if self._options.awaits == "exact":
                self._begin_exact()
        except CoreError as error:
            complain(self.stats, "core", error)
            self._hand_over()

    def _hand_over(self) -> None:
        """
        From now on Python looks at the tasks.
        """
        self._core.detach()
        self.recording.absorb()
        self._all = CoreTaskCollector(self.recording, finder=self.finder, labels=self._options.labels)

    def _last(self) -> None:
        self.end = now = self._core.finish()
        self._serve(now, is_last=True)
        self.recording.absorb()
        if self._all is not None:
            self._all.close(now)
        if self._answerer is not None:
            self._answerer.close(now)
            note_holders(self.recording, self.finder, self.stats)

    def now(self) -> int:
        """
        The time, ns from the start.
        """
        found: int = self._core.stats()["now"]
        return found

    def under_way(self, now: int) -> bytes:
        """
        The steps that are under way: as of the Python twin.
        """
        found: bytes = self._core.under_way(now)
        return found

    def measure(self) -> None:
        """
        Have in `stats` what was done until now.
        """
        found, stats = self._core.stats(), self.stats
        seconds = max(1, self.end or found["now"]) / 1e9
        stats.ticks_taken, stats.ticks_missed = found["taken"] + 1, found["missed"]
        stats.ticks_asked = stats.ticks_taken + stats.ticks_missed
        stats.hz = stats.ticks_taken / seconds
        stats.hz_tasks = found["rounds"] / seconds
        stats.overhead = found["spent"] / 1e9 / seconds
        stats.pause_max = found["longest"] / 1e9
        stats.observations = self.recording.observations
        stats.tracks = len(self.recording.tracks)
        stats.cut = self.recording.cut
        stats.steps, lost, failed = self._core.steps_stats()
        if failed:
            stats.failed["spill"] = f"{os.strerror(failed)}"
        stats.failed.update(dropped(self.recording))
        if lost:
            stats.failed["steps"] = f"{lost} were not noted"
        if found["failed"]:
            stats.failed["core"] = "MemoryError: no memory for the recording"
