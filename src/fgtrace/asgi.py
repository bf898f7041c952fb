"""
Traces of a live ASGI application over HTTP: Starlette, FastAPI, Quart, Litestar, Django.

    app.mount("/debug", fgtrace.asgi.DebugApp(token="..."))              # Starlette, FastAPI
    app = fgtrace.asgi.DebugMiddleware(app, prefix="/debug")             # any
    app = fgtrace.asgi.RequestMiddleware(app)                            # requests by name

`fgtrace.server` says what can be requested then. The endpoints answer while the application's loop runs; for
a loop that may hang, `fgtrace.serve` has threads of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio
import anyio.lowlevel

from fgtrace._http import Endpoints, EndpointsApp, EndpointsMiddleware, HttpRequest, HttpResponse, Job
from fgtrace._output.side_threads import start_thread
from fgtrace._recording.wrappers import wrapper
from fgtrace._sampling.collect.requests import begin_request, end_request

__all__ = ["DebugApp", "DebugMiddleware", "RequestMiddleware"]

Scope = MutableMapping[str, Any]
AsgiMessage = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[AsgiMessage]]
Send = Callable[[AsgiMessage], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class DebugApp(EndpointsApp):
    """
    An application to be mounted: its paths are ``/``, ``/fgtrace``, ``/fgprof`` and ``/tasks``.

        routes = [Mount("/debug", fgtrace.asgi.DebugApp())]

    Args:
        options: ``token``, ``max_seconds`` ...: as of `fgtrace.serve`, with the same errors.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """
        Answer a request.
        """
        if scope["type"] != "http":
            raise NotImplementedError(f"there is nothing here but HTTP: {scope['type']}")
        base = scope.get("root_path", "")
        request = _request(scope, scope["path"].removeprefix(base), base)
        await _serve(self._endpoints, request, receive, send)


class DebugMiddleware(EndpointsMiddleware[AsgiApp]):
    """
    Answers the requests under a prefix, and passes all others to the application.

        app = fgtrace.asgi.DebugMiddleware(app, prefix="/debug")
        app.add_middleware(fgtrace.asgi.DebugMiddleware, token="...")    # Starlette, FastAPI

    Args:
        app: the application.
        prefix: the path of the endpoints.
        options: as of `DebugApp`.
    """

    @wrapper("call")
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """
        Answer a request, or pass it on.
        """
        root = scope.get("root_path", "")
        below = self._below(scope["path"].removeprefix(root)) if scope["type"] == "http" else None
        if below is None:
            await self._app(scope, receive, send)
        else:
            await _serve(self._endpoints, _request(scope, below, root + self._prefix), receive, send)


class RequestMiddleware:
    """
    Names requests in traces: a task that serves one is called ``GET /users/{id}``, and the request is a slice
    with its path, its ``X-Request-ID`` and its OpenTelemetry trace id.

        app.add_middleware(fgtrace.asgi.RequestMiddleware)               # Starlette, FastAPI

    The route's pattern is the framework's (Starlette, FastAPI, Litestar); without one, the name has the path.
    The trace id is that of the span which is current here, so this belongs within OpenTelemetry's middleware;
    else that of the header ``traceparent``. Nothing else of a request is noted.

    Args:
        app: the application.
    """

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    @wrapper("request")
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """
        Pass a request on, and note which task serves it.
        """
        task = _current_task() if scope["type"] in ("http", "websocket") else None
        if task is None:
            await self._app(scope, receive, send)
            return
        serving = begin_request(task, _describe, scope)
        try:
            await self._app(scope, receive, send)
        finally:
            end_request(serving)


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # another loop than asyncio's
        return None


def _describe(scope: Scope) -> tuple[str, str, str, str]:
    """
    Return a request's facts: see `fgtrace._sampling.collect.requests.Describe`.
    """
    route = scope.get("route")
    if hasattr(route, "routes"):  # a mounted application: the route within it is not known
        route = None
    pattern = getattr(route, "path_format", None) or getattr(route, "path", None)
    if isinstance(pattern, str):
        pattern = scope.get("root_path", "") + pattern
    else:
        pattern = scope.get("path_template", scope["path"])
    number = parent = b""
    for name, value in scope["headers"]:  # in lower case, as ASGI has it
        if name == b"x-request-id":
            number = value
        elif name == b"traceparent":
            parent = value
    name = f"{scope.get('method', 'WS')} {pattern}"
    return name, scope["path"], number.decode("latin-1"), parent.decode("latin-1")


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _request(scope: Scope, path: str, base: str) -> HttpRequest:
    return HttpRequest(scope["method"], path, scope["query_string"].decode("latin-1"), _headers(scope), base)


async def _serve(endpoints: Endpoints, request: HttpRequest, receive: Receive, send: Send) -> None:
    """
    Answer, unless the client goes away meanwhile.
    """
    found = endpoints.answer(request)
    try:
        response = await _made(found, receive) if isinstance(found, Job) else found
        if response is not None:
            with anyio.move_on_after(response.patience):
                await _send(response, send)
    finally:
        if isinstance(found, Job):
            found.cancel()


async def _made(job: Job, receive: Receive) -> HttpResponse | None:
    """
    Run a job in a thread; return its response, or None, and at once, if the client goes away.

    No second task waits for that: a trace would show it.
    """
    with anyio.CancelScope() as done:
        start_thread(job.run, done.cancel)
        while (await receive())["type"] != "http.disconnect":
            pass
        return None
    return job.response


async def _send(response: HttpResponse, send: Send) -> None:
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in response.headers.items()]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    for chunk in response.chunks():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await anyio.lowlevel.checkpoint()  # a server that has lost its client takes all at once
    await send({"type": "http.response.body", "body": b"", "more_body": False})
