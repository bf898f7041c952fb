"""
The list of tasks: what every task does right now, from a single sample, without a trace.

Two samples tell more than one: a task that still waits for the same future has waited since the first of
them at least. So the inspector remembers the last sample, by weak references.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import orjson

from fgtrace._options.options import Options
from fgtrace._options.parsing import escaped
from fgtrace._recording.recording import GONE, Recording
from fgtrace._sampling.collect.requests import open_requests_now
from fgtrace._sampling.collect.task_discovery import LoopFinder
from fgtrace._sampling.collect.tasks import TaskCollector, no_reference
from fgtrace._sampling.stats import Stats, note_failure
from fgtrace._timeline.stack_resolver import StackResolver
from fgtrace._timeline.tracks import loop_name, loop_order, natural_key

__all__ = ["Call", "RequestNow", "TaskInspector", "TaskNow", "as_json", "as_text"]


@dataclass(frozen=True, slots=True)
class Call:
    """
    One link of an await chain.
    """

    function: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class RequestNow:
    """
    The request that a task serves: its name, its duration until now, and its arguments as in a trace
    (``path``, ``request id``, ``trace id``).
    """

    name: str
    seconds: float
    args: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskNow:
    """
    What one task does.

    Args:
        name: the task's. coroutine: its root coroutine's.
        request: the request that it serves, where a middleware notes it; of nested ones the outermost.
        loop: its loop and the loop's thread.
        state: as in a trace. on: the kind of object that it waits for, where that has a name.
        seconds: how long this wait has lasted, at least; None: this is its first sample.
        chain: the await chain, outermost first; of a task that runs, the frames below it as well.
        awaits: the name of the task that it waits for. awaited_by: the tasks that wait for it.
    """

    name: str
    coroutine: str
    request: RequestNow | None
    loop: str
    state: str
    on: str | None
    seconds: float | None
    chain: tuple[Call, ...]
    awaits: str | None
    awaited_by: tuple[str, ...]


class _Snapshot(TaskCollector):
    """
    One sample of all tasks.
    """

    def __init__(self, options: Options) -> None:
        super().__init__(Recording(options.max_memory), finder=LoopFinder())
        self.sample(0, sys._current_frames())

    def waiting(self) -> dict[int, tuple[Callable[[], Any], Callable[[], Any]]]:
        """
        Return track -> the task and its waiter, both by weak reference, of the tasks that wait.
        """
        return {
            entry.track: (reference, entry.waiter)
            for reference, entry in self._seen.items()
            if entry.waiter is not no_reference
        }

    def tasks(self, options: Options, lasted: dict[int, float]) -> list[TaskNow]:
        """
        Return what every task does, by loop and then by name.

        Args:
            options: for the rules of the states.
            lasted: track -> seconds of its wait.
        """
        recording = self._recording
        rows = {track: (stack, detail) for _, track, stack, detail in recording.read() if stack != GONE}
        order = {index: place for place, index in enumerate(loop_order(recording))}
        loops = {index: loop_name(place, recording.loops[index].thread) for index, place in order.items()}
        awaited = self._awaited(rows)
        requests = self._requests()
        resolver = StackResolver(recording, options)
        found = []
        for track in sorted(
            rows,
            key=lambda each: (order[recording.tracks[each].loop], natural_key(recording.tracks[each].name)),
        ):
            entry = recording.tracks[track]
            stack = resolver.drawn_stack("task", *rows[track])
            state, *chain = (resolver.frames[each.number] for each in stack)
            args = dict(state.args)
            found.append(
                TaskNow(
                    name=entry.name, coroutine=entry.root, request=requests.get(track),
                    loop=loops[entry.loop], state=state.name,
                    on=_text(args.get("on")), seconds=lasted.get(track),
                    chain=tuple(Call(frame.name, frame.file, frame.line) for frame in chain),
                    awaits=_text(args.get("task")),
                    awaited_by=tuple(recording.tracks[each].name for each in awaited.get(track, ())),
                )
            )  # fmt: skip
        return found

    def _requests(self) -> dict[int, RequestNow]:
        """
        Return track -> the request that its task serves.
        """
        now = time.perf_counter_ns()
        found: dict[int, RequestNow] = {}
        for each in open_requests_now(self.track_of, partial(note_failure, Stats())):  # by their begins
            found.setdefault(each.track, RequestNow(each.name, (now - each.start) / 1e9, dict(each.args)))
        return found

    def _awaited(self, rows: dict[int, tuple[int, int]]) -> dict[int, list[int]]:
        """
        Return track -> the tasks that wait for it: for it alone, or for several of which it is one (gather).
        """
        recording = self._recording
        found: dict[int, list[int]] = {}
        waiting = {track: recording.waiters[detail] for track, (_, detail) in rows.items()}
        for track, wait in waiting.items():
            if wait.task >= 0:
                found.setdefault(wait.task, []).append(track)
        for track in rows:
            parent = recording.tracks[track].parent
            if parent in waiting and waiting[parent].kind == "task" and waiting[parent].task < 0:
                found.setdefault(track, []).append(parent)
        return found


class TaskInspector:
    """
    Samples all tasks, one sample at a time, and remembers since when each has been in its wait.

    Args:
        options: for the rules of the states.
    """

    def __init__(self, options: Options) -> None:
        self._options = replace(options, state_frames="root", lines=False)
        self._lock = threading.Lock()
        self._waits: dict[Callable[[], Any], tuple[Callable[[], Any], float]] = {}

    def inspect(self) -> list[TaskNow]:
        """
        Return what every task of every running loop does.
        """
        with self._lock:
            now = time.monotonic()
            snapshot = _Snapshot(self._options)
            waits: dict[Callable[[], Any], tuple[Callable[[], Any], float]] = {}
            lasted = {}
            for track, (task, waiter) in snapshot.waiting().items():
                before, since = self._waits.get(task, (no_reference, now))
                if before is no_reference or before() is not waiter():
                    since = now
                else:
                    lasted[track] = now - since
                waits[task] = (waiter, since)
            self._waits = waits
        return snapshot.tasks(self._options, lasted)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def as_json(tasks: list[TaskNow], most: int) -> bytes:
    """
    Return tasks as JSON: ``{"count": ..., "tasks": [...]}``.

    Args:
        tasks: see `TaskNow`, whose fields are the keys.
        most: how many are written, at most.
    """
    return orjson.dumps(
        {"count": len(tasks), "tasks": tasks[:most]}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
        default=str,
    )  # fmt: skip


def as_text(tasks: list[TaskNow], most: int) -> bytes:
    """
    Return tasks as text for people: a paragraph a task.
    """
    lines = [f"{len(tasks)} task{'' if len(tasks) == 1 else 's'}"]
    loop = None
    for task in tasks[:most]:
        if task.loop != loop:
            loop = task.loop
            lines += ["", loop]
        lines += ["", *_paragraph(task)]
    if len(tasks) > most:
        lines += ["", f"... and {len(tasks) - most} more: ask with limit={len(tasks)}"]
    return ("\n".join(lines) + "\n").encode(errors="replace")


def _paragraph(task: TaskNow) -> list[str]:
    line = f"{task.name} {task.coroutine.rpartition('<locals>.')[2]}"
    if task.request is not None:
        line = f"{escaped(task.request.name)} ({line})"
    line += f": {task.state}"
    if task.on:
        line += f" on {task.on}"
    if task.seconds is not None:
        line += f", for {task.seconds:.1f} s at least"
    lines = [f"  {line}"]
    lines += [
        f"      {call.function}  {call.file}:{call.line}" if call.file else f"      {call.function}"
        for call in task.chain
    ]
    if task.request is not None:
        facts = "".join(f", {name} {escaped(value)}" for name, value in task.request.args.items())
        lines.append(f"    serves it for {task.request.seconds:.1f} s{facts}")
    if task.awaits:
        lines.append(f"    awaits {task.awaits}")
    if task.awaited_by:
        lines.append(f"    awaited by {', '.join(task.awaited_by)}")
    return lines
