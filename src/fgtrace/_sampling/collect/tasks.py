"""
Every asyncio task of every running loop: its await chain, and what it waits for.

Theory of operation: a task whose waiter is the same, pending future as at the last tick has not run, so
nothing of it changed. That comparison is all that an idle task costs. Otherwise the chain is walked and the
waiter is read. A task without a waiter is on a thread's stack (`is_running`), or is runnable.

Identity: a free list hands the address of a dead future to the next one, and a strong reference to a waiter
or a task would keep it alive. So both are known by weak reference, and compared as objects.

Known weakness: between two ticks a task may have woken and begun another wait; ticks see only the second. And
the interpreter may switch threads in the middle of a tick that takes longer than the switch interval, so the
waiter is read again after each walk, and a torn walk is dropped.
"""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from types import FrameType
from typing import Any

from fgtrace._model.values import Waiter, WaiterKind
from fgtrace._recording.recording import GONE, LoopEntry, Recording, TrackEntry
from fgtrace._sampling.collect.await_chain import Walker, is_running
from fgtrace._sampling.collect.task_discovery import LoopFinder, TaskSource
from fgtrace._sampling.collect.waiters import WaiterReader, owner_of

__all__ = [
    "SeenLoop",
    "SeenTask",
    "TaskCollector",
    "coroutine_name",
    "labels_of",
    "no_reference",
    "note_name",
    "weak_reference",
]


def no_reference() -> None:
    """
    Stand for the weak reference to a waiter where there is none: it returns None.
    """


class SeenTask:
    """
    Hold what was last sampled of one task.

    Attributes:
        track: its track.
        waiter: a weak reference to its waiter.
        stack, detail: its last observation.
        skip: whether ticks pass it over: it has ended, or its steps are noted.
        exact: whether its steps are noted.
    """

    __slots__ = ("detail", "exact", "skip", "stack", "track", "waiter")

    def __init__(self, track: int) -> None:
        self.track = track
        self.waiter: Callable[[], Any] = no_reference
        self.stack = GONE
        self.detail = -1
        self.skip = False
        self.exact = False


class SeenLoop:
    """
    Hold what was last sampled of one event loop.

    Attributes:
        index: its index in the recording.
        loop: a weak reference to it.
        ready: the length of its ready queue.
        thread: the ident of the thread in which it runs, 0 until known.
    """

    __slots__ = ("index", "loop", "ready", "thread")

    def __init__(self, index: int, loop: Any) -> None:
        self.index = index
        self.loop = weakref.ref(loop)
        self.ready = -1
        self.thread = 0


