"""
The debug endpoints: who may use them, which paths there are, and how much runs at once.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from fgtrace._http.index_page import PAGE, PAGE_HEADERS
from fgtrace._http.jobs import DumpJob, Job, ResponseJob, TraceJob, file_headers
from fgtrace._http.messages import HttpRequest, HttpResponse, accepts_gzip, plain_text
from fgtrace._http.options import HttpOptions
from fgtrace._http.query import (
    LONGEST_QUERY,
    Field,
    as_sent,
    count,
    flag,
    number,
    one_of,
    read_query,
    refusal,
    up_to,
)
from fgtrace._http.task_list import TaskInspector, as_json, as_text
from fgtrace._options.options import FORMATS
from fgtrace._sampling.collect.task_discovery import remember_running_loop
from fgtrace._session.flight_recorder import running_recorder
from fgtrace.errors import ConfigError

__all__ = ["PATHS", "Endpoints", "Slots"]

#: The paths, below the mount.
PATHS = ("/", "/fgtrace", "/fgprof", "/tasks")

#: Responses to ``/tasks`` that may be in the making, or on their way, at once.
MOST_TASK_LISTS = 4
#: Tasks that ``/tasks`` lists unless the query says otherwise.
TASKS_SHOWN = 1000
PROFILES = ("pprof", "folded", "speedscope")


class Slots:
    """
    Limits how many jobs run at once.

    Args:
        most: how many.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._ends: dict[object, float] = {}

    def acquire(self, seconds: float) -> Callable[[], None] | None:
        """
        Take a slot; return the function that gives it back, or None if no slot is free.

        Args:
            seconds: how long it will probably be used.
        """
        key = object()
        with self._lock:
            if len(self._ends) >= self._most:
                return None
            self._ends[key] = time.monotonic() + seconds

        def release() -> None:
            with self._lock:
                self._ends.pop(key, None)

        return release

    def retry_after(self) -> int:
        """
        Return the seconds after which a slot may be free again.
        """
        with self._lock:
            first = min(self._ends.values(), default=0.0)
        return max(1, round(first - time.monotonic() + 0.5))


