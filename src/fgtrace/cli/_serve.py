"""
A few files for one viewer, on a server at the loopback address.

What keeps a trace from the web: the server listens on 127.0.0.1 only; it knows a fixed table of paths and no
folder; the trace's own path has a part that cannot be guessed; a request must name this server as its host,
since otherwise a page whose own name resolves to 127.0.0.1 could read along; and only the viewer's origin may
read across origins.
"""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from fgtrace._http import HttpRequest, HttpResponse
from fgtrace._http.bounded_server import BoundedServer
from fgtrace._http.messages import plain_text

__all__ = ["HOST", "FileTable", "serve_files"]

HOST = "127.0.0.1"
#: A page from this server loads from this server alone; the Perfetto UI would request its makers' pages, too.
_POLICY = "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'"
#: Seconds that a browser may take to send its request (it may ask its user first), or to take a byte.
PATIENCE = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTable:
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


def serve_files(table: FileTable, port: int = 0) -> BoundedServer:
    """
    Start a server that answers with these files.

    Args:
        table: what it serves.
        port: 0: any that is free.

    Raises:
        OSError: the port is taken.
    """
    server = BoundedServer(HOST, port, request_seconds=PATIENCE, stall_seconds=PATIENCE)
    host = f"{HOST}:{server.port}"

    def answer(request: HttpRequest) -> HttpResponse:
        response = _response(table, request, host)
        response.headers["Content-Security-Policy"] = _POLICY
        if table.origin is not None and request.headers.get("origin") == table.origin:
            response.headers["Access-Control-Allow-Origin"] = table.origin
        return response

    server.start(answer)
    return server


def _response(table: FileTable, request: HttpRequest, host: str) -> HttpResponse:
    if request.method not in ("GET", "HEAD", "OPTIONS"):
        return plain_text(501, "allowed is GET, HEAD or OPTIONS")
    if not _is_welcome(table, request, host):
        return plain_text(403, "allowed is a request to this server, by the viewer that it serves")
    if request.method == "OPTIONS":
        return _preflight(request)
    if request.path in table.empty:
        return HttpResponse(204, {}, None)
    if request.path in table.files:
        return _file(table.files[request.path])
    return plain_text(404, "there is nothing here")


def _is_welcome(table: FileTable, request: HttpRequest, host: str) -> bool:
    origin = request.headers.get("origin")
    return request.headers.get("host") == host and origin in (None, f"http://{host}", table.origin)


def _preflight(request: HttpRequest) -> HttpResponse:
    """
    Answer a browser that asks whether the viewer may make a request.
    """
    headers = {"Allow": "GET, HEAD, OPTIONS"}
    if request.headers.get("access-control-request-private-network") == "true":
        headers["Access-Control-Allow-Private-Network"] = "true"
    return HttpResponse(204, headers, None)


def _file(path: str | os.PathLike[str]) -> HttpResponse:
    try:
        file = open(path, "rb")  # noqa: SIM115 - the response closes it
    except (FileNotFoundError, PermissionError):  # it was there when the server started
        return plain_text(410, "the file can no longer be read")
    size = os.fstat(file.fileno()).st_size
    return HttpResponse(200, {"Content-Type": _type(path)}, file, size=size)


def _type(path: str | os.PathLike[str]) -> str:
    """
    Return a type that browsers accept for a viewer's files.
    """
    name = os.fspath(path)
    if name.endswith(".wasm"):
        return "application/wasm"
    kind, packing = mimetypes.guess_type(name)
    return kind if kind is not None and packing is None else "application/octet-stream"
