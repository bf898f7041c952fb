"""
Traces of a live WSGI application over HTTP: Flask, Django, any other.

    app.wsgi_app = fgtrace.wsgi.DebugMiddleware(app.wsgi_app)    # Flask
    application = fgtrace.wsgi.DebugMiddleware(application)      # any

Then ``curl 'http://127.0.0.1:8000/debug/fgtrace?seconds=5' > trace.json``. A trace takes one of the server's
threads for its length. A client that goes away is noticed at once where the server tells of it
(waitress does, with ``channel_request_lookahead=1``), and else when the trace is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from fgtrace._http import Endpoints, HttpRequest, HttpResponse, make_endpoints, mount_path
from fgtrace._recording.wrappers import wrapper

__all__ = ["DebugApp", "DebugMiddleware"]

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
#: What may stand in the environment: a function that tells whether the client has gone.
DISCONNECTED = "waitress.client_disconnected"


class DebugApp:
    """
    An application to be mounted: its paths are ``/``, ``/fgtrace``, ``/fgprof`` and ``/tasks``.

        app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/debug": fgtrace.wsgi.DebugApp()})

    Args:
        options: see `fgtrace._http.HttpOptions`: ``token``, ``seconds``, ``max_seconds``, ``max_hz``,
            ``max_traces``, ``config``.

    Raises:
        ConfigError: an option has a value that is not allowed.
        UnknownOptionError: there is no such option.
    """

    def __init__(self, **options: Any) -> None:
        self._endpoints = make_endpoints("fgtrace.wsgi.DebugApp", options)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """
        Answer a request.
        """
        return _answer(self._endpoints, environ, start_response)


class DebugMiddleware:
    """
    Answers what is asked under a prefix, and hands everything else on.

    Args:
        app: the application.
        prefix: where the paths are.
        options: as of `DebugApp`.

    Raises:
        ConfigError: an option has a value that is not allowed.
        UnknownOptionError: there is no such option.
    """

    def __init__(self, app: WsgiApp, prefix: str = "/debug", **options: Any) -> None:
        self._app = app
        self._prefix = mount_path(prefix)
        self._endpoints = make_endpoints("fgtrace.wsgi.DebugMiddleware", options, "prefix")

    @wrapper("call")
    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """
        Answer a request, or hand it on.
        """
        path = environ.get("PATH_INFO", "")
        if path != self._prefix and not path.startswith(f"{self._prefix}/"):
            return self._app(environ, start_response)
        moved = {
            "SCRIPT_NAME": environ.get("SCRIPT_NAME", "") + self._prefix,
            "PATH_INFO": path.removeprefix(self._prefix),
        }
        return _answer(self._endpoints, {**environ, **moved}, start_response)


def _answer(
    endpoints: Endpoints, environ: dict[str, Any], start_response: Callable[..., Any]
) -> Iterable[bytes]:
    request = HttpRequest(
        environ["REQUEST_METHOD"],
        environ.get("PATH_INFO", ""),
        environ.get("QUERY_STRING", ""),
        _headers(environ),
        environ.get("SCRIPT_NAME", ""),
    )
    found = endpoints.answer(request)
    if isinstance(found, HttpResponse):
        return _start(found, start_response)
    try:
        found.run(environ.get(DISCONNECTED))
    except BaseException:
        found.cancel()
        raise
    response = found.response
    if response is None:  # the client has gone
        start_response("408 Request Timeout", [("Content-Length", "0")])
        return []
    return _start(response, start_response)


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    return {
        name.removeprefix("HTTP_").replace("_", "-").lower(): str(value)
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }


def _start(response: HttpResponse, start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response(f"{response.status} {response.phrase}", list(response.headers.items()))
    return _Body(response)


class _Body:
    """
    What a server iterates over, and closes.
    """

    def __init__(self, response: HttpResponse) -> None:
        self._reply = response

    def __iter__(self) -> Iterator[bytes]:
        return self._reply.chunks()

    def close(self) -> None:
        """
        Sent, or given up.
        """
        self._reply.close()
