"""
Every step of every task, noted as it begins and ends: exact awaits in Python.

Theory of operation: asyncio's loops run handles, one after the other, and a handle is a step of a task or a
callback. The wrappers of `fgtrace._sampling.exact.python_hooks` tell when a handle begins and ends, and when
it is scheduled. Scheduling is what wakes a task, so the waker is the step that is open in that thread. After
a step its task is suspended, so its chain is walked and its waiter read at once. Ticks only find the tasks
that were there before the trace, and sample the open steps.

This runs in the program's threads, in the midst of their steps: it raises nothing into them, and it is
unplugged if something of it fails. A finalizer or a signal handler may run in the middle of it and schedule
something. Such a handle is left out, since the tables are being changed.

The step that is open when the trace begins was not seen to begin, and its end would not be seen either. So a
handle of ours is put into the loop's queue: where that runs, the step before it has ended.
"""

from __future__ import annotations

import importlib
import sys
import threading
import weakref
from array import array
from collections.abc import Callable, Container
from contextlib import suppress
from types import FrameType
from typing import Any

from fgtrace._recording.recording import EMPTY, GONE, LoopEntry, Recording
from fgtrace._recording.step_records import NOBODY, THREAD, pack_step
from fgtrace._sampling.collect.await_chain import is_running
from fgtrace._sampling.collect.tasks import SeenLoop, SeenTask, TaskCollector, note_name
from fgtrace._sampling.exact.callback_names import CallbackTable, StepCallbacks
from fgtrace._sampling.exact.open_steps import (
    OpenStep,
    is_still_running,
    mark_of_first_step,
    source_of_handle,
)
from fgtrace._sampling.exact.python_hooks import add_listener, remove_listener

__all__ = ["ExactTaskCollector"]

#: Handles that may be queued before those that were collected without running are dropped.
MANY_QUEUED = 1000
#: A search for eager tasks that took longer than `LONGEST_SEARCH` (ns) is repeated only after
#: `SEARCH_SHARE` times its length.
LONGEST_SEARCH, SEARCH_SHARE = 50_000, 20


