"""
The sampler over the C core: the core takes the ticks, and Python answers its questions and fetches its notes.

The core keeps the time and takes ticks without Python (`src/core/clock/`). The sampler's thread sleeps until
there is something that only Python can do: to judge a waiter of an uncommon kind, to follow a chain through a
compiled coroutine or a greenlet, to sample tasks that are made in Python. All of that is policy that the
Python collectors have, so they are used.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from typing import Any

from fgtrace._options.options import Options
from fgtrace._recording.core_recording import CoreRecording
from fgtrace._sampling.collect.garbage_collections import GcCallback
from fgtrace._sampling.collect.tasks import TaskCollector
from fgtrace._sampling.collect.threads import THREAD_SAMPLES
from fgtrace._sampling.core_answers import Answerer, CoreTaskCollector
from fgtrace._sampling.core_calibration import (
    CoreError,
    end_types,
    fields_of,
    load_core,
    marked_codes,
    opaque_types,
)
from fgtrace._sampling.exact.core_hooks import Hooks, hook_steps, unhook_steps
from fgtrace._sampling.exact.open_steps import mark_of_first_step
from fgtrace._sampling.own_threads import own_threads
from fgtrace._sampling.sampler import Figures, Sampler
from fgtrace._sampling.stats import Stats

__all__ = ["CoreSampler"]

#: The part of a tick's share of `max_overhead` that sampling tasks may take; and its bounds, ns.
TASKS_SHARE, SHORTEST_ROUND, LONGEST_ROUND = 0.6, 20_000, 300_000
#: Bytes of a node of the core's tree with its place in the index.
NODE_BYTES = 28
#: Ticks with which a trace with exact awaits begins, at most: 100,000 tasks take some hundred.
MOST_FIRST_TICKS = 2000


class CoreSampler(Sampler):
    """
    Take the ticks of one trace with the C core.

    Args:
        options: see `Options`.

    Raises:
        CoreError: the core is not there, or does not fit this interpreter.
    """

    recording: CoreRecording
    end = 0

    def __init__(self, options: Options) -> None:
        self._module = module = load_core()
        self._many_tasks: int = module.constants["MANY_TASKS"]  # when they are there, the core calls us
        self._most_rows: int = module.constants["MOST_ROWS"]
        self._period = round(1e9 / options.hz)
        self._core = module.Core(
            period=self._period,
            max_overhead=options.max_overhead,
            most_nodes=max(1024, options.max_memory // 2 // NODE_BYTES),
            tick_budget=round(
                min(LONGEST_ROUND, max(SHORTEST_ROUND, self._period * options.max_overhead * TASKS_SHARE))
            ),
            threads=options.threads,
            tasks=options.tasks,
            active=threading._active,  # type: ignore[attr-defined]  # see threads.py
            hidden=frozenset() if options.include_self else own_threads,
            opaque=opaque_types(),
        )
        super().__init__(options, CoreRecording(self._core, options.max_memory), Stats(core="c"))
        self.recording.thread_samples += THREAD_SAMPLES
        self._answerer: Answerer | None = None
        self._instead: TaskCollector | None = None  # samples the tasks where the core cannot
        self._marks: Hooks | None = None  # with very many tasks: these tell which of them ran
        self._tried_marks = False
        self._exact: Hooks | None = None
        self._collections = GcCallback(self._core.note_collection)
        self._step_type: type = type(None)  # asyncio's wrapper of a task's step
        if options.awaits == "exact":
            # the program is likely to import them anyway
            for name in ("asyncio.base_events", "asyncio.tasks"):
                importlib.import_module(name)
        if options.tasks:
            self._attach()

    def stop(self) -> None:
        super().stop()
        self._core.close()

    def measure(self) -> None:
        super().measure()
        _, lost, failed = self._core.steps_stats()
        if failed:
            self.stats.failed["spill"] = f"{os.strerror(failed)}"
        if lost:
            self.stats.failed["steps"] = f"{lost} were not noted"
        if self._core.stats()["failed"]:
            self.stats.failed["core"] = "MemoryError: no memory for the recording"

    @property
    def taken(self) -> int:
        found: int = self._core.stats()["taken"]
        return found

    def now(self) -> int:
        found: int = self._core.stats()["now"]
        return found

    def open_steps(self, now: int) -> bytes:
        found: bytes = self._core.open_steps(now)
        return found

    # what a sampler does, see `Sampler`

    def _prepare(self) -> None:
        """
        Tell the core of loops that are known to run: a compiled loop does not say in which thread.
        """
        for ident, loop in self.finder.running_loops().items() if self._answerer is not None else ():
            index = self._core.intern_loop(loop)
            if index >= 0:
                self._core.set_loop_thread(index, ident)

    def _begin_exact(self) -> None:
        """
        Have every step noted from now on, if the options ask for exact awaits. The step that runs in this
        thread is open.
        """
        if self._options.awaits != "exact" or self._answerer is None:  # no asyncio yet: see `_attach_late`
            return
        self._core.tick(0)
        for _ in range(MOST_FIRST_TICKS):  # until all tasks are known: the next step may be any task's
            if not self._core.stats()["behind"]:
                break
            self._core.tick(0)
        folder = os.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - a file without a name
        hooks = hook_steps(self._module, self._step_type, exact=True)
        if hooks is None:
            self.stats.failed["awaits"] = "another tool's wrapper lies over ours in asyncio"
        elif not self._core.begin_exact(folder, self._most_steps(), hooks.is_watching):
            unhook_steps(hooks)
            self.stats.failed["awaits"] = "too many traces with exact awaits at once"
        else:
            self._exact = hooks
            self._collections.start()
            self._note_running_step()

    def _end_exact(self) -> None:
        hooks, self._exact = self._exact, None
        if hooks is not None:
            self._collections.stop()
            unhook_steps(hooks)

    def _begin(self) -> None:
        super()._begin()
        try:
            self._core.run()
        except BaseException:
            self._core.halt()
            raise

    def _serve(self) -> None:
        while self._core.wait():
            self._guarded(lambda: self._answer(self.now()))

    def _halt(self) -> None:
        self._core.halt()

    def _finish(self) -> None:
        self._guarded(self._last)

    def _settle(self) -> None:
        if self._marks is not None:
            self._core.mark_steps(False)
            unhook_steps(self._marks)
        self._end_exact()
        self.end = self.end or self.now()
        self._fetch()

    def _fetch(self) -> None:
        self.recording.drain()
        self.recording.fetch_tables()

    def _figures(self) -> Figures:
        found = self._core.stats()
        return Figures(found["taken"] + 1, found["missed"], found["rounds"], found["spent"], found["longest"])

    def _track_of(self, task: Any) -> int:
        if self._instead is not None:
            return self._instead.track_of(task)
        return -1 if self._answerer is None else self._answerer.track_of(task)

    # towards the core

    def _attach(self) -> None:
        """
        Tell the core of asyncio, once the program has imported it.
        """
        tasks = sys.modules.get("asyncio.tasks")
        if tasks is None or not hasattr(tasks, "_GatheringFuture") or self._answerer is not None:
            return
        fields, self._step_type = fields_of(self._module, tasks)
        for code, flags in marked_codes(tasks):
            self._core.mark_code(code, flags)
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

    def _attach_late(self) -> None:
        """
        Do what `_attach` and `_begin_exact` could not do at the start: the program had not imported asyncio.
        """
        try:
            self._attach()
            self._begin_exact()
        except CoreError as error:
            self._failed("core", error)
            self._hand_over()

    def _hand_over(self) -> None:
        """
        Have Python sample the tasks from now on.
        """
        self._core.detach()
        self.recording.drain()
        self._instead = CoreTaskCollector(self.recording, finder=self.finder, labels=self._options.labels)

    def _most_steps(self) -> int:
        """
        Return the bytes of steps that the core keeps in memory; -1: all, since they are drained.
        """
        return self._options.max_memory // 2 if self.recording.spills else -1

    def _note_running_step(self) -> None:
        """
        Tell the core of the step that runs in this thread: it was not seen to begin.
        """
        events, tasks = sys.modules["asyncio.events"], sys.modules["asyncio.tasks"]
        loop = events._get_running_loop()
        if isinstance(loop, sys.modules["asyncio.base_events"].BaseEventLoop):
            task = tasks.current_task(loop)
            if task is not None:
                self._module.assume_step(loop, task)
                loop.call_soon(mark_of_first_step)  # where this runs, the step has ended

    def _guarded(self, do: Any) -> None:
        """
        Run a function while no snapshot is made. If it fails, the core samples tasks no more.
        """
        try:
            with self._fetching:
                do()
        except Exception as error:  # the observer is a guest
            self._failed("core", error)
            self._core.detach()

    def _answer(self, now: int, *, is_last: bool = False) -> None:
        """
        Do what only Python can do: answer the core's questions, sample what it cannot, and make room in it.

        Args:
            now: the time, ns from the start.
            is_last: whether this belongs to the last tick.
        """
        stats = self._core.stats()
        if self._answerer is None and self._instead is None and self._options.tasks and not is_last:
            self._attach_late()
        if self._answerer is not None:
            for question in self._core.drain_questions():
                self._answerer.answer(*question)
            if stats["foreign"]:
                self._answerer.sample(now)
        if stats["broken"] is not None and self._instead is None:
            self._failed("core", CoreError(stats["broken"]))
            self._hand_over()
        if self._instead is not None:
            self._instead.sample(now, sys._current_frames())
        elif stats["tasks"] > self._many_tasks and not (self._tried_marks or self._exact or self._is_paused):
            self._tried_marks = True
            self._marks = hook_steps(self._module, self._step_type)
            self._core.mark_steps(self._marks is not None)
        if self._exact is not None:
            self._core.purge()
        if stats["pending"] >= self._most_rows:
            self.recording.drain_rows()
            self.recording.trim()

    def _last(self) -> None:
        """
        Have the core take the last tick, and fetch what it noted.
        """
        self.end = now = self._core.finish()
        self._answer(now, is_last=True)
        self.recording.drain()
        if self._instead is not None:
            self._instead.close(now)
        if self._answerer is not None:
            self._answerer.close(now)
            self._note_holders(self.recording)
