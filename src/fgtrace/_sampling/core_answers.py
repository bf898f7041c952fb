"""
Answers to the C core's questions: uncommon waiters, chains through compiled coroutines, tasks that are made
in Python.

All of that is policy that the Python collectors have, so they are used, on the tasks that are still alive.
"""

from __future__ import annotations

import sys
from types import FrameType, ModuleType
from typing import Any

from fgtrace._options.options import Options
from fgtrace._recording.core_recording import WAITER_KINDS, CoreRecording
from fgtrace._sampling.collect.await_chain import Walker, is_running
from fgtrace._sampling.collect.task_discovery import LoopFinder, TaskSource
from fgtrace._sampling.collect.tasks import TaskCollector, coroutine_name, labels_of
from fgtrace._sampling.collect.waiters import WaiterReader, owner_of

__all__ = ["Answerer", "CoreTaskCollector"]

#: Whether native tasks are in lists of the interpreter, and its sets have the others only.
NATIVE_LISTS = sys.version_info[:2] >= (3, 14)
#: The kinds of questions, by the C core's numbers.
WAIT, CHAIN, OWNER, LABELS = range(4)
#: Details of a task that waits for nothing, and a stack that an answer leaves as it is, likewise.
RUNNING, RUNNABLE = range(2)
AS_IT_IS = -2


class Answerer:
    """
    Answer what the core could not read itself.

    Args:
        recording: the core's.
        tasks: the module ``asyncio.tasks``.
        finder: knows the running loops.
        options: ``labels`` matter.
    """

    def __init__(
        self, recording: CoreRecording, tasks: ModuleType, finder: LoopFinder, options: Options
    ) -> None:
        self._recording = recording
        self._core = recording.core
        self._reader = WaiterReader(tasks)
        self._walker = Walker(recording)
        self._options = options
        self._foreign = _ForeignCollector(recording, tasks, finder=finder, labels=options.labels)

    def sample(self, now: int) -> None:
        """
        Sample the tasks that are made in Python, at ``now`` (ns on the trace's clock).
        """
        self._foreign.sample(now, sys._current_frames())

    def track_of(self, task: Any) -> int:
        """
        Return a task's track, -1 where it was not seen.
        """
        return self._foreign.track_of(task)

    def close(self, now: int) -> None:
        """
        End the trace at ``now`` (ns on its clock).
        """
        self._foreign.close(now)

    def answer(self, kind: int, task: Any, waiter: Any, row: int, _time: int, track: int) -> None:
        """
        Answer one of the core's questions, if the task is still where it was when the core asked.

        Args:
            kind: what is asked: `WAIT`, `CHAIN`, `OWNER` or `LABELS`.
            task: the task.
            waiter: the future that it waited for; None where there was none.
            row: the row that the answer amends.
            track: the task's.
        """
        if kind == OWNER:
            self._note_parents(self._core.track_of(owner_of(task)), [track])
        elif kind == LABELS:
            self._recording.note_labels(track, labels_of(task, self._options.labels))
        elif task._fut_waiter is waiter:
            if kind == CHAIN:
                self._recording.note_root(track, coroutine_name(task.get_coro()))
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
            self._note_parents(track, tracks)
            detail = self._core.intern_waiter(
                WAITER_KINDS.index(wait), type(waiter), tracks[0] if len(tracks) == 1 else -1
            )
        stack = self._recording.intern_stack(elements) if kind == CHAIN else AS_IT_IS
        if task._fut_waiter is waiter:  # else it ran while we looked
            self._core.amend(task, row, stack, detail)

    def _note_parents(self, parent: int, children: list[int]) -> None:
        for child in children:
            if parent >= 0 and child >= 0:
                self._recording.note_parent(parent, child)


class CoreTaskCollector(TaskCollector):
    """
    Sample tasks in Python, into a recording whose tables the C core has.
    """

    _recording: CoreRecording

    def _add_loop(self, loop: Any) -> int:
        found: int = self._recording.core.intern_loop(loop)
        self._recording.drain()
        return found

    def track_of(self, task: Any) -> int:
        found = super().track_of(task)
        return self._recording.core.track_of(task) if found < 0 else found

    def _note_ready_queues(self, now: int) -> None:
        """
        Do nothing: the core notes the lengths of ready queues.
        """


class _ForeignCollector(CoreTaskCollector):
    """
    Sample the tasks that are made in Python: a subclass of ``_PyTask``, another library's.
    """

    def __init__(self, recording: CoreRecording, tasks: ModuleType, **rest: Any) -> None:
        super().__init__(recording, **rest)
        self._tasks = tasks

    def _find_tasks(self, frames: dict[int, FrameType]) -> list[Any]:
        if self._source is None:
            self._source = TaskSource(self._finder, self._tasks)
            self._reader = WaiterReader(self._tasks)
        if not NATIVE_LISTS:
            found: list[Any] = self._recording.core.foreign_tasks()
            return found
        return [
            reference for reference in self._source.listed() if not isinstance(reference(), self._tasks.Task)
        ]
