"""
The stand-alone server: a thread that accepts, and one for each connection that is served.

It is the standard library's, which brings no dependency and is enough for a few clients that trace; what it
does not bound is bounded here. So many connections are served at once, and further ones are told so and
closed. A request must be there in a few seconds however slowly its bytes drip, a connection serves one, and
a client that reads too slowly is cut off. What the library offers beside that (files, directories, other
methods) is not used.

The threads are the tracer's own: no trace shows them. While the program forks, the accepting one is away; in
the child the sockets are closed.
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
from http.server import BaseHTTPRequestHandler
from typing import Any

from fgtrace._http.endpoints import Endpoints
from fgtrace._http.jobs import Job
from fgtrace._http.messages import HttpRequest, HttpResponse, plain_text
from fgtrace._sampling.forks import forget, wait_for_end, watch
from fgtrace._sampling.own_threads import own_threads

__all__ = ["ServerThread"]

#: Connections that are served at once: each has a thread.
MOST_CONNECTIONS = 16
#: Connections that the system keeps in line.
BACKLOG = 128
#: Seconds for a request to be there, and how often that is looked after.
HEAD_SECONDS, LOOK_EVERY = 5.0, 0.5
#: Seconds without a byte after which a client has gone.
STALL = 10.0
#: Seconds until it is tried again where there are too many open files.
NO_FILES = 0.05
#: Seconds that `close` waits for connections to end.
CLOSING = 5.0
PREFIX = "/debug"
#: The names of this machine, for itself.
_LOCAL = ("localhost", "127.0.0.1", "[::1]")
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)


_at_work: weakref.WeakSet[ServerThread] = weakref.WeakSet()


def _leave_all() -> None:
    """
    In the child of a fork nobody serves; a socket that stayed open there would keep the port.
    """
    for listener in list(_at_work):
        listener.leave()
    _at_work.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all)


class ServerThread:
    """
    Accepts connections in a thread of its own, from `start` to `close`.

    Args:
        door: answers.
        host, port: where; port 0: any that is free.
        is_local: only requests to a name of this machine are answered. A page in a browser may send requests
            to the loopback address under a name of its own (DNS rebinding), and could read the answers.

    Raises:
        OSError: the address cannot be had.
    """

    def __init__(self, endpoints: Endpoints, host: str, port: int, *, is_local: bool) -> None:
        self.endpoints = endpoints
        self.is_local = is_local
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=BACKLOG)
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        self._wake_out, self._wake_in = socket.socketpair()
        self._connections: dict[threading.Thread, _Connection] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """
        Begin.
        """
        self.resume()
        watch(self)
        _at_work.add(self)

    def close(self) -> None:
        """
        Accept no more, stop the traces that are being made, and end all threads. Again: nothing.
        """
        _at_work.discard(self)
        forget(self)
        self.pause()
        with self._lock:
            connections = dict(self._connections)
        for connection in connections.values():
            connection.cut()
        until = time.monotonic() + CLOSING
        for thread in connections:
            thread.join(max(0.0, until - time.monotonic()))
        self.leave()

    def leave(self) -> None:
        """
        Close the sockets of a server whose threads are gone.
        """
        for each in (self._socket, self._wake_in, self._wake_out):
            each.close()
        self._thread = None
        self._connections = {}

    def pause(self) -> None:
        """
        End the accepting thread for a while: clients stand in the system's line.
        """
        thread, self._thread = self._thread, None
        if thread is not None:
            self._wake_in.send(b".")
            thread.join()
            wait_for_end(thread.native_id)

    def resume(self) -> None:
        """
        Go on after `pause`.
        """
        self._thread = threading.Thread(target=self._run, name="fgtrace http", daemon=True)
        with suppress(RuntimeError):  # the interpreter ends, and allows no new thread
            self._thread.start()
            return
        self._thread = None

    def _run(self) -> None:
        _hidden(self._accept)

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            for each in (self._socket, self._wake_out):
                selector.register(each, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select(LOOK_EVERY)]
                if self._wake_out in ready:
                    self._wake_out.recv(1)
                    return
                self._look_after()
                if self._socket in ready:
                    self._take()

    def _take(self) -> None:
        try:
            client = self._socket.accept()[0]
        except BlockingIOError:  # it has gone again
            return
        except OSError:  # there are too many open files: it stays in line
            time.sleep(NO_FILES)
            return
        self._serve(client)

    def _serve(self, client: socket.socket) -> None:
        """
        Give a connection its thread.
        """
        client.settimeout(STALL)
        connection = _Connection(client)
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
            thread.start()
        except RuntimeError:  # there is none to be had
            connection.close()

    def _talk(self, connection: _Connection) -> None:
        try:
            _hidden(lambda: _Handler(connection, self))
        finally:
            connection.close()

    def _look_after(self) -> None:
        """
        Forget the threads that have ended, and cut off who is late.
        """
        now = time.monotonic()
        with self._lock:
            for thread in [each for each in self._connections if not each.is_alive()]:
                del self._connections[thread]
            late = [each for each in self._connections.values() if each.deadline < now]
        for connection in late:
            connection.cut()


class _Connection:
    """
    A client.

    Attributes:
        deadline: when it must have sent its request, or read its answer.
        job: what is being done for it.
    """

    def __init__(self, client: socket.socket) -> None:
        self.socket = client
        self.deadline = time.monotonic() + HEAD_SECONDS
        self.job: Job | None = None

    def cut(self) -> None:
        """
        End it, from another thread.
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
        Whether the client has closed it. What it sends beyond its request is not read.
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
                self.socket.settimeout(STALL)