class TaskCollector:
    """
    Sample every task's await chain and its waiter.

    Args:
        recording: is filled.
        finder: knows running loops; the trace tells it of the loop in which it was started.
        labels: context variables to note, where the interpreter shows a task's context.
    """

    name = "tasks"

    def __init__(
        self,
        recording: Recording,
        *,
        finder: LoopFinder | None = None,
        labels: Sequence[ContextVar[Any]] = (),
    ) -> None:
        self._recording = recording
        self._walker = Walker(recording)
        self._finder = finder or LoopFinder()
        self._labels = labels
        self._source: TaskSource | None = None
        self._reader: WaiterReader
        self._seen: dict[Callable[[], Any], SeenTask] = {}
        self._loops: dict[Callable[[], Any], SeenLoop] = {}
        self._waiter_indices: dict[tuple[WaiterKind, type, int], int] = {}
        self._count = 0
        self._running = recording.intern_waiter(Waiter("running"))
        self._runnable = recording.intern_waiter(Waiter("runnable"))

    def sample(self, now: int, frames: dict[int, FrameType]) -> None:
        references = self._find_tasks(frames)
        known = self._seen
        before = len(known)
        changed = []
        for reference in references:
            task = reference()
            if task is None:
                continue
            seen = known.get(reference)
            waiter = task._fut_waiter
            if seen is None:
                seen = self._first_seen(now, reference, task)
                if seen is None:
                    continue
            elif (waiter is not None and seen.waiter() is waiter and not waiter.done()) or seen.skip:
                continue
            changed.append((seen, task, waiter))
        for seen, task, waiter in changed:  # now that every task has its track: a waiter may be any task
            self._sample_task(now, seen, task, waiter, frames)
        if len(references) != self._count or len(known) != before:
            self._count = len(references)
            self._end_missing(now, references)
        self._note_ready_queues(now)

    def conclude(self, now: int) -> None:
        """
        Do nothing: all is read from the program itself.
        """

    def close(self, now: int) -> None:
        for reference, seen in self._seen.items():
            task = reference()
            if task is not None:
                note_name(self._recording.tracks[seen.track], task)

    def _find_tasks(self, frames: dict[int, FrameType]) -> list[Callable[[], Any]]:
        """
        Return a weak reference to each task; none before the program has imported asyncio.
        """
        if self._source is None:
            tasks = sys.modules.get("asyncio.tasks")
            if tasks is None or not hasattr(tasks, "_GatheringFuture"):  # it is not imported, or only in part
                return []
            self._source = TaskSource(self._finder, tasks)
            self._reader = WaiterReader(tasks)
        return self._source.references(frames)

    def _first_seen(self, now: int, reference: Callable[[], Any], task: Any) -> SeenTask | None:
        """
        Give a task its track, and return its `SeenTask`; None where the task is done, or its loop is not
        shown.

        None, too, for a task that is just being collected: its weak references are gone, so from Python 3.14
        on, where tasks are in a list, it looks like a new one.
        """
        if task.done() or gc.is_finalized(task) or gc.is_finalized(task.get_coro()):
            return None
        loop = self._seen_loop(task.get_loop())
        if loop is None:
            return None
        entry = TrackEntry("task", task.get_name(), now, loop=loop.index)
        if self._labels:
            entry.args.update(labels_of(task, self._labels))
        found = self._seen[reference] = SeenTask(self._recording.add_track(entry))
        return found

    def _sample_task(
        self, now: int, seen: SeenTask, task: Any, waiter: Any, frames: dict[int, FrameType]
    ) -> None:
        """
        Note a task's stack and waiter, if it has not moved on meanwhile.
        """
        coro = task.get_coro()
        if waiter is None and (coro is None or task.done()):
            self._end_track(now, seen, task)
            return
        if waiter is None and is_running(coro):
            elements, detail = self._frames_on_thread(task, coro, frames), self._running
        else:
            elements, leaf = self._walker.chain(coro)
            ready = waiter is None or waiter.done()
            detail = self._runnable if ready else self._intern_waiter(task, waiter, leaf)
            if task._fut_waiter is not waiter:  # torn: the task ran meanwhile
                return
        entry = self._recording.tracks[seen.track]
        note_name(entry, task)  # now: when the task has ended, it may be gone with its name
        if not entry.root:
            entry.root = coroutine_name(coro)
            self._note_parents(owner_of(task), [task])
        self._note(now, seen, elements, detail, waiter)

    def _note(self, now: int, seen: SeenTask, elements: list[int], detail: int, waiter: Any) -> None:
        seen.waiter = no_reference if waiter is None else weak_reference(waiter)
        stack = self._recording.intern_stack(elements)
        if stack != seen.stack or detail != seen.detail:
            seen.stack, seen.detail = stack, detail
            self._recording.observe(now, seen.track, stack, detail)

    def _frames_on_thread(self, task: Any, coro: Any, frames: dict[int, FrameType]) -> list[int]:
        """
        Return a running task's frames: those on its thread, from its own coroutine to the leaf.
        """
        root = getattr(coro, "cr_frame", None) or getattr(coro, "gi_frame", None)
        if not isinstance(root, FrameType):
            return []
        loop = self._seen_loop(task.get_loop())
        first = loop.thread if loop is not None else 0
        for ident in sorted(frames, key=lambda ident: ident != first):
            found = self._walker.frames(frames[ident], root)
            if found:
                if loop is not None and ident != first:
                    self._set_thread(loop, ident)
                return found
        # The thread is inside a greenlet, whose frames do not lead back to the coroutine.
        inner = self._walker.frames(frames[first]) if "greenlet" in sys.modules and first in frames else []
        return [*inner, self._walker.element(root)]

    def _intern_waiter(self, task: Any, waiter: Any, leaf: Any) -> int:
        """
        Return the index of what a task waits for, and note the tasks behind it as the task's children.
        """
        kind, behind = self._reader.read(waiter, leaf)
        if behind:
            self._note_parents(task, behind)
        key = (kind, type(waiter), self.track_of(behind[0]) if len(behind) == 1 else -1)
        found = self._waiter_indices.get(key)
        if found is None:
            name = f"{key[1].__module__}.{key[1].__qualname__}"
            found = self._waiter_indices[key] = self._recording.intern_waiter(Waiter(kind, name, key[2]))
        return found

    def track_of(self, task: Any) -> int:
        """
        Return a task's track, -1 where it was not seen.
        """
        seen = self._seen.get(weakref.ref(task))
        return -1 if seen is None else seen.track

    def _note_parents(self, parent: Any, children: Sequence[Any]) -> None:
        """
        Note the parent of tasks, if both sides were seen.
        """
        track = -1 if parent is None else self.track_of(parent)
        if track < 0:
            return
        for child in children:
            child_track = self.track_of(child)
            if child_track >= 0:
                self._recording.note_parent(track, child_track)

    def _seen_loop(self, loop: Any) -> SeenLoop | None:
        """
        Return what is known of a loop, which gets its index when it is first seen; None for one that is not
        shown.
        """
        reference = weakref.ref(loop)
        found = self._loops.get(reference)
        if found is None and self._is_shown(loop):
            found = self._loops[reference] = SeenLoop(self._add_loop(loop), loop)
            self._set_thread(found, self._thread_of(loop))
        return found

    def _is_shown(self, loop: Any) -> bool:
        """
        Return whether the tasks of a loop that was not seen before are shown: they are if it runs.
        """
        running: bool = loop.is_running()
        return running

    def _add_loop(self, loop: Any) -> int:
        """
        Add a loop to the recording, and return its index.
        """
        type_ = type(loop)
        return self._recording.add_loop(LoopEntry(f"{type_.__module__}.{type_.__qualname__}"))

    def _thread_of(self, loop: Any) -> int:
        """
        Return the ident of the thread in which a loop runs, 0 where it is not known.
        """
        ident = getattr(loop, "_thread_id", None)
        if type(ident) is int:
            return ident
        return next((ident for ident, known in self._finder.running_loops().items() if known is loop), 0)

    def _set_thread(self, loop: SeenLoop, ident: int) -> None:
        loop.thread = ident
        thread = threading._active.get(ident)  # type: ignore[attr-defined]  # see threads.py
        if thread is not None:
            self._recording.loops[loop.index].thread = thread.name

    def _note_ready_queues(self, now: int) -> None:
        """
        Note the length of each loop's ready queue, if it changed.
        """
        for known in list(self._loops.values()):
            ready = getattr(known.loop(), "_ready", None)
            if type(ready) is deque and len(ready) != known.ready:
                known.ready = len(ready)
                self._recording.note_ready_queue(now, known.index, known.ready)

    def _end_missing(self, now: int, references: list[Callable[[], Any]]) -> None:
        """
        End the tracks of tasks that no longer exist.
        """
        try:
            here = set(references)
        except TypeError:  # a dead reference that was never hashed has no hash
            here = {each for each in references if _is_hashable(each)}
        for reference in self._seen.keys() - here:
            seen = self._seen.pop(reference)
            if not seen.skip:
                self._end_track(now, seen, reference())

    def _end_track(self, now: int, seen: SeenTask, task: Any) -> None:
        """
        End a task's track.
        """
        seen.skip = True
        seen.waiter = no_reference
        entry = self._recording.tracks[seen.track]
        entry.end = now
        if task is not None:
            note_name(entry, task)
        self._recording.observe(now, seen.track, GONE, 0)


