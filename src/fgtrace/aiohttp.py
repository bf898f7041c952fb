"""
Traces of a live aiohttp application over HTTP.

    app = web.Application(middlewares=[fgtrace.aiohttp.request_middleware])    # requests by name
    fgtrace.aiohttp.add_routes(app, prefix="/debug", token="...")

`fgtrace.server` says what can be requested then. The endpoints answer while the application's loop runs; for
a loop that may hang, `fgtrace.serve` has threads of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

from aiohttp import web

from fgtrace._http import PATHS, Endpoints, HttpRequest, HttpResponse, make_endpoints, mount_path
from fgtrace._output.side_threads import in_thread
from fgtrace._recording.wrappers import wrapper
from fgtrace._sampling.collect.requests import begin_request, end_request

__all__ = ["add_routes", "request_middleware"]


def add_routes(app: web.Application, prefix: str = "/debug", **options: Any) -> None:
    """
    Add routes under a prefix: ``/debug/``, ``/debug/fgtrace``, ``/debug/fgprof`` and ``/debug/tasks``.

    Args:
        app: not yet running.
        prefix: the path of the endpoints.
        options: ``token``, ``max_seconds`` ...: as of `fgtrace.serve`, with the same errors.
    """
    prefix = mount_path(prefix)
    endpoints = make_endpoints("fgtrace.aiohttp.add_routes", options, "prefix")

    async def debug(path: str, request: web.Request) -> web.StreamResponse:
        path += request.match_info.get("rest", "")
        base = request.path.removesuffix(path)  # more than the prefix in an application within another one
        wanted = HttpRequest(request.method, path, request.rel_url.raw_query_string, _headers(request), base)
        return await _answer(endpoints, wanted, request)

    for path in ("", *PATHS):  # a route each, so that a request is named by its path
        app.router.add_route("*", prefix + path, partial(debug, path))
    app.router.add_route("*", prefix + "/{rest:.*}", partial(debug, "/"))


@web.middleware
@wrapper("request")
async def request_middleware(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """
    Name requests in traces: on its connection's track, each is a slice ``GET /users/{id}`` with its path,
    its ``X-Request-ID`` and its OpenTelemetry trace id. A connection that served one request, and did little
    else meanwhile, is named by it.

        app = web.Application(middlewares=[fgtrace.aiohttp.request_middleware])

    The trace id is that of the span which is current here, so this belongs within OpenTelemetry's
    middleware; else that of the header ``traceparent``. Nothing else of a request is noted.
    """
    task = asyncio.current_task()
    if task is None:  # a callback: nobody serves requests there
        return await handler(request)
    serving = begin_request(task, _describe, request)
    try:
        return await handler(request)
    finally:
        end_request(serving)


def _describe(request: web.Request) -> tuple[str, str, str, str]:
    """
    Return a request's facts: see `fgtrace._sampling.collect.requests.Describe`.
    """
    resource, path, header = request.match_info.route.resource, request.path, request.headers.get
    pattern = path if resource is None else resource.canonical
    return f"{request.method} {pattern}", path, header("X-Request-ID", ""), header("traceparent", "")


def _headers(request: web.Request) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


async def _answer(endpoints: Endpoints, wanted: HttpRequest, request: web.Request) -> web.StreamResponse:
    found = endpoints.answer(wanted)
    if isinstance(found, HttpResponse):
        return await _send(found, request)
    try:
        failed = await in_thread(partial(found.run, partial(_is_gone, request)))
        if failed is not None:
            raise failed
        response = found.response
        if response is None:
            raise web.HTTPRequestTimeout  # to nobody
        return await _send(response, request)
    finally:
        found.cancel()


def _is_gone(request: web.Request) -> bool:
    transport = request.transport
    return transport is None or transport.is_closing()


async def _send(response: HttpResponse, request: web.Request) -> web.StreamResponse:
    stream = web.StreamResponse(status=response.status, headers=response.headers)
    await stream.prepare(request)
    with suppress(ConnectionResetError, TimeoutError):  # the client went away, or takes too long
        async with asyncio.timeout(response.patience):
            for chunk in response.chunks():
                await stream.write(chunk)
                # a client that reads as fast as we write would have the loop to itself
                await asyncio.sleep(0)
    if not _is_gone(request):
        await stream.write_eof()
    return stream
