"""
Jobs: responses that take time to make. A job blocks the thread that runs it, so an event loop gives it one.

A trace goes to a temporary file, and its recording is released before the first byte is sent: a client that
reads slowly keeps a file on the disk and nothing else. When the client goes away, the job stops the trace and
encodes nothing, or nothing further.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

from fgtrace._http.messages import HttpResponse, plain_text
from fgtrace._http.query import refusal
from fgtrace._options.options import FORMATS, GZIPPED, Options
from fgtrace._output.captured_trace import CapturedTrace
from fgtrace._output.writer_process import write_by_process
from fgtrace._session.flight_recorder import FlightRecorder
from fgtrace._session.trace import Config, Trace
from fgtrace.errors import ConfigError, FgtraceError

__all__ = ["ClientGone", "DumpJob", "Job", "ResponseJob", "TraceJob"]

#: Seconds between two checks whether the client is still there, where a mount can only be polled for that.
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


class ClientGone(Exception):  # noqa: N818 - not an error: the client went away
    """
    The client went away: nobody waits for the response.
    """


class Job:
    """
    A response in the making.

    Args:
        release: called, once or several times, when the response was sent or will never be.
    """

    def __init__(self, release: Callable[[], None]) -> None:
        self._release = release
        self._cancelled = threading.Event()
        self._response: HttpResponse | None = None
        self._started = False

    def run(self, gone: Callable[[], bool] | None = None) -> None:
        """
        Make the response, unless the client goes away.

        Args:
            gone: called now and then; returns whether the client has gone.
        """
        self._started = True
        try:
            self._response = self._guarded(gone)
        except ClientGone:
            self._release()
        except BaseException:  # the interpreter ends
            self._release()
            raise
        if self._cancelled.is_set():
            self.cancel()

    @property
    def response(self) -> HttpResponse | None:
        """
        The response; None if nobody waits for it.
        """
        return None if self._cancelled.is_set() else self._response

    def cancel(self) -> None:
        """
        Stop at once, since the client has gone; after the response was sent, release what it holds.
        """
        self._cancelled.set()
        if self._response is not None:
            self._response.close()
        elif not self._started:
            self._release()

    def _guarded(self, gone: Callable[[], bool] | None) -> HttpResponse:
        try:
            self._check()
            return self._make(gone)
        except (ClientGone, ConfigError, FgtraceError) as error:
            if self._cancelled.is_set() or isinstance(error, ClientGone):
                raise ClientGone from error
            text = refusal(error) if isinstance(error, ConfigError) else str(error)
            response = plain_text(400 if isinstance(error, ConfigError) else 500, text)
        except Exception as error:  # it concerns the client, not the program
            import logging  # costs 10 ms to import, and is needed when something failed

            logger = logging.getLogger("fgtrace")
            if logger.hasHandlers():  # else nobody configured logging, and it would print to stderr
                logger.warning("answering over HTTP failed: %s", error, exc_info=error)
            response = plain_text(500, f"{type(error).__name__}: {error}")
        response.on_close(self._release)
        return response

    def _make(self, gone: Callable[[], bool] | None) -> HttpResponse:
        raise NotImplementedError

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise ClientGone

    def _wait(self, until: float, gone: Callable[[], bool] | None) -> None:
        while (left := until - time.monotonic()) > 0:
            if self._cancelled.wait(left if gone is None else min(left, POLL)) or (gone and gone()):
                raise ClientGone


class ResponseJob(Job):
    """
    A response that a function makes.

    Args:
        make: makes it.
        release: as of `Job`.
    """

    def __init__(self, make: Callable[[], HttpResponse], release: Callable[[], None]) -> None:
        super().__init__(release)
        self._function = make

    def _make(self, gone: Callable[[], bool] | None) -> HttpResponse:
        response = self._function()
        response.on_close(self._release)
        return response


class ResponseDestination(BytesIO):
    """
    The destination in the options of a trace that becomes a response; nothing is written to it: see
    `_FileJob`.
    """


class _FileJob(Job):
    """
    A trace file as the response.
    """

    def __init__(self, format_: str, release: Callable[[], None], *, compress: bool) -> None:
        super().__init__(release)
        self._format = format_
        self._compress = compress and format_ not in GZIPPED

    def _make(self, gone: Callable[[], bool] | None) -> HttpResponse:
        def check() -> None:
            self._check()
            if gone is not None and gone():
                raise ClientGone

        captured = self._capture(gone)
        file = tempfile.TemporaryFile(prefix="fgtrace-")  # noqa: SIM115 - the response closes it
        try:
            write_by_process(captured, file, compress=self._compress, check=check)
            self._check()
        except BaseException:
            file.close()
            raise
        finally:
            captured.recording.close()
        headers = file_headers(self._format)
        if self._compress:
            headers["Content-Encoding"] = "gzip"
        response = HttpResponse(200, headers, file, size=os.fstat(file.fileno()).st_size)
        response.on_close(self._release)
        return response

    def _capture(self, gone: Callable[[], bool] | None) -> CapturedTrace:
        raise NotImplementedError


class TraceJob(_FileJob):
    """
    A new trace.

    Args:
        options: of the trace; ``dst`` does not matter.
        seconds: its length.
        release: as of `Job`.
        compress: whether the client accepts gzip.
    """

    def __init__(
        self, options: Options, seconds: float, release: Callable[[], None], *, compress: bool
    ) -> None:
        super().__init__(str(options.effective_format), release, compress=compress)
        self._options = options
        self._seconds = seconds

    def _capture(self, gone: Callable[[], bool] | None) -> CapturedTrace:
        values = {name: getattr(self._options, name) for name in Options.__slots__}
        trace = Trace(Config(**{**values, "dst": ResponseDestination()})).start()
        try:
            self._wait(self._seconds - trace.seconds + time.monotonic(), gone)  # in this order: not too short
        except BaseException:
            trace.abandon()
            raise
        captured = trace._capture()
        if captured is None:  # in a child process there is no trace
            raise ClientGone
        return captured


class DumpJob(_FileJob):
    """
    The last seconds that a flight recorder has.

    Args:
        recorder: it runs.
        seconds: how many.
        format_: of the file.
        release: as of `Job`.
        compress: whether the client accepts gzip.
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
        options = replace(self._recorder.config, dst=ResponseDestination(), format=self._format)
        return self._recorder.cut(self._seconds, options, "")


def file_headers(format_: str) -> dict[str, str]:
    """
    Return the headers of a trace in this format.
    """
    name = f"fgtrace-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}{FORMATS[format_][0]}"
    return {
        "Content-Type": _TYPES.get(format_, "application/octet-stream"),
        "Content-Disposition": f'attachment; filename="{name}"',
        "Vary": "Accept-Encoding",
    }
