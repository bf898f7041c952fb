"""
A server on the loopback address for a few files and one viewer.

What stands between a trace and the web: it listens on 127.0.0.1 only; it knows a fixed table of paths and
no folder; the trace's own path has a part that cannot be guessed; a request must name this server as its
host, or a page that had its own name resolved to 127.0.0.1 could read along; and only the viewer's origin
is let across.
"""

from __future__ import annotations

import mimetypes
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["HOST", "Site", "server"]

HOST = "127.0.0.1"
#: A page of ours loads from us alone: the Perfetto UI would ask its makers whether the user is one of them.
_POLICY = "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'"
#: A connection that says nothing for so long (s) is closed.
PATIENCE = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """
    What is served, and to whom.

    Args:
        files: path -> file.
        empty: paths that are answered with nothing.
        origin: the page that may read across origins; None: none.
    """

    files: Mapping[str, str | os.PathLike[str]]
    empty: frozenset[str] = field(default=frozenset())
    origin: str | None = None


class _FileServer(ThreadingHTTPServer):
    """
    Ends without waiting for connections that are still open.
    """

    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: Any) -> None:
        """
        A browser that went away is no news.
        """


def server(site: Site, port: int = 0) -> ThreadingHTTPServer:
    """
    A server that listens already, and answers from `serve_forever` on.

    Args:
        site: what it serves.
        port: 0: any that is free.

    Raises:
        OSError: the port is taken.
    """
    return _FileServer((HOST, port), partial(_FileHandler, site))


class _FileHandler(BaseHTTPRequestHandler):
    """
    Answers GET, HEAD and OPTIONS; all else is none of its business (501).
    """

    protocol_version = "HTTP/1.1"
    server_version = "fgtrace"
    sys_version = ""
    timeout = PATIENCE

    server: ThreadingHTTPServer

    def __init__(self, site: Site, *args: Any) -> None:
        self._site = site
        super().__init__(*args)  # which answers

    def do_GET(self) -> None:
        """
        A file.
        """
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """
        What GET would say of it.
        """
        self._answer(body=False)

    def do_OPTIONS(self) -> None:
        """
        A browser asks whether the viewer may ask.
        """
        if not self._is_welcome():
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        self.send_response(HTTPStatus.NO_CONTENT)
        self.send_header("Allow", "GET, HEAD, OPTIONS")
        if self.headers.get("Access-Control-Request-Private-Network") == "true":
            self.send_header("Access-Control-Allow-Private-Network", "true")
        self.end_headers()

    def _is_welcome(self) -> bool:
        own = f"{HOST}:{self.server.server_port}"
        origin = self.headers.get("Origin")
        return self.headers.get("Host") == own and origin in (None, f"http://{own}", self._site.origin)

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        if not self._is_welcome():
            self.send_error(HTTPStatus.FORBIDDEN)
        elif path in self._site.empty:
            self.send_response(HTTPStatus.NO_CONTENT)
            self.end_headers()
        elif path in self._site.files:
            self._send(self._site.files[path], body=body)
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _send(self, path: str | os.PathLike[str], *, body: bool) -> None:
        try:
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                self.send_response(HTTPStatus.OK)
                self.send_header("Content-Type", _type(path))
                self.send_header("Content-Length", str(size))
                self.end_headers()
                if body:
                    shutil.copyfileobj(file, self.wfile)
        except (FileNotFoundError, PermissionError):  # it could be read when we began
            self.send_error(HTTPStatus.GONE)

    def end_headers(self) -> None:
        """
        What every answer says.
        """
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", _POLICY)
        if self._site.origin is not None and self.headers.get("Origin") == self._site.origin:
            self.send_header("Access-Control-Allow-Origin", self._site.origin)
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        """
        Nothing is printed below the commands.
        """


def _type(path: str | os.PathLike[str]) -> str:
    """
    A type that browsers accept for a viewer's files.
    """
    name = os.fspath(path)
    if name.endswith(".wasm"):
        return "application/wasm"
    kind, packing = mimetypes.guess_type(name)
    return kind if kind is not None and packing is None else "application/octet-stream"
