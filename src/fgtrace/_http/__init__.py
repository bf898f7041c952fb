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

To add an endpoint, add in ``endpoints.py`` its path to `PATHS`, a method to `Endpoints`, and the method to
``handlers`` there, in the order of `PATHS`; and its fields to ``docs/http.md``. To add a mount for another
framework, write a public module like ``wsgi.py``: translate the request, run the job, send the chunks.

The idea of a wall-clock trace behind a URL, with these paths, is Felix Geisendörfer's (fgprof, fgtrace).
"""

from __future__ import annotations

from fgtrace._http.endpoints import PATHS, Endpoints
from fgtrace._http.jobs import Job
from fgtrace._http.messages import HttpRequest, HttpResponse
from fgtrace._http.mounts import EndpointsApp, EndpointsMiddleware, make_endpoints, mount_path
from fgtrace._http.options import HttpOptions

__all__ = [
    "PATHS",
    "Endpoints",
    "EndpointsApp",
    "EndpointsMiddleware",
    "HttpOptions",
    "HttpRequest",
    "HttpResponse",
    "Job",
    "make_endpoints",
    "mount_path",
]
