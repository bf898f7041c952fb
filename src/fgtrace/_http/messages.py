"""
An HTTP request as a mount passes it on, and the response that the mount sends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import IO, NamedTuple

__all__ = ["HttpRequest", "HttpResponse", "accepts_gzip", "plain_text"]

#: Bytes of a chunk.
CHUNK = 64 * 1024
#: A client may take SENDING_BASE seconds to read a response, plus one second for each SLOWEST_RATE bytes.
SENDING_BASE, SLOWEST_RATE = 30, 64 * 1024
#: Headers of every response: no cache keeps it, and no browser guesses its type.
ALWAYS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class HttpRequest(NamedTuple):
    """
    A request.

    Args:
        method: as the client sent it.
        path: decoded, below the mount: ``""``, ``"/"``, ``"/fgtrace"``.
        query: as in the URL.
        headers: by name, in lower case.
        base: the path of the mount, as a client knows it: ``"/debug"``.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = {}
    base: str = ""


class HttpResponse:
    """
    A response, to be sent and then closed.

    Args:
        status: the code.
        headers: beside those of every response.
        body: bytes, or a file that is sent whole; None: no body (``HEAD``, or a status without one).
        size: bytes of a file.
    """

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        body: bytes | IO[bytes] | None = b"",
        *,
        size: int | None = None,
    ) -> None:
        self.status = status
        self.phrase = HTTPStatus(status).phrase
        self.size = len(body) if isinstance(body, bytes) else size or 0
        self.headers = {**ALWAYS, **headers}
        if body is not None:
            self.headers["Content-Length"] = str(self.size)
        self._body = b"" if body is None else body
        self._release: Callable[[], None] | None = None

    @property
    def patience(self) -> float:
        """
        The seconds that a client may take to read it.
        """
        return SENDING_BASE + self.size / SLOWEST_RATE

    def on_close(self, release: Callable[[], None]) -> None:
        """
        Have `close` call this function, once; it replaces the one of an earlier call.
        """
        self._release = release

    def without_body(self) -> HttpResponse:
        """
        Drop the body and keep the headers, as ``HEAD`` asks.
        """
        self._close_body()
        self._body, self.size = b"", 0
        return self

    def chunks(self) -> Iterator[bytes]:
        """
        Yield the body in chunks.
        """
        if isinstance(self._body, bytes):
            yield from (self._body,) if self._body else ()
            return
        self._body.seek(0)
        while chunk := self._body.read(CHUNK):  # of the system's page cache: it was written just now
            yield chunk

    def close(self) -> None:
        """
        Release what the response holds: it was sent, or will never be. A second call does nothing.
        """
        release, self._release = self._release, None
        self._close_body()
        if release is not None:
            release()

    def _close_body(self) -> None:
        if not isinstance(self._body, bytes):
            self._body.close()


def plain_text(status: int, text: str, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """
    Return a response of one line of plain text.
    """
    found = {"Content-Type": "text/plain; charset=utf-8", **(headers or {})}
    return HttpResponse(status, found, f"{text}\n".encode(errors="replace"))


def accepts_gzip(headers: Mapping[str, str]) -> bool:
    """
    Return whether the client accepts gzip.
    """
    for item in headers.get("accept-encoding", "").lower().split(","):
        coding, _, rest = item.partition(";")
        if coding.strip() in ("gzip", "x-gzip"):
            return rest.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
