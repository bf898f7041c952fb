"""
Answers that take their time. A job blocks the thread that runs it, so an event loop gives it one.

A trace goes to a temporary file, so that the recording is given back before the first byte is sent: how
fast a client reads decides about a file on the disk and nothing else. When the client goes away the
trace is stopped and nothing is encoded, or no further.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

from fgtrace._http.messages import Reply, plain_text
from fgtrace._http.query import refusal
from fgtrace._options.options import FORMATS, PACKED, Options
from fgtrace._output.captured_trace import CapturedTrace
from fgtrace._output.writer_process import write_aside
from fgtrace._session.flight_recorder import FlightRecorder
from fgtrace._session.trace import Config, Trace
from fgtrace.errors import ConfigError, FgtraceError

__all__ = ["DumpJob", "Gone", "Job", "ReplyJob", "TraceJob"]

#: How often (s) a door that cannot wait for it is asked whether its client is still there.
POLL = 0.1

#: Format -> its media type; others are ``application/octet-stream``.
_TYPES = {
    "json": "application/json",
    "json.gz": "application/gzip",
    "perfetto.gz": "application/gzip",
    "speedscope": "application/json",
    "folded": "text/plain; charset=utf-8",
    "html": "text/html; charset=utf-8",
}


class Gone(Exception):  # noqa: N818 - not an error: the client went away
    """
    Nobody waits for the answer.
    """


class Job:
    """
    An answer in the making.

    Args:
        release: called when the reply was sent or will never be; again: nothing happens.
    """

    def __init__(self, release: Callable[[], None]) -> None:
        self._release = release
        self._cancelled = threading.Event()
        self._reply: Reply | None = None
        self._started = False

    def run(self, gone: Callable[[], bool] | None = None) -> None:
        """
        Do it; afterwards `reply` is there, unless the client has gone.

        Args:
            gone: asked now and then whether the client has.
        """
        self._started = True
        try:
            self._reply = self._answer(gone)
        except Gone:
            self._release()
        except BaseException:  # the interpreter ends
            self._release()
            raise
        if self._cancelled.is_set():
            self.cancel()

    @property
    def reply(self) -> Reply | None:
        """
        The answer; None where nobody waits for it.
        """
        return None if self._cancelled.is_set() else self._reply

    def cancel(self) -> None:
        """
        The client has gone: stop at once. Also when the reply was sent: what it holds is given back.
        """
        self._cancelled.set()
        if self._reply is not None:
            self._reply.close()
        elif not self._started:
            self._release()

    def _answer(self, gone: Callable[[], bool] | None) -> Reply:
        try:
            self._check()
            return self._make(gone)
        except (Gone, ConfigError, FgtraceError) as error:
            if self._cancelled.is_set() or isinstance(error, Gone):
                raise Gone from error
            said = refusal(error) if isinstance(error, ConfigError) else str(error)
            reply = plain_text(400 if isinstance(error, ConfigError) else 500, said)
        except Exception as error:  # it is a client's answer, and nobody else's trouble
            import logging  # costs 10 ms to import, and is needed when something failed

            logger = logging.getLogger("fgtrace")
            if logger.hasHandlers():  # else nobody configured logging, and it would print to stderr
                logger.warning("answering over HTTP failed: %s", error, exc_info=error)
            reply = plain_text(500, f"{type(error).__name__}: {error}")
        reply.on_close(self._release)
        return reply

    def _make(self, gone: Callable[[], bool] | None) -> Reply:
        raise NotImplementedError

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise Gone

    def _wait(self, until: float, gone: Callable[[], bool] | None) -> None:
        while (left := until - time.monotonic()) > 0:
            if self._cancelled.wait(left if gone is None else min(left, POLL)) or (gone and gone()):
                raise Gone


class ReplyJob(Job):
    """
    A reply that takes a while to put together.
    """

    def __init__(self, make: Callable[[], Reply], release: Callable[[], None]) -> None:
        super().__init__(release)
        self._put_together = make

    def _make(self, gone: Callable[[], bool] | None) -> Reply:
        reply = self._put_together()
        reply.on_close(self._release)
        return reply


class HttpReply(BytesIO):
    """
    What a trace's options name as its destination; nobody writes to it: see `_FileJob`.
    """


class _FileJob(Job):
    """
    A trace as a reply.
    """

    def __init__(self, format_: str, release: Callable[[], None], *, compress: bool) -> None:
        super().__init__(release)
        self._format = format_
        self._compress = compress and format_ not in PACKED

    def _make(self, gone: Callable[[], bool] | None) -> Reply:
        def check() -> None:
            self._check()
            if gone is not None and gone():
                raise Gone

        captured = self._capture(gone)
        file = tempfile.TemporaryFile(prefix="fgtrace-")  # noqa: SIM115 - the reply closes it
        try:
            write_aside(captured, file, compress=self._compress, check=check)
            self._check()
        except BaseException:
            file.close()
            raise
        finally:
            captured.recording.close()
        headers = file_headers(self._format)
        if self._compress:
            headers["Content-Encoding"] = "gzip"
        reply = Reply(200, headers, file, size=os.fstat(file.fileno()).st_size)
        reply.on_close(self._release)
        return reply

    def _capture(self, gone: Callable[[], bool] | None) -> CapturedTrace:
        raise NotImplementedError


class TraceJob(_FileJob):
    """
    A trace that is made now.

    Args:
        options: how; ``dst`` does not matter.
        seconds: its length.
        release: as of `Job`.
        compress: the client takes gzip.
    """

    def __init__(
        self, options: Options, seconds: float, release: Callable[[], None], *, compress: bool
    ) -> None:
        super().__init__(str(options.effective_format), release, compress=compress)
        self._options = options
        self._seconds = seconds

    def _capture(self, gone: Callable[[], bool] | None) -> CapturedTrace:
        values = {name: getattr(self._options, name) for name in Options.__slots__}
        trace = Trace(Config(**{**values, "dst": HttpReply()})).start()
        try:
            self._wait(self._seconds - trace.seconds + time.monotonic(), gone)  # in this order: not too short
        except BaseException:
            trace.abandon()
            raise
        captured = trace._capture()
        if captured is None:  # a child process, which nobody waits for
            raise Gone
        return captured


class DumpJob(_FileJob):
    """
    What a flight recorder has.
    """

    def __init__(
        self,
        recorder: FlightRecorder,
        seconds: float,
        format_: str,
        release: Callable[[], None],
        *,
        compress: bool,
    ) -> None:
        super().__init__(format_, release, compress=compress)
        self._recorder = recorder
        self._seconds = seconds

    def _capture(self, gone: Callable[[], bool] | None) -> CapturedTrace:
        options = replace(self._recorder.config, dst=HttpReply(), format=self._format)
        return self._recorder.cut(self._seconds, options, "")


def file_headers(format_: str) -> dict[str, str]:
    """
    The headers of a trace in this format.
    """
    name = f"fgtrace-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}{FORMATS[format_][0]}"
    return {
        "Content-Type": _TYPES.get(format_, "application/octet-stream"),
        "Content-Disposition": f'attachment; filename="{name}"',
        "Vary": "Accept-Encoding",
    }
