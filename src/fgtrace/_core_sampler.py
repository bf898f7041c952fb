"""
The sampler over the C core: it answers what the core asks, and fetches what it noted.

The core keeps the time and takes the ticks without Python (see clock.c). A thread of ours sleeps until
there is something that only Python can do: read a waiter of an uncommon kind, follow a chain through a
compiled coroutine or a greenlet, look at tasks that are of Python themselves. All of that is policy that
the Python collectors have, so they are used.
"""

from __future__ import annotations

import _thread
import sys
import threading
from contextlib import suppress
from types import FrameType, ModuleType
from typing import Any

from fgtrace._collect._core_recording import KINDS, CoreRecording
from fgtrace._collect._native import CoreError, end_types, fields_of, load, marks, opaque_types
from fgtrace._collect._sources import LoopFinder, TaskSource
from fgtrace._collect._steps import leave_steps, mark_steps
from fgtrace._collect._waits import WaitReader, owner_of
from fgtrace._collect._walk_py import Walker, is_running
from fgtrace._collect.asyncio_tasks import TaskCollector, labels_of, root_name
from fgtrace._collect.threads import LOOKS
from fgtrace._config import Options
from fgtrace._forks import forget, wait_for_end, watch
from fgtrace._sampler import Stats, complain, own_threads

__all__ = ["CoreSampler"]

#: Of a tick's share of `max_overhead`, what the look at the tasks may take; and its bounds, in ns.
TASKS_SHARE, SHORTEST_LOOK, LONGEST_LOOK = 0.6, 20_000, 300_000
#: Bytes of a node of the core's tree with its place in the index.
NODE_BYTES = 28
#: Whether native tasks are in lists of the interpreter, and its sets have the others only.
NATIVE_LISTS = sys.version_info[:2] >= (3, 14)
WAIT, CHAIN, OWNER, LABELS = range(4)  # in the order of core.h
RUNNING, RUNNABLE = range(2)
AS_IT_IS = -2
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
        self._answerer: _Answerer | None = None
        self._all: TaskCollector | None = None  # where the core cannot look at the tasks
        self._marks = False
        self._step: type = type(None)  # asyncio's wrapper of a task's step
        self._paused = False
        self._switch = threading.Lock()  # between the program's forks and `stop`
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
        self._answerer = _Answerer(self.recording, tasks, self.finder, self._options)

    def start(self) -> None:
        """
        Begin.
        """
        self._name_loops()
        self._begin()
        watch(self)

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
        self._thread = threading.Thread(
            target=self._run, args=(hidden,), name="fgtrace sampler", daemon=True
        )
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
        if self._marks:
            self._core.mark_steps(False)
            leave_steps()
        self._settle()

    def _run(self, hidden: threading.Event) -> None:
        ident = _thread.get_ident()
        own_threads.add(ident)
        hidden.set()
        try:
            while self._core.wait():
                self._guarded(lambda: self._serve(self._core.stats()["now"]))
            if not self._paused:
                self._guarded(self._last)
        finally:
            own_threads.discard(ident)

    def _guarded(self, do: Any) -> None:
        try:
            do()
        except Exception as error:  # the observer is a guest
            complain(self.stats, "core", error)
            self._core.detach()

    def _serve(self, now: int) -> None:
        """
        Do what waits to be done.
        """
        stats = self._core.stats()
        if self._answerer is None and self._all is None and self._options.tasks:
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
        elif stats["tasks"] > MANY_TASKS and not self._marks and not self._paused:
            self._marks = True
            self._core.mark_steps(mark_steps(self._module, self._step))
        if stats["pending"] >= MOST_ROWS:
            self.recording.absorb_rows()
            self.recording.trim()

    def _attach_late(self) -> None:
        try:
            self._attach()
        except CoreError as error:
            complain(self.stats, "core", error)
            self._hand_over()

    def _hand_over(self) -> None:
        """
        From now on Python looks at the tasks.
        """
        self._core.detach()
        self.recording.absorb()
        self._all = _CoreTaskCollector(self.recording, finder=self.finder, labels=self._options.labels)

    def _last(self) -> None:
        now = self._core.stats()["now"]
        self._core.look(now)
        self.end = now
        self._serve(now)
        self.recording.absorb()
        if self._all is not None:
            self._all.close(now)
        if self._answerer is not None:
            self._answerer.close(now)

    def _settle(self) -> None:
        self.recording.absorb()
        self.recording.settle()
        found, stats = self._core.stats(), self.stats
        self.end = self.end or found["now"]
        seconds = max(1, self.end) / 1e9
        stats.ticks_taken, stats.ticks_missed = found["taken"] + 1, found["missed"]
        stats.ticks_asked = stats.ticks_taken + stats.ticks_missed
        stats.hz = stats.ticks_taken / seconds
        stats.hz_tasks = found["rounds"] / seconds
        stats.overhead = found["spent"] / 1e9 / seconds
        stats.pause_max = found["longest"] / 1e9
        stats.observations = self.recording.observations
        stats.tracks = len(self.recording.tracks)
        stats.cut = self.recording.cut
        if found["failed"]:
            stats.failed["core"] = "MemoryError: no memory for the recording"