class _Handler(BaseHTTPRequestHandler):
    """
    One request: the standard library reads it, the door answers.
    """

    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # 0.9, the library's, would have no status line in the answer
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(message)s\n"

    def __init__(self, connection: _Connection, listener: ServerThread) -> None:
        self._connection = connection
        self._listener = listener
        with suppress(OSError, ValueError):  # the client went away, or was cut off
            super().__init__(connection.socket, "", listener)  # type: ignore[arg-type]

    def address_string(self) -> str:
        return ""

    def version_string(self) -> str:
        return "fgtrace"

    def log_message(self, *_: Any) -> None:
        """
        Nothing is printed.
        """

    def handle(self) -> None:
        """
        Answer one request; the connection ends with it.
        """
        self.close_connection = True
        self.raw_requestline = self.rfile.readline(65537)
        if len(self.raw_requestline) > 65536:
            self.requestline = self.request_version = self.command = ""
            self.send_error(414)
        elif self.raw_requestline and self.parse_request():
            self.close_connection = True
            self._connection.deadline = float("inf")
            self._reply()
            self.wfile.flush()

    def _reply(self) -> None:
        found = self._found()
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

    def _found(self) -> HttpResponse | Job:
        path, _, query = self.path.partition("?")
        if self._listener.is_local and not self._is_to_local():
            return plain_text(
                403, "allowed is a request to localhost: see the host and token of fgtrace.serve"
            )
        if path in ("", "/"):
            return plain_text(308, f"it is at {PREFIX}/", {"Location": f"{PREFIX}/"})
        if path != PREFIX and not path.startswith(f"{PREFIX}/"):
            return plain_text(404, f"there is nothing here; there is {PREFIX}/")
        headers = {name.lower(): value for name, value in self.headers.items()}
        return self._listener.endpoints.answer(
            HttpRequest(self.command, path.removeprefix(PREFIX), query, headers, PREFIX)
        )

    def _is_to_local(self) -> bool:
        host = self.headers.get("Host", "localhost")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        return name.lower() in _LOCAL

    def _send(self, response: HttpResponse) -> None:
        self._connection.deadline = time.monotonic() + response.patience
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        for chunk in response.chunks():
            self.wfile.write(chunk)
        response.close()


def _hidden(do: Callable[[], object]) -> None:
    """
    Do it in a thread that no trace shows.
    """
    ident = threading.get_ident()
    own_threads.add(ident)
    try:
        do()
    finally:
        own_threads.discard(ident)
