"""
The endpoints on a server of their own, below ``/debug``: what `fgtrace.serve` mounts.
"""

from __future__ import annotations

from fgtrace._http.bounded_server import BoundedServer
from fgtrace._http.endpoints import Endpoints
from fgtrace._http.jobs import Job
from fgtrace._http.messages import HttpRequest, HttpResponse, plain_text

__all__ = ["serve_endpoints"]

PREFIX = "/debug"
#: Seconds that a client may take to send its request.
REQUEST_SECONDS = 5.0
#: A client that takes no byte for so long (s) has gone.
STALL_SECONDS = 10.0
#: The names of this machine, for itself.
_LOCAL = ("localhost", "127.0.0.1", "[::1]")


def serve_endpoints(endpoints: Endpoints, host: str, port: int, *, is_local: bool) -> BoundedServer:
    """
    Start a server that answers with these endpoints.

    Args:
        endpoints: what it serves.
        host: the address.
        port: 0: any that is free.
        is_local: whether only requests to a name of this machine are answered. A page in a browser may send
            requests to the loopback address under a name of its own (DNS rebinding), and could read the
            responses.

    Raises:
        OSError: the address cannot be had.
    """
    server = BoundedServer(host, port, request_seconds=REQUEST_SECONDS, stall_seconds=STALL_SECONDS)

    def answer(request: HttpRequest) -> HttpResponse | Job:
        if is_local and not _is_to_this_machine(request):
            return plain_text(
                403, "allowed is a request to localhost: see the host and token of fgtrace.serve"
            )
        if request.path in ("", "/"):
            return plain_text(308, f"it is at {PREFIX}/", {"Location": f"{PREFIX}/"})
        if request.path != PREFIX and not request.path.startswith(f"{PREFIX}/"):
            return plain_text(404, f"there is nothing here; there is {PREFIX}/")
        return endpoints.answer(request._replace(path=request.path.removeprefix(PREFIX), base=PREFIX))

    server.start(answer)
    return server


def _is_to_this_machine(request: HttpRequest) -> bool:
    host = request.headers.get("host", "localhost")
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return name.lower() in _LOCAL
