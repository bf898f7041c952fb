"""
What goes over the wire: a request as a door hands it in, and the reply that it sends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import IO, NamedTuple

__all__ = ["HttpRequest", "Reply", "plain_text", "takes_gzip"]

#: Bytes that are sent at once.
CHUNK = 64 * 1024
#: A client may take this long (s) for a reply, and a second more for each so many bytes.
SHORTEST_SENDING, SLOWEST_RATE = 30, 64 * 1024
#: What every reply says: it is of this moment, and it is what it says it is.
ALWAYS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class HttpRequest(NamedTuple):
    """
    A request.

    Args:
        method: as it was sent.
        path: decoded, below the place of the door: ``""``, ``"/"``, ``"/fgtrace"``.
        query: as it stands in the URL.
        headers: by name, in lower case.
        base: the path of the door's place, for a client: ``"/debug"``.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = {}
    base: str = ""


class Reply:
    """
    An answer, to be sent and then closed.

    Args:
        status: the code.
        headers: beside those that every reply has.
        body: bytes, or a file of which all is sent; None: none is sent (``HEAD``).
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
        Seconds that a client may take for it.
        """
        return SHORTEST_SENDING + self.size / SLOWEST_RATE

    def on_close(self, release: Callable[[], None]) -> None:
        """
        Have this called, once, by `close`.
        """
        self._release = release

    def without_body(self) -> Reply:
        """
        The same for ``HEAD``.
        """
        self._body, self.size = b"", 0
        return self

    def chunks(self) -> Iterator[bytes]:
        """
        The body, piece by piece.
        """
        if isinstance(self._body, bytes):
            yield from (self._body,) if self._body else ()
            return
        self._body.seek(0)
        while chunk := self._body.read(CHUNK):  # of the system's page cache: it was written just now
            yield chunk

    def close(self) -> None:
        """
        It was sent, or will never be. Again: nothing.
        """
        release, self._release = self._release, None
        if not isinstance(self._body, bytes):
            self._body.close()
        if release is not None:
            release()


def plain_text(status: int, said: str, headers: Mapping[str, str] | None = None) -> Reply:
    """
    A line of plain text.
    """
    found = {"Content-Type": "text/plain; charset=utf-8", **(headers or {})}
    return Reply(status, found, f"{said}\n".encode(errors="replace"))


def takes_gzip(headers: Mapping[str, str]) -> bool:
    """
    Whether a client wants gzip.
    """
    for item in headers.get("accept-encoding", "").lower().split(","):
        coding, _, rest = item.partition(";")
        if coding.strip() in ("gzip", "x-gzip"):
            return rest.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
