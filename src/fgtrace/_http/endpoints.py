"""
What is behind the doors: who may ask, what there is, and how much of it at once.
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
from fgtrace._http.jobs import DumpJob, Job, ReplyJob, TraceJob, file_headers
from fgtrace._http.messages import HttpRequest, Reply, plain_text, takes_gzip
from fgtrace._http.options import HttpOptions
from fgtrace._http.query import (
    LONGEST_QUERY,
    Field,
    as_sent,
    count,
    flag,
    number,
    read_query,
    refusal,
    up_to,
    word,
)
from fgtrace._http.task_list import TaskList, as_json, as_text
from fgtrace._options.options import FORMATS
from fgtrace._sampling.collect.task_discovery import tell_finders
from fgtrace._session.flight_recorder import running
from fgtrace.errors import ConfigError

__all__ = ["PATHS", "Door", "Slots"]

#: What there is, below the place of a door.
PATHS = ("/", "/fgtrace", "/fgprof", "/tasks")

#: Answers to ``/tasks`` that may be in the making, or on their way, at once.
MOST_LOOKS = 4
#: Tasks that ``/tasks`` tells of where it is not asked for more.
TASKS_SHOWN = 1000
PROFILES = ("pprof", "folded", "speedscope")


class Slots:
    """
    How much may be done at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._taken: dict[object, float] = {}

    def take(self, seconds: float) -> Callable[[], None] | None:
        """
        Take one, probably for so long; what gives it back. None: there is none.
        """
        key = object()
        with self._lock:
            if len(self._taken) >= self._most:
                return None
            self._taken[key] = time.monotonic() + seconds

        def give_back() -> None:
            with self._lock:
                self._taken.pop(key, None)

        return give_back

    def retry_after(self) -> int:
        """
        In so many seconds one may be free again.
        """
        with self._lock:
            first = min(self._taken.values(), default=0.0)
        return max(1, round(first - time.monotonic() + 0.5))


