"""
A small HTTP server for few clients, bounded in every respect: a thread that accepts, and one for each
connection.

The standard library reads the requests: that brings no dependency, and a few clients do not need more. What
the library does not bound is bounded here. A fixed number of connections is served at once; further ones get
503 and are closed. A request must arrive within some seconds, however slowly its bytes drip. A connection
serves one request, and a client that reads too slowly is cut off. The rest of what the library offers (files,
directories, keep-alive) is not used.

The threads are the tracer's own: a trace shows them only with ``include_self``. While the program forks, the
accepting thread is ended; in the child the sockets are closed.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, TypeAlias

from fgtrace._http.jobs import Job
from fgtrace._http.messages import HttpRequest, HttpResponse, plain_text
from fgtrace._sampling.forks import ignore_forks, pause_at_forks, wait_for_end
from fgtrace._sampling.own_threads import own_threads, start_without_signals

__all__ = ["Application", "BoundedServer"]

#: Answers a request; its ``path`` is as the client sent it, its ``base`` empty.
Application: TypeAlias = Callable[[HttpRequest], HttpResponse | Job]

#: Connections that are served at once: each has a thread.
MOST_CONNECTIONS = 16
#: Connections that the system keeps waiting.
BACKLOG = 128
#: Seconds between two checks for connections that are late.
CHECK_EVERY = 0.5
#: Seconds until the next attempt where there are too many open files.
NO_FILES = 0.05
#: Seconds that `BoundedServer.close` waits for connections to end.
CLOSING = 5.0
#: Characters of a request line that an error quotes.
LONGEST_ECHO = 200
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)


_running: weakref.WeakSet[BoundedServer] = weakref.WeakSet()


def _abandon_all() -> None:
    """
    Close the servers' sockets in the child of a fork: nobody serves there, and an open socket would keep the
    port.
    """
    for server in list(_running):
        server.abandon()
    _running.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)


class BoundedServer:
    """
    Listens from the start, and answers from `start` to `close`.

    Args:
        host: the address.
        port: 0: any that is free.
        request_seconds: how long a client may take to send its request.
        stall_seconds: a client that takes no byte for so long has gone.

    Raises:
        OSError: the address cannot be had.

    Attributes:
        port: the port that it has.
    """

    def __init__(self, host: str, port: int, *, request_seconds: float, stall_seconds: float) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=BACKLOG)
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        self._request_seconds = request_seconds
        self._stall_seconds = stall_seconds
        self._application: Application = _nothing
        self._wake_out, self._wake_in = socket.socketpair()
        self._connections: dict[threading.Thread, _Connection] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self, application: Application) -> None:
        """
        Begin to answer with this application.
        """
        self._application = application
        self.resume()
        pause_at_forks(self)
        _running.add(self)

    def close(self) -> None:
        """
        Accept no more, cancel the jobs that run, and end all threads. A second call does nothing.
        """
        _running.discard(self)
        ignore_forks(self)
        self.pause()
        with self._lock:
            connections = dict(self._connections)
        for connection in connections.values():
            connection.cut()
        until = time.monotonic() + CLOSING
        for thread in connections:
            thread.join(max(0.0, until - time.monotonic()))
        self.abandon()

    def abandon(self) -> None:
        """
        Close the sockets of a server whose threads are gone.
        """
        for each in (self._socket, self._wake_in, self._wake_out):
            each.close()
        self._thread = None
        self._connections = {}

    def pause(self) -> None:
        """
        End the accepting thread until `resume`; meanwhile the system keeps clients waiting.
        """
        thread, self._thread = self._thread, None
        if thread is not None:
            self._wake_in.send(b".")
            thread.join()
            wait_for_end(thread.native_id)

    def resume(self) -> None:
        """
        Start the accepting thread again after `pause`.
        """
        self._thread = threading.Thread(target=self._run, name="fgtrace http", daemon=True)
        with suppress(RuntimeError):  # the interpreter ends, and allows no new thread
            start_without_signals(self._thread)
            return
        self._thread = None

    def _run(self) -> None:
        _hidden(self._accept_all)

    def _accept_all(self) -> None:
        with selectors.DefaultSelector() as selector:
            for each in (self._socket, self._wake_out):
                selector.register(each, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select(CHECK_EVERY)]
                if self._wake_out in ready:
                    self._wake_out.recv(1)
                    return
                self._check_connections()
                if self._socket in ready:
                    self._accept()

    def _accept(self) -> None:
        try:
            client = self._socket.accept()[0]
        except BlockingIOError:  # it has gone again
            return
        except OSError:  # there are too many open files: it keeps waiting
            time.sleep(NO_FILES)
            return
        self._serve(client)

    def _serve(self, client: socket.socket) -> None:
        """
        Start the thread of a connection.
        """
        connection = _Connection(client, self._request_seconds, self._stall_seconds)
        thread = threading.Thread(target=self._talk, args=(connection,), name="fgtrace http", daemon=True)
        with self._lock:
            is_full = len(self._connections) >= MOST_CONNECTIONS
            if not is_full:
                self._connections[thread] = connection
        if is_full:
            client.setblocking(False)
            with suppress(OSError):
                client.send(_BUSY)
            connection.close()
            return
        try:
            thread.start()  # it takes no signals, as this thread, which accepts, takes none
        except RuntimeError:  # there is none to be had
            connection.close()

    def _talk(self, connection: _Connection) -> None:
        try:
            _hidden(lambda: _RequestHandler(connection, self._application))
        finally:
            connection.close()

    def _check_connections(self) -> None:
        """
        Forget the threads that have ended, and cut off the connections that are late.
        """
        now = time.monotonic()
        with self._lock:
            for thread in [each for each in self._connections if not each.is_alive()]:
                del self._connections[thread]
            late = [each for each in self._connections.values() if each.deadline < now]
        for connection in late:
            connection.cut()


def _nothing(_request: HttpRequest) -> HttpResponse:
    """
    Stand for the application until there is one.
    """
    return plain_text(503, "it has not started")


class _Connection:
    """
    A client.

    Attributes:
        deadline: when it must have sent its request, or read its response.
        job: what runs for it.
    """

    def __init__(self, client: socket.socket, request_seconds: float, stall_seconds: float) -> None:
        client.settimeout(stall_seconds)
        self.socket = client
        self.deadline = time.monotonic() + request_seconds
        self.job: Job | None = None
        self._stall_seconds = stall_seconds

    def cut(self) -> None:
        """
        End the connection, from another thread.
        """
        job = self.job
        if job is not None:
            job.cancel()
        with suppress(OSError):  # it has ended by itself
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
        self.socket.close()

    def is_gone(self) -> bool:
        """
        Return whether the client has closed it. What a client sends beyond its request is not read.
        """
        try:
            self.socket.settimeout(0)
            return self.socket.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:  # closed
            return True
        finally:
            with suppress(OSError):
                self.socket.settimeout(self._stall_seconds)


class _RequestHandler(BaseHTTPRequestHandler):
    """
    Serves one request: the standard library reads it, the application answers it.
    """

    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # 0.9, the library's, would have no status line in the response

    def __init__(self, connection: _Connection, application: Application) -> None:
        self._connection = connection
        self._application = application
        with suppress(OSError, ValueError):  # the client went away, or was cut off
            super().__init__(connection.socket, "", None)  # type: ignore[arg-type]  # our server is another

    def address_string(self) -> str:
        return ""

    def version_string(self) -> str:
        return "fgtrace"

    def log_message(self, *_: Any) -> None:
        """
        Print nothing.
        """

    def handle(self) -> None:
        """
        Serve one request; the connection ends with it.
        """
        self.close_connection = True
        self.raw_requestline = self.rfile.readline(65537)
        if len(self.raw_requestline) > 65536:
            self.requestline = self.request_version = self.command = ""
            self.send_error(414)
        elif self.raw_requestline and self.parse_request():
            self.close_connection = True
            self._connection.deadline = float("inf")
            self._respond()
            self.wfile.flush()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """
        Refuse a request that the library cannot read.
        """
        self._send(plain_text(code, message[:LONGEST_ECHO] if message else HTTPStatus(code).phrase))

    def _respond(self) -> None:
        path, _, query = self.path.partition("?")
        headers = {name.lower(): ", ".join(self.headers.get_all(name, ())) for name in self.headers}
        found = self._application(HttpRequest(self.command, path, query, headers))
        if isinstance(found, HttpResponse):
            self._send(found)
            return
        self._connection.job = found
        try:
            found.run(self._connection.is_gone)
            response = found.response
            if response is not None:
                self._send(response)
        finally:
            found.cancel()

    def _send(self, response: HttpResponse) -> None:
        try:
            if self.command == "HEAD":
                response.without_body()
            self._connection.deadline = time.monotonic() + response.patience
            self.send_response(response.status)
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            for chunk in response.chunks():
                self.wfile.write(chunk)
        finally:
            response.close()


def _hidden(do: Callable[[], object]) -> None:
    """
    Call a function in a thread that no trace shows.
    """
    ident = threading.get_ident()
    own_threads.add(ident)
    try:
        do()
    finally:
        own_threads.discard(ident)