def _is_hashable(reference: Callable[[], Any]) -> bool:
    try:
        hash(reference)
    except TypeError:
        return False
    return True


def weak_reference(waiter: Any) -> Callable[[], Any]:
    """
    Return a weak reference to a waiter. A future of the program's own may allow none: then its task is
    sampled at each tick.
    """
    try:
        return weakref.ref(waiter)
    except TypeError:
        return no_reference


def labels_of(task: Any, labels: Sequence[ContextVar[Any]]) -> dict[str, str | int]:
    """
    Return the values of context variables in a task's context, where the interpreter shows it; texts and
    integers only.
    """
    if not hasattr(task, "get_context"):
        return {}
    context = task.get_context()
    found = {label.name: context.get(label) for label in labels}
    return {name: value for name, value in found.items() if type(value) in (str, int)}


def coroutine_name(coro: Any) -> str:
    """
    Return a coroutine's qualified name, or that of its type. Where a decorator made the function, the name is
    that of the wrapped function.
    """
    name = getattr(coro, "__qualname__", "")
    return name if type(name) is str and name else type(coro).__name__


def note_name(entry: TrackEntry, task: Any) -> None:
    """
    Note a task's name, and keep the first one if it was renamed.
    """
    name = task.get_name()
    if name != entry.name:
        entry.args.setdefault("former name", entry.name)
        entry.name = name