class Door:
    """
    Answers requests; it knows no framework and no socket.

    Args:
        options: see `HttpOptions`.
    """

    def __init__(self, options: HttpOptions) -> None:
        self._options = options
        self._traces = Slots(options.max_traces)
        self._looks = Slots(MOST_LOOKS)
        self._tasks = TaskList(options.config)
        answers = (self._index, self._trace, self._profile, self._now)
        self._places: dict[str, Callable[[HttpRequest], Reply | Job]] = {
            "": self._redirect,
            **dict(zip(PATHS, answers, strict=True)),
        }
        limits = {
            "seconds": up_to(options.max_seconds, "seconds"),
            "hz": up_to(options.max_hz, "ticks a second"),
        }
        self._trace_fields: dict[str, Field] = {
            **limits,
            "format": word(*FORMATS),
            "state_frames": word("root", "leaf", "no"),
            "awaits": word("sampled", "exact"),
            "tracks": word("task", "lane", "auto"),
            "include_self": flag, "threads": flag, "tasks": flag, "lines": flag,
            "last": number,
        }  # fmt: skip
        self._profile_fields: dict[str, Field] = {**limits, "format": word(*PROFILES)}

    def answer(self, ask: HttpRequest) -> Reply | Job:
        """
        The answer to a request, or the job that makes it.
        """
        if not self._may_ask(ask.headers.get("authorization", "")):
            challenge = {"WWW-Authenticate": 'Basic realm="fgtrace", charset="UTF-8", Bearer'}
            return plain_text(401, "a token is needed: Authorization: Bearer <token>", challenge)
        place = self._places.get(ask.path)
        if place is None:
            return plain_text(
                404, "there is nothing here; there is: " + " ".join(ask.base + path for path in PATHS)
            )
        if ask.method not in ("GET", "HEAD"):
            return plain_text(405, "allowed is GET or HEAD", {"Allow": "GET, HEAD"})
        if len(ask.query) > LONGEST_QUERY:
            return plain_text(414, f"the query is longer than {LONGEST_QUERY} characters")
        try:
            found = place(ask)
        except ConfigError as error:
            return plain_text(400, refusal(error))
        return found.without_body() if isinstance(found, Reply) and ask.method == "HEAD" else found

    def _may_ask(self, said: str) -> bool:
        """
        Whether this header has the token; how long that takes says nothing about it.
        """
        if self._options.token is None:
            return True
        scheme, _, given = said.partition(" ")
        given = given.strip()
        if scheme.lower() == "basic":
            try:
                given = base64.b64decode(given, validate=True).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                return False
        elif scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(given.encode(errors="replace"), self._options.token.encode())

    def _redirect(self, ask: HttpRequest) -> Reply:
        """
        The page's links are relative, so its address ends in a slash.
        """
        place = ask.base.rpartition("/")[2] + "/"  # relative: a proxy may stand before us
        return plain_text(308, f"it is at {place}", {"Location": place})

    def _index(self, ask: HttpRequest) -> Reply:
        read_query(ask.query, {})
        return Reply(200, PAGE_HEADERS, PAGE)

    def _trace(self, ask: HttpRequest) -> Reply | Job:
        asked = read_query(ask.query, self._trace_fields)
        if "last" in asked:
            return self._dump(ask, asked)
        seconds = asked.pop("seconds", self._options.usual_seconds)
        return self._traced(ask, {"format": "json", **asked}, seconds)

    def _profile(self, ask: HttpRequest) -> Reply | Job:
        asked = read_query(ask.query, self._profile_fields)
        seconds = asked.pop("seconds", self._options.usual_seconds)
        return self._traced(ask, {"format": "pprof", **asked}, seconds)

    def _traced(self, ask: HttpRequest, asked: Mapping[str, Any], seconds: float) -> Reply | Job:
        with as_sent(ask.query):
            options = replace(self._options.config, dst="fgtrace.json", **asked)
        if ask.method == "HEAD":
            return Reply(200, file_headers(asked["format"]), None)
        tell_finders()
        return self._in_slot(
            self._traces, seconds,
            lambda release: TraceJob(options, seconds, release, compress=takes_gzip(ask.headers)),
        )  # fmt: skip

    def _dump(self, ask: HttpRequest, asked: dict[str, Any]) -> Reply | Job:
        """
        What a flight recorder of this process has.
        """
        seconds, format_ = asked.pop("last"), asked.pop("format", "json")
        with as_sent(ask.query):
            for name, value in asked.items():
                raise ConfigError(name, value, "allowed with last is format: the rest is the recorder's")
        recorder = running()
        if recorder is None:
            return plain_text(
                409, "no flight recorder runs here: start one with fgtrace.FlightRecorder().start()"
            )
        if ask.method == "HEAD":
            return Reply(200, file_headers(format_), None)
        return self._in_slot(
            self._traces, 1,
            lambda release: DumpJob(recorder, seconds, format_, release, compress=takes_gzip(ask.headers)),
        )  # fmt: skip

    def _now(self, ask: HttpRequest) -> Reply | Job:
        asked = read_query(ask.query, {"format": word("text", "json"), "limit": count})
        wants_json = "application/json" in ask.headers.get("accept", "")
        format_ = asked.get("format", "json" if wants_json else "text")
        most = asked.get("limit", TASKS_SHOWN)
        write, type_ = (
            (as_json, "application/json") if format_ == "json" else (as_text, "text/plain; charset=utf-8")
        )
        headers = {"Content-Type": type_, "Vary": "Accept"}
        if ask.method == "HEAD":
            return Reply(200, headers, None)
        tell_finders()
        return self._in_slot(
            self._looks, 1,
            lambda release: ReplyJob(lambda: Reply(200, headers, write(self._tasks.look(), most)), release),
        )  # fmt: skip

    @staticmethod
    def _in_slot(slots: Slots, seconds: float, make: Callable[[Callable[[], None]], Job]) -> Reply | Job:
        """
        A job, if there may be another one.
        """
        give_back = slots.take(seconds)
        if give_back is None:
            return plain_text(
                429, "as many are being made as may be at once", {"Retry-After": str(slots.retry_after())}
            )
        return make(give_back)
