"""
Finds the culprit of a trigger: the task, callback or thread that did it, and in which functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import FrameType
from typing import Any, NamedTuple

from fgtrace._model.values import Frame, FrameName, Request, Waiter
from fgtrace._options.options import Options
from fgtrace._options.parsing import escaped
from fgtrace._output.captured_trace import CapturedTrace
from fgtrace._recording.recording import GONE, Recording
from fgtrace._recording.step_records import CALLBACK
from fgtrace._sampling.collect.await_chain import Walker
from fgtrace._sampling.collect.requests import open_requests_now
from fgtrace._sampling.stats import Stats, note_failure
from fgtrace._timeline.stack_resolver import StackResolver, frame_name

__all__ = ["Culprit", "of_error", "of_frame", "of_task", "who_held"]

#: The greatest number of functions in a line; of a longer chain the innermost are shown.
MOST_NAMES = 6
#: The functions of asyncio that call a callback.
_CALLERS = {"asyncio.events.Handle._run", "asyncio.base_events.BaseEventLoop._run_once"}

_StackKey = tuple[int, int, int]  # track, stack, detail
_RunKey = tuple[str, int]  # "task" or "thread" and its track, or "callback" and its function's index


class Culprit(NamedTuple):
    """
    The culprit of a trigger.

    Args:
        who: ``task 'Task-7' (GET /users/{id})``.
        where: its functions, as ``main > handle > sleep (app.py:12)``.
        is_thread: whether only the thread is known, no task or callback.
    """

    who: str
    where: str
    is_thread: bool = False

    def __str__(self) -> str:
        return f"{self.who} in {self.where}" if self.where else self.who


def who_held(captured: CapturedTrace, since: int, thread: int, name: str) -> Culprit:
    """
    Return what held a loop's thread for most of the time from ``since`` to the captured trace's end.

    With exact awaits the steps show it, otherwise the task that most ticks saw running. If no task or
    callback ran for half of that time, the culprit is the thread: a callback without a step, a C function.

    Args:
        captured: the flight recorder's window.
        since: ns from the window's start.
        thread: the thread's native id.
        name: the thread's name.
    """
    window = captured.recording
    held, stacks = _held(captured, since, thread, name)
    known = {holder: time for holder, time in held.items() if holder[0] != "thread"}
    best = max(known, key=known.__getitem__, default=None)
    if best is None or known[best] * 2 < captured.end - since:
        best = next((holder for holder in held if holder[0] == "thread"), best)
    if best is None:
        return Culprit("an event loop", "", is_thread=True)
    kind, number = best
    if kind == "callback":
        threads = [key for key in stacks if window.tracks[key[0]].kind == "thread"]
        name = frame_name(window.callbacks[number].name)
        return Culprit(f"callback {name}", _where(captured, threads, stacks))
    where = _where(captured, [key for key in stacks if key[0] == number], stacks)
    request = _request(captured, number, since)
    return Culprit(_who(kind, window.tracks[number].name, request), where, is_thread=kind == "thread")


def _request(captured: CapturedTrace, track: int, since: int) -> Request | None:
    """
    Return the request that a task served for most of the time from ``since`` on; of nested ones the
    outermost.
    """

    def lasted(request: Request) -> int:
        return (request.end if request.end >= 0 else captured.end) - max(request.start, since)

    found = [
        each
        for each in map(Request._make, captured.recording.requests)
        if each.track == track and lasted(each) > 0
    ]
    return max(sorted(found, key=lambda each: each.start), key=lasted, default=None)


def _who(kind: str, name: str, request: Request | None) -> str:
    """
    Return how a log line names a culprit: ``task 'Task-7' (GET /users/{id}, request id 1f3)``.
    """
    said = f"{kind} {name!r}"
    if request is None:
        return said
    ids = [f"{what} {value}" for what, value in request.args if what.endswith(" id")]
    return f"{said} ({escaped(', '.join([request.name, *ids]))})"


def _held(
    captured: CapturedTrace, since: int, thread: int, name: str
) -> tuple[dict[_RunKey, int], dict[_StackKey, int]]:
    """
    Return for how long (ns) each task and callback of the thread's loops ran, and for how long the thread was
    observed; and the ns of each (track, stack, detail) that the ticks saw.
    """
    window = captured.recording
    held: dict[_RunKey, int] = {}
    stacks: dict[_StackKey, int] = {}
    loops = _loops_of(window, thread, name)
    running = {number for number, wait in enumerate(window.waiters) if wait.kind == "running"}
    for start, end, key in _spans(captured):
        entry = window.tracks[key[0]]
        is_its = entry.loop in loops and key[2] in running if entry.kind == "task" else entry.tid == thread
        if is_its and end > since:
            lasted = end - max(start, since)
            stacks[key] = stacks.get(key, 0) + lasted
            if entry.kind == "thread" or not window.loops[entry.loop].exact:
                held[entry.kind, key[0]] = held.get((entry.kind, key[0]), 0) + lasted
    for start, end, _, track, _, stack, _ in window.read_steps():
        is_callback = track >= CALLBACK
        loop = track - CALLBACK if is_callback else window.tracks[track].loop
        if end > since and loop in loops:
            holder = ("callback", stack) if is_callback else ("task", track)
            held[holder] = held.get(holder, 0) + end - max(start, since)
    return held, stacks


def _loops_of(window: Recording, thread: int, name: str) -> set[int]:
    """
    Return the loops that a thread may run. A loop has its thread's name only; one without is not left out.
    """
    names = {"", name}
    for entry in window.tracks:
        if entry.kind == "thread" and entry.tid == thread:
            names |= {entry.name, str(entry.args.get("former name", ""))}
    return {index for index, loop in enumerate(window.loops) if loop.thread in names}


def _spans(captured: CapturedTrace) -> Iterator[tuple[int, int, _StackKey]]:
    last: dict[int, tuple[int, int, int]] = {}
    for time, track, stack, detail in captured.recording.read():
        if track in last:
            start, *seen = last[track]
            yield start, time, (track, seen[0], seen[1])
        last[track] = (time, stack, detail)
    for track, (time, stack, detail) in last.items():
        if stack != GONE:
            yield time, captured.end, (track, stack, detail)


def _where(captured: CapturedTrace, seen: list[_StackKey], stacks: dict[_StackKey, int]) -> str:
    """
    Return the functions of the stack that was seen for the longest time.
    """
    if not seen:
        return ""
    track, stack, detail = max(seen, key=stacks.__getitem__)
    resolver = StackResolver(captured.recording, captured.options)
    return _chain(
        [
            resolver.frames[step.number]
            for step in resolver.drawn_stack(captured.recording.tracks[track].kind, stack, detail)
        ]
    )


def of_task(task: Any, options: Options) -> Culprit:
    """
    Return a task as the culprit, with its await chain.
    """
    scratch = Recording()
    elements, _ = Walker(scratch).chain(task.get_coro())
    resolver = StackResolver(scratch, options)
    waiter = scratch.intern_waiter(Waiter("future"))
    stack = resolver.drawn_stack("task", scratch.intern_stack(elements), waiter)
    requests = open_requests_now(lambda each: 0 if each is task else -1, partial(note_failure, Stats()))
    who = _who("task", task.get_name(), next(iter(requests), None))
    return Culprit(who, _chain([resolver.frames[each.number] for each in stack]))


def of_error(context: dict[str, Any]) -> Culprit:
    """
    Return the culprit of an exception, from the context that a loop gives its exception handler.
    """
    error, task = context.get("exception"), context.get("task") or context.get("future")
    name = getattr(task, "get_name", None)
    who = f"task {name()!r}" if callable(name) else "callback"
    said = f"{context.get('message', '')}: {type(error).__name__}: {error}" if error is not None else ""
    trace = error.__traceback__ if isinstance(error, BaseException) else None
    frames = []
    while trace is not None:
        frames.append(_frame(trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    return Culprit(f"{who} ({said or context.get('message', '')})", _chain(frames))


def of_frame(who: str, frame: FrameType | None) -> Culprit:
    """
    Return a thread as the culprit, with the functions that it runs.

    Args:
        who: names the thread.
        frame: the thread's innermost frame.
    """
    frames: list[Frame] = []
    while frame is not None:
        frames.append(_frame(frame, frame.f_lineno or 0))
        frame = frame.f_back
    return Culprit(who, _chain(frames[::-1]), is_thread=True)


def _frame(frame: FrameType, line: int) -> Frame:
    module = frame.f_globals.get("__name__")
    name = FrameName(module if type(module) is str else "", frame.f_code.co_qualname)
    return Frame(frame_name(name), "python", frame.f_code.co_filename, line)


def _chain(frames: list[Frame]) -> str:
    shown = [frame for frame in frames if frame.category != "state"]
    callers = [place for place, frame in enumerate(shown) if frame.name in _CALLERS]
    shown = shown[callers[-1] + 1 :] if callers else shown  # without the loop's own functions
    names = [frame.name for frame in shown[-MOST_NAMES:]]
    if len(shown) > MOST_NAMES:
        names.insert(0, "...")
    place = next((f" ({each.file}:{each.line})" for each in reversed(shown) if each.file), "")
    return " > ".join(names) + place