class ExactTaskCollector(TaskCollector):
    """
    Sample tasks as `TaskCollector`, and note every step of the tasks of asyncio's own loops.

    Args:
        recording: is filled, by several threads.
        now: returns the time, ns on the trace's clock.
        hidden: idents of the tracer's own threads.
        failed: is told what failed.
        rest: see `TaskCollector`.
    """

    def __init__(
        self,
        recording: Recording,
        *,
        now: Callable[[], int],
        hidden: Container[int],
        failed: Callable[[str, Exception], None],
        **rest: Any,
    ) -> None:
        super().__init__(recording, **rest)
        self._now = now
        self._hidden = hidden
        self._failed = failed
        self._lock = threading.Lock()
        self._loop_lock = threading.Lock()
        self._callbacks = CallbackTable(recording)
        self._is_open = self._has_begun = False
        self._inside: set[int] = set()
        self._coming: dict[int, tuple[int, int, int]] = {}
        self._open: dict[int, OpenStep] = {}
        self._queued: dict[int, tuple[Callable[[], Any], int, int, bool]] = {}
        self._next_search = 0

    def begin(self) -> None:
        """
        Begin to note steps, and sample the tasks that are there.
        """
        for name in ("asyncio.base_events", "asyncio.tasks"):  # the program is likely to import them anyway
            importlib.import_module(name)
        self._base: type = sys.modules["asyncio.base_events"].BaseEventLoop
        self._steps = StepCallbacks(sys.modules["asyncio.tasks"])
        ident = threading.get_ident()
        self._is_open = add_listener(self)
        if not self._is_open:
            self._failed("awaits", RuntimeError("another tool's wrapper lies over ours in asyncio"))
            return
        self._inside.add(ident)
        try:
            self.sample(0, sys._current_frames())
            self._find_open_steps(ident)
        except Exception as error:  # the observer is a guest
            self._unplug(error)
        finally:
            self._inside.discard(ident)
        self._has_begun = True

    def end(self) -> None:
        """
        Note steps no more.
        """
        self._is_open = False
        remove_listener(self)

    def sample(self, now: int, frames: dict[int, FrameType]) -> None:
        super().sample(now, frames)
        for ident, step in list(self._open.items()):
            if step.seen is not None and ident in frames:
                self._sample_open_step(now, ident, step, frames[ident])
        self._check_loops()
        if len(self._queued) > MANY_QUEUED:
            for key, entry in list(self._queued.items()):
                if entry[0]() is None and self._queued.get(key) is entry:
                    del self._queued[key]

    def close(self, now: int) -> None:
        self._recording.steps.frombytes(self.open_steps(now))
        self._open.clear()
        super().close(now)

    def open_steps(self, now: int) -> bytes:
        """
        Return the steps that are open, as if they ended at ``now`` (ns): see
        `fgtrace._recording.step_records`.
        """
        found = array("q")
        for innermost in list(self._open.values()):
            step: OpenStep | None = innermost
            while step is not None:
                stack, detail = step.stack, step.detail
                if step.seen is not None:
                    was_seen = step.seen.detail == self._running
                    stack, detail = (step.seen.stack if was_seen else EMPTY), self._running
                end = max(step.start, now)
                found.extend(pack_step(step.start, end, step.ready, step.track, step.waker, stack, detail))
                step = step.outer
        return found.tobytes()

    # called by the hooks

    def entered(self, handle: Any) -> None:
        start, ident = self._now(), threading.get_ident()
        if not self._is_open or ident in self._inside:
            return
        self._inside.add(ident)
        try:
            self._enter(handle, ident, start)
        except Exception as error:  # the observer is a guest
            self._unplug(error)
        finally:
            self._inside.discard(ident)

    def left(self, handle: Any) -> None:
        end, ident = self._now(), threading.get_ident()
        step = self._open.get(ident)
        if step is None or (step.handle is not handle and step.handle is not None):
            return
        if not self._is_open or ident in self._inside:
            return
        self._inside.add(ident)
        try:
            self._leave(ident, end)
        except Exception as error:  # the observer is a guest
            self._unplug(error)
        finally:
            self._inside.discard(ident)

    def schedules(self, loop: Any, callback: Any) -> None:
        ident = threading.get_ident()
        if self._is_open and ident not in self._inside and ident not in self._hidden:
            self._coming[ident] = self._now(), id(loop), id(callback)

    def scheduled(self, handle: Any) -> None:
        ident = threading.get_ident()
        if not self._is_open or ident in self._inside or ident in self._hidden:
            return
        self._inside.add(ident)
        try:
            self._schedule(handle, ident)
        except Exception as error:  # the observer is a guest
            self._unplug(error)
        finally:
            self._inside.discard(ident)

    def _unplug(self, error: Exception) -> None:
        self.end()
        self._failed("awaits", error)

    def _enter(self, handle: Any, ident: int, start: int) -> None:
        outer = self._open.get(ident)
        if outer is not None and outer.handle is None and not is_still_running(outer):
            self._leave(ident, start)  # that step ended before this one began
            outer = None
        loop = self._seen_loop(handle._loop)
        callback = handle._callback
        if loop is None or callback is mark_of_first_step:
            return
        if loop.thread != ident:
            self._set_thread(loop, ident)
            self._finder.add(ident, handle._loop)
        queued = self._queued.pop(id(handle), None)
        if queued is None or queued[0]() is not handle:
            queued = self._from_elsewhere(handle)
        step = OpenStep(handle, start, *((-1, NOBODY) if queued is None else queued[1:3]))
        step.outer = outer
        task = self._steps.task_of(callback)
        if task is None:
            source = source_of_handle(handle, queued)
            step.set_callback(loop.index, self._callbacks.number(callback), source)
        elif not self._is_known(step, task):
            return
        self._open[ident] = step

    def _from_elsewhere(self, handle: Any) -> tuple[Callable[[], Any], int, int, bool] | None:
        """
        Return what another thread is just about to tell of a handle that it has put into this loop's queue;
        None where there is no such thread.
        """
        this = id(handle._loop), id(handle._callback)
        for ident, (now, *coming) in list(self._coming.items()):
            if this == tuple(coming):
                return weakref.ref(handle), now, self._waker(ident, is_elsewhere=True), True
        return None

    def _waker(self, ident: int, *, is_elsewhere: bool) -> int:
        """
        Return the waker of what a thread schedules now: see `fgtrace._recording.step_records`.
        """
        step = self._open.get(ident)
        return step.word if step is not None else THREAD if is_elsewhere else NOBODY

    def _is_known(self, step: OpenStep, task: Any) -> bool:
        """
        Note whose step it is, and return True; return False for a task that has ended.
        """
        reference = weakref.ref(task)
        seen = self._seen.get(reference)
        if seen is None:
            time = step.ready if step.ready >= 0 else step.start
            seen = self._first_seen(time, reference, task)
            if seen is None:
                return False
            self._sample_task(time, seen, task, task._fut_waiter, {})
        entry = self._recording.tracks[seen.track]
        if entry.start == step.ready:  # a name given right after the task was made is its first one
            entry.name = task.get_name()
        step.set_task(reference, seen)
        return True

    def _leave(self, ident: int, end: int) -> None:
        step = self._open.pop(ident, None)
        if step is None:  # the trace ended meanwhile
            return
        if step.outer is not None:
            self._open[ident] = step.outer
        seen, task = step.seen, step.reference()
        if seen is not None:
            step.stack, step.detail = self._after(task, seen)
        if step.handle is not None and getattr(step.handle._loop, "_task_factory", None) is not None:
            self._find_eager(step, end)
        self._note_step(step, end)
        if seen is not None and step.stack == GONE:
            entry = self._recording.tracks[seen.track]
            entry.end = max(end, step.start)
            if task is not None:
                note_name(entry, task)
            self._seen.pop(step.reference, None)

    def _after(self, task: Any, seen: SeenTask) -> tuple[int, int]:
        """
        Return the stack and the waiter with which a task has suspended.
        """
        if task is None or task.done():
            return GONE, 0
        waiter = task._fut_waiter
        elements, leaf = self._walker.chain(task.get_coro())
        ready = waiter is None or waiter.done()
        seen.detail = self._runnable if ready else self._intern_waiter(task, waiter, leaf)
        seen.stack = self._recording.intern_stack(elements)
        return seen.stack, seen.detail

    def _note_step(self, step: OpenStep, end: int) -> None:
        start = step.start
        self._recording.note_step(
            start, max(start, end), step.ready, step.track, step.waker, step.stack, step.detail
        )

    def _schedule(self, handle: Any, ident: int) -> None:
        now = self._now()
        callback, runs_in = handle._callback, handle._loop._thread_id
        is_elsewhere = runs_in is not None and runs_in != ident
        self._coming.pop(ident, None)
        step, waker = self._open.get(ident), self._waker(ident, is_elsewhere=is_elsewhere)
        task = self._steps.task_of(callback)
        if task is not None and self._steps.is_step(callback):
            reference = weakref.ref(task)
            if reference not in self._seen:
                self._born(now, reference, task, step)
        self._queued[id(handle)] = (weakref.ref(handle), now, waker, is_elsewhere)

    def _born(self, now: int, reference: Callable[[], Any], task: Any, creator: OpenStep | None) -> None:
        """
        Give a new task its track: the step that is open in this thread made it, and it has not run yet.
        """
        seen = self._first_seen(now, reference, task)
        if seen is not None:
            if creator is not None and creator.seen is not None:
                self._recording.note_parent(creator.track, seen.track)
            self._sample_task(now, seen, task, task._fut_waiter, {})

    def _find_eager(self, step: OpenStep, end: int) -> None:
        """
        Find tasks that began within a step and wait as it ends: they have run without a handle.

        Where listing all tasks is slow, it is not done after each step.
        """
        began = self._now()
        if began < self._next_search or self._source is None:
            return
        for reference in self._source.references({}):
            task = None if reference in self._seen else reference()
            if task is not None:
                self._born(end, reference, task, step)
        now = self._now()
        self._next_search = now + (now - began) * SEARCH_SHARE if now - began > LONGEST_SEARCH else 0

    # called by ticks

    def _find_open_steps(self, ident: int) -> None:
        """
        Find the steps that are open as the trace begins, and have their ends noted.
        """
        for reference, seen in list(self._seen.items()):
            task = reference()
            if task is None or not seen.exact or not is_running(task.get_coro()):
                continue
            loop = self._seen_loop(task.get_loop())
            if loop is None or not loop.thread or loop.thread in self._open:
                continue
            step = OpenStep(None, 0, -1, NOBODY)
            step.set_task(reference, seen)
            self._open[loop.thread] = step
            with suppress(RuntimeError):  # the loop was closed just now
                if loop.thread == ident:
                    task.get_loop().call_soon(mark_of_first_step)
                else:
                    task.get_loop().call_soon_threadsafe(mark_of_first_step)

    def _sample_open_step(self, now: int, ident: int, step: OpenStep, frame: FrameType) -> None:
        """
        Note what a task runs in its open step.
        """
        task = step.reference()
        coro = None if task is None else task.get_coro()
        root = getattr(coro, "cr_frame", None) or getattr(coro, "gi_frame", None)
        elements = self._walker.frames(frame, root) if isinstance(root, FrameType) else []
        if elements and step.seen is not None and self._open.get(ident) is step:
            self._note(max(now, step.start), step.seen, elements, self._running, None)

    def _check_loops(self) -> None:
        for known in list(self._loops.values()):
            entry, loop = self._recording.loops[known.index], known.loop()
            if entry.exact and entry.end < 0 and (loop is None or loop.is_closed()):
                entry.end = self._now()

    def _first_seen(self, now: int, reference: Callable[[], Any], task: Any) -> SeenTask | None:
        with self._lock:
            found = self._seen.get(reference)
            if found is None:
                found = super()._first_seen(now, reference, task)
                if found is not None:
                    loop = self._recording.tracks[found.track].loop
                    found.skip = found.exact = self._recording.loops[loop].exact  # no tick samples it
        return found

    def _end_missing(self, now: int, references: list[Callable[[], Any]]) -> None:
        for reference in set(self._seen) - set(references):
            seen = self._seen.get(reference)
            task = reference()
            if seen is None or (seen.exact and not self._is_over(reference, seen, task)):
                continue  # it came after the list was made, or its last step is still to be noted
            self._seen.pop(reference, None)
            if seen.exact or not seen.skip:
                # since the tick began it may have made a step, and been collected
                self._end_track(self._now() if seen.exact else now, seen, task)

    def _is_over(self, reference: Callable[[], Any], seen: SeenTask, task: Any) -> bool:
        """
        Return whether a task has ended, and no thread is about to note that with the end of its last step.

        A step is open until its thread is among `_inside`, and its task is known until the step was noted: so
        they are read in this order.
        """
        if task is None:
            return True
        if not task.done() or self._has_open_step(seen) or self._inside:
            return False
        return self._seen.get(reference) is seen

    def _has_open_step(self, seen: SeenTask) -> bool:
        for innermost in list(self._open.values()):
            step: OpenStep | None = innermost
            while step is not None:
                if step.seen is seen:
                    return True
                step = step.outer
        return False

    def _seen_loop(self, loop: Any) -> SeenLoop | None:
        found = self._loops.get(weakref.ref(loop))
        if found is None:
            with self._loop_lock:
                found = super()._seen_loop(loop)
        return found

    def _is_shown(self, loop: Any) -> bool:
        return (self._is_open and isinstance(loop, self._base)) or super()._is_shown(loop)

    def _add_loop(self, loop: Any) -> int:
        type_ = type(loop)
        exact = self._is_open and isinstance(loop, self._base)
        start = self._now() if self._has_begun else 0
        return self._recording.add_loop(
            LoopEntry(f"{type_.__module__}.{type_.__qualname__}", exact=exact, start=start)
        )
