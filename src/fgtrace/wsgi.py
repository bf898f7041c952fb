"""
Traces of a live WSGI application over HTTP: Flask, Django, any other.

    app.wsgi_app = fgtrace.wsgi.DebugMiddleware(app.wsgi_app)    # Flask
    application = fgtrace.wsgi.DebugMiddleware(application)      # any

`fgtrace.server` says what can be requested then. A trace takes one of the server's threads for its length. A
client that goes away is noticed at once where the server reports it (waitress does, with
``channel_request_lookahead=1``), and elsewhere when the trace is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from fgtrace._http import Endpoints, EndpointsApp, EndpointsMiddleware, HttpRequest, HttpResponse
from fgtrace._recording.wrappers import wrapper

__all__ = ["DebugApp", "DebugMiddleware"]

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
#: A key that the environment may have: a function that returns whether the client has gone.
DISCONNECTED = "waitress.client_disconnected"


class DebugApp(EndpointsApp):
    """
    An application to be mounted: its paths are ``/``, ``/fgtrace``, ``/fgprof`` and ``/tasks``.

        app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/debug": fgtrace.wsgi.DebugApp()})

    Args:
        options: ``token``, ``max_seconds`` ...: as of `fgtrace.serve`, with the same errors.
    """

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """
        Answer a request.
        """
        return _answer(self._endpoints, environ, start_response)


class DebugMiddleware(EndpointsMiddleware[WsgiApp]):
    """
    Answers the requests under a prefix, and passes all others to the application.

    Args:
        app: the application.
        prefix: the path of the endpoints.
        options: as of `DebugApp`.
    """

    @wrapper("call")
    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """
        Answer a request, or pass it on.
        """
        below = self._below(environ.get("PATH_INFO", ""))
        if below is None:
            return self._app(environ, start_response)
        moved = {"SCRIPT_NAME": environ.get("SCRIPT_NAME", "") + self._prefix, "PATH_INFO": below}
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
    The body of a response, over which a server iterates, and which it closes.
    """

    def __init__(self, response: HttpResponse) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        return self._response.chunks()

    def close(self) -> None:
        """
        Close the response: it was sent, or given up.
        """
        self._response.close()