class _Answerer:
    """
    Reads what the core could not, from what lives yet.
    """

    def __init__(
        self, recording: CoreRecording, tasks: ModuleType, finder: LoopFinder, options: Options
    ) -> None:
        self._recording = recording
        self._core = recording.core
        self._reader = WaitReader(tasks)
        self._walker = Walker(recording)
        self._options = options
        self._foreign = _ForeignCollector(recording, tasks, finder=finder, labels=options.labels)

    def look(self, now: int) -> None:
        """
        Look at the tasks that are of Python.
        """
        self._foreign.look(now, sys._current_frames())

    def close(self, now: int) -> None:
        """
        The trace ends.
        """
        self._foreign.close(now)

    def answer(self, kind: int, task: Any, waiter: Any, row: int, _time: int, track: int) -> None:
        """
        Answer one question of the core's, if it is still one.
        """
        if kind == OWNER:
            self._adopt(self._core.track_of(owner_of(task)), [track])
        elif kind == LABELS:
            self._recording.label(track, labels_of(task, self._options.labels))
        elif task._fut_waiter is waiter:
            if kind == CHAIN:
                self._recording.root(track, root_name(task.get_coro()))
            if waiter is None and is_running(task.get_coro()):
                self._core.amend(task, row, AS_IT_IS, RUNNING)
            else:
                self._amend(kind, task, waiter, row, track)

    def _amend(self, kind: int, task: Any, waiter: Any, row: int, track: int) -> None:
        elements, leaf = self._walker.chain(task.get_coro())
        detail = RUNNABLE
        if waiter is not None and not waiter.done():
            wait, behind = self._reader.read(waiter, leaf)
            tracks = [self._core.track_of(each) for each in behind]
            self._adopt(track, tracks)
            detail = self._core.wait_number(
                KINDS.index(wait), type(waiter), tracks[0] if len(tracks) == 1 else -1
            )
        stack = self._recording.stack(elements) if kind == CHAIN else AS_IT_IS
        if task._fut_waiter is waiter:  # else it ran while we looked
            self._core.amend(task, row, stack, detail)

    def _adopt(self, above: int, children: list[int]) -> None:
        for child in children:
            if above >= 0 and child >= 0:
                self._recording.adopt(above, child)


class _CoreTaskCollector(TaskCollector):
    """
    The Python collector, writing into a recording whose hot half is in C.
    """

    _recording: CoreRecording

    def _number(self, loop: Any) -> int:
        found: int = self._recording.core.loop(loop)
        self._recording.absorb()
        return found

    def _track_of(self, task: Any) -> int:
        found = super()._track_of(task)
        return self._recording.core.track_of(task) if found < 0 else found

    def _ready(self, now: int) -> None:
        """
        The core counts the ready queues.
        """


class _ForeignCollector(_CoreTaskCollector):
    """
    Looks at the tasks that are of Python: a subclass of ``_PyTask``, another library's.
    """

    def __init__(self, recording: CoreRecording, tasks: ModuleType, **rest: Any) -> None:
        super().__init__(recording, **rest)
        self._tasks = tasks

    def _references(self, frames: dict[int, FrameType]) -> list[Any]:
        if self._source is None:
            self._source = TaskSource(self._finder, self._tasks)
            self._reader = WaitReader(self._tasks)
        if not NATIVE_LISTS:
            found: list[Any] = self._recording.core.foreign()
            return found
        return [
            reference for reference in self._source.listed() if not isinstance(reference(), self._tasks.Task)
        ]
