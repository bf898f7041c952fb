"""
Requests: which task handles which request, from when to when.

A middleware tells when a request begins and ends in its task, also while nothing is traced, so that a trace
which starts in the midst of a request knows it. That costs a small object and an entry in a table. What the
request is called is asked when it ends while a trace runs, or when the trace ends: only then has the
framework found the route.

The table has weak references. The object itself belongs to the coroutine that handles the request, so an
orphaned coroutine is collected as it would have been.
"""

from __future__ import annotations

import sys
import time
import weakref
from collections.abc import Callable
from typing import Any

from fgtrace._model.values import Request, RequestRow
from fgtrace._recording.recording import Recording

__all__ = ["OpenRequest", "RequestNotes", "begin_request", "end_request", "open_requests_now"]

#: Characters that are kept of a name or an argument.
LONGEST_TEXT = 200
#: Returns a request's name, its path, and its headers ``X-Request-ID`` and ``traceparent``.
Describe = Callable[[Any], tuple[str, str, str, str]]

_open_requests: dict[int, Callable[[], OpenRequest | None]] = {}
_listening: tuple[RequestNotes, ...] = ()


class OpenRequest:
    """
    Hold a request that a task is handling.

    Attributes:
        task: a weak reference to the task.
        start: when it began, ``time.perf_counter_ns()``.
        describe, subject: see `begin_request`.
        trace_id: OpenTelemetry's; ``""`` where none is known.
    """

    __slots__ = ("__weakref__", "describe", "start", "subject", "task", "trace_id")

    def __init__(self, task: Any, describe: Describe, subject: Any) -> None:
        self.task = weakref.ref(task)
        self.start = time.perf_counter_ns()
        self.describe = describe
        self.subject = subject
        self.trace_id = ""


def begin_request(task: Any, describe: Describe, subject: Any) -> OpenRequest:
    """
    Note that a task handles a request from now on.

    Args:
        task: the current one.
        describe: returns the request's name and headers, see `Describe`; it is given ``subject``.
        subject: the request, as the framework has it.

    Returns:
        The request, for `end_request`. The coroutine that handles it must keep this object.
    """
    serving = OpenRequest(task, describe, subject)
    if _listening:
        serving.trace_id = _trace_id()
    _open_requests[id(serving)] = weakref.ref(serving)
    return serving


def end_request(serving: OpenRequest) -> None:
    """
    Note that a request has been handled.
    """
    del _open_requests[id(serving)]
    if _listening:
        end = time.perf_counter_ns()
        serving.trace_id = serving.trace_id or _trace_id()
        for watch in _listening:
            watch.note(serving, end)


def open_requests_now(
    track_of: Callable[[Any], int], failed: Callable[[str, Exception], None]
) -> list[Request]:
    """
    Return the requests that are being handled, without a trace; times are those of `time.perf_counter_ns`.

    Args:
        track_of: returns a task's track, -1 where it was not seen; such tasks are left out.
        failed: is told what failed.
    """
    return RequestNotes(Recording(), track_of, time.perf_counter_ns, failed).open_requests()


def _trace_id() -> str:
    """
    Return OpenTelemetry's trace id of what runs here, if the program has imported OpenTelemetry.
    """
    module = sys.modules.get("opentelemetry.trace")
    try:
        context = module.get_current_span().get_span_context() if module is not None else None
        return format(context.trace_id, "032x") if context is not None and context.is_valid else ""
    except Exception:  # of another library, in any version: the request goes on without the id
        return ""


class RequestNotes:
    """
    Note the requests of one trace, from `start` to `stop`.

    Args:
        recording: is filled.
        track_of: returns a task's track, -1 where it was not seen.
        now: returns the time, ns on the trace's clock.
        failed: is told what failed.
    """

    def __init__(
        self,
        recording: Recording,
        track_of: Callable[[Any], int],
        now: Callable[[], int],
        failed: Callable[[str, Exception], None],
    ) -> None:
        self._recording = recording
        self._track_of = track_of
        self._now = now
        self._failed = failed
        self._zero = 0

    def start(self) -> None:
        """
        Begin to note requests.
        """
        global _listening  # noqa: PLW0603 - exchanged as a whole, since loops of other threads read it
        self._zero = time.perf_counter_ns() - self._now()
        _listening = (*_listening, self)

    def stop(self) -> None:
        """
        End, and note the requests that are open.
        """
        if self._forget():
            for request in self.open_requests():
                self._recording.note_request(request)

    def open_requests(self) -> list[Request]:
        """
        Return the requests that are being handled, in the order in which they began.
        """
        serving = [reference() for reference in tuple(_open_requests.values())]
        found = [self._request(each, -1) for each in serving if each is not None]
        return [Request._make(each) for each in found if each is not None]

    def note(self, serving: OpenRequest, end: int) -> None:
        """
        Note a request that ended at ``end`` (`time.perf_counter_ns`).
        """
        request = self._request(serving, end)
        if request is not None:
            self._recording.note_request(request)

    def _request(self, serving: OpenRequest, end: int) -> RequestRow | None:
        """
        Return a request as a row, if its task has a track; ``end`` is -1 for an open one.
        """
        try:
            task = serving.task()
            track = self._track_of(task) if task is not None else -1
            if track < 0:
                return None
            name, path, number, parent = serving.describe(serving.subject)
        except Exception as error:  # the observer is a guest
            self._forget()
            self._failed("requests", error)
            return None
        zero, most = self._zero, LONGEST_TEXT
        return (
            track, serving.start - zero, end - zero if end >= 0 else -1,
            name[:most], path[:most], number[:most], parent[:most], serving.trace_id,
        )  # fmt: skip

    def _forget(self) -> bool:
        global _listening  # noqa: PLW0603 - as above
        was_there = self in _listening
        _listening = tuple(each for each in _listening if each is not self)
        return was_there
