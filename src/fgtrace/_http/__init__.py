"""
HTTP: the debug endpoints (traces, profiles and the list of tasks under ``/debug``), and a small server.

`Endpoints` answers requests and knows no framework and no socket. What mounts it (`fgtrace.asgi`,
`fgtrace.aiohttp`, `fgtrace.wsgi`, `fgtrace.server`) passes an `HttpRequest` and gets an `HttpResponse` to
send, or a `Job` to run in a thread that may block. The mount cancels the job when its client goes away, and
closes the response.

    answer = endpoints.answer(HttpRequest("GET", "/fgtrace", "seconds=3"))

Rules:

- Everything from outside is bounded: the query, what an error quotes of it, the length and rate of a trace,
  how many traces are made at once, and how long a client may take to read one.
- Nothing here imports a framework, and a job holds no lock while it waits.

To add an endpoint, add its path to `PATHS` and a method to `Endpoints` in ``endpoints.py``, and its fields to
``docs/http.md``. To add a mount for another framework, write a public module like ``wsgi.py``: translate the
request, run the job, send the chunks.

The idea of a wall-clock trace behind a URL, with these paths, is Felix Geisendörfer's (fgprof, fgtrace).
"""

from __future__ import annotations

from fgtrace._http.endpoints import PATHS, Endpoints
from fgtrace._http.jobs import Job
from fgtrace._http.messages import HttpRequest, HttpResponse
from fgtrace._http.options import HttpOptions
from fgtrace._options.parsing import refuse_unknown
from fgtrace.errors import ConfigError

__all__ = [
    "PATHS",
    "Endpoints",
    "HttpOptions",
    "HttpRequest",
    "HttpResponse",
    "Job",
    "make_endpoints",
    "mount_path",
]


def make_endpoints(function: str, options: dict[str, object], *own: str) -> Endpoints:
    """
    Return endpoints with these options.

    Args:
        function: what the user called, as ``"fgtrace.serve"``.
        options: of `HttpOptions`.
        own: names of further options that the function has.

    Raises:
        ConfigError: an option has a value that is not allowed.
        UnknownOptionError: there is no such option.
    """
    refuse_unknown(function, options, (*own, *HttpOptions.__slots__))
    return Endpoints(HttpOptions(**options))  # type: ignore[arg-type]


def mount_path(prefix: str) -> str:
    """
    Check a prefix, and return it without the slash at its end.

    Raises:
        ConfigError: the endpoints would leave no path to the application, or the prefix is no path.
    """
    path = prefix.rstrip("/")
    if not path.startswith("/") or any(each in path for each in "?#{}"):
        raise ConfigError("prefix", prefix, "allowed is a path such as '/debug'")
    return path