class Endpoints:
    """
    Answers requests; it knows no framework and no socket.

    Args:
        options: see `HttpOptions`.
    """

    def __init__(self, options: HttpOptions) -> None:
        self._options = options
        self._trace_slots = Slots(options.max_traces)
        self._task_list_slots = Slots(MOST_TASK_LISTS)
        self._inspector = TaskInspector(options.config)
        handlers = (self._index, self._trace, self._profile, self._task_list)
        self._handlers: dict[str, Callable[[HttpRequest], HttpResponse | Job]] = {
            "": self._redirect,
            **dict(zip(PATHS, handlers, strict=True)),
        }
        limits = {
            "seconds": up_to(options.max_seconds, "seconds"),
            "hz": up_to(options.max_hz, "ticks a second"),
        }
        self._trace_fields: dict[str, Field] = {
            **limits,
            "format": one_of(*FORMATS),
            "state_frames": one_of("root", "leaf", "no"),
            "awaits": one_of("sampled", "exact"),
            "tracks": one_of("task", "lane", "auto"),
            "include_self": flag, "threads": flag, "tasks": flag, "lines": flag,
            "last": number,
        }  # fmt: skip
        self._profile_fields: dict[str, Field] = {**limits, "format": one_of(*PROFILES)}

    def answer(self, request: HttpRequest) -> HttpResponse | Job:
        """
        Return the response to a request, or the job that makes it.
        """
        if not self._is_authorized(request.headers.get("authorization", "")):
            challenge = {"WWW-Authenticate": 'Basic realm="fgtrace", charset="UTF-8", Bearer'}
            return plain_text(401, "a token is needed: Authorization: Bearer <token>", challenge)
        handler = self._handlers.get(request.path)
        if handler is None:
            return plain_text(
                404, "there is nothing here; there is: " + " ".join(request.base + path for path in PATHS)
            )
        if request.method not in ("GET", "HEAD"):
            return plain_text(405, "allowed is GET or HEAD", {"Allow": "GET, HEAD"})
        if len(request.query) > LONGEST_QUERY:
            return plain_text(414, f"the query is longer than {LONGEST_QUERY} characters")
        try:
            found = handler(request)
        except ConfigError as error:
            return plain_text(400, refusal(error))
        is_head = request.method == "HEAD"
        return found.without_body() if isinstance(found, HttpResponse) and is_head else found

    def _is_authorized(self, header: str) -> bool:
        """
        Return whether this header has the token; its duration reveals nothing about the token.
        """
        if self._options.token is None:
            return True
        scheme, _, given = header.partition(" ")
        given = given.strip()
        if scheme.lower() == "basic":
            try:
                given = base64.b64decode(given, validate=True).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                return False
        elif scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(given.encode(errors="replace"), self._options.token.encode())

    def _redirect(self, request: HttpRequest) -> HttpResponse:
        """
        Redirect to the page, whose address ends in a slash since its links are relative.
        """
        path = request.base.rpartition("/")[2] + "/"  # relative: a proxy may stand before us
        return plain_text(308, f"it is at {path}", {"Location": path})

    def _index(self, request: HttpRequest) -> HttpResponse:
        read_query(request.query, {})
        return HttpResponse(200, PAGE_HEADERS, PAGE)

    def _trace(self, request: HttpRequest) -> HttpResponse | Job:
        fields = read_query(request.query, self._trace_fields)
        if "last" in fields:
            return self._dump(request, fields)
        seconds = fields.pop("seconds", self._options.usual_seconds)
        return self._new_trace(request, {"format": "json", **fields}, seconds)

    def _profile(self, request: HttpRequest) -> HttpResponse | Job:
        fields = read_query(request.query, self._profile_fields)
        seconds = fields.pop("seconds", self._options.usual_seconds)
        return self._new_trace(request, {"format": "pprof", **fields}, seconds)

    def _new_trace(
        self, request: HttpRequest, fields: Mapping[str, Any], seconds: float
    ) -> HttpResponse | Job:
        with as_sent(request.query):
            options = replace(self._options.config, dst="fgtrace.json", **fields)
        if request.method == "HEAD":
            return HttpResponse(200, file_headers(fields["format"]), None)
        remember_running_loop()
        compress = accepts_gzip(request.headers)
        return self._in_slot(
            self._trace_slots, seconds, lambda release: TraceJob(options, seconds, release, compress=compress)
        )

    def _dump(self, request: HttpRequest, fields: dict[str, Any]) -> HttpResponse | Job:
        """
        Return the last seconds of the flight recorder of this process.
        """
        seconds, format_ = fields.pop("last"), fields.pop("format", "json")
        with as_sent(request.query):
            for name, value in fields.items():
                raise ConfigError(name, value, "allowed with last is format: the rest is the recorder's")
        recorder = running_recorder()
        if recorder is None:
            return plain_text(
                409, "no flight recorder runs here: start one with fgtrace.FlightRecorder().start()"
            )
        if request.method == "HEAD":
            return HttpResponse(200, file_headers(format_), None)
        compress = accepts_gzip(request.headers)
        return self._in_slot(
            self._trace_slots, 1,
            lambda release: DumpJob(recorder, seconds, format_, release, compress=compress),
        )  # fmt: skip

    def _task_list(self, request: HttpRequest) -> HttpResponse | Job:
        fields = read_query(request.query, {"format": one_of("text", "json"), "limit": count})
        accepts_json = "application/json" in request.headers.get("accept", "")
        format_ = fields.get("format", "json" if accepts_json else "text")
        most = fields.get("limit", TASKS_SHOWN)
        write, type_ = (
            (as_json, "application/json") if format_ == "json" else (as_text, "text/plain; charset=utf-8")
        )
        headers = {"Content-Type": type_, "Vary": "Accept"}
        if request.method == "HEAD":
            return HttpResponse(200, headers, None)
        remember_running_loop()

        def respond() -> HttpResponse:
            return HttpResponse(200, headers, write(self._inspector.inspect(), most))

        return self._in_slot(self._task_list_slots, 1, lambda release: ResponseJob(respond, release))

    @staticmethod
    def _in_slot(
        slots: Slots, seconds: float, make: Callable[[Callable[[], None]], Job]
    ) -> HttpResponse | Job:
        """
        Make a job if a slot is free for it.
        """
        release = slots.acquire(seconds)
        if release is None:
            return plain_text(
                429, "as many are being made as may be at once", {"Retry-After": str(slots.retry_after())}
            )
        return make(release)
