"""
Live services on loopback, one for each kind of mount; and what a client of theirs needs.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import flask
import httpx
import uvicorn
import waitress.server
from aiohttp import web
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

import fgtrace
import fgtrace.aiohttp
import fgtrace.asgi
import fgtrace.wsgi

__all__ = ["MOUNTS", "SECONDS", "Live", "live", "until"]

SECONDS = 60


def until(holds: Callable[[], bool]) -> None:
    """
    Wait for something that is bound to come.
    """
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


class Live(NamedTuple):
    """
    A service: where it is, and what makes it stand still: `block` does until `go_on` is set.
    """

    url: str
    blocked: threading.Event
    go_on: threading.Event

    @property
    def port(self) -> int:
        return int(httpx.URL(self.url).port or 0)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=SECONDS, **options)


class _Service:
    """
    What all services do.
    """

    def __init__(self) -> None:
        self.blocked, self.go_on = threading.Event(), threading.Event()

    def block(self) -> None:
        self.blocked.set()
        assert self.go_on.wait(SECONDS)

    async def user(self, number: str) -> str:
        await asyncio.sleep(0.2)
        return f"user {number}"


@contextmanager
def _in_thread(run: Callable[[], Any], name: str, stop: Callable[[], Any]) -> Iterator[None]:
    thread = threading.Thread(target=run, name=name)
    thread.start()
    try:
        yield
    finally:
        stop()
        thread.join(SECONDS)
        assert not thread.is_alive()


@contextmanager
def _starlette(service: _Service, loop: str = "asyncio", **options: Any) -> Iterator[str]:
    async def user(request: Request) -> PlainTextResponse:
        return PlainTextResponse(await service.user(request.path_params["id"]))

    async def block(request: Request) -> PlainTextResponse:
        service.block()
        return PlainTextResponse("went on")

    app = Starlette(
        routes=[
            Route("/users/{id:int}", user),
            Mount("/v2", routes=[Route("/users/{id}", user)]),
            Route("/block", block),
            Mount("/debug", fgtrace.asgi.DebugApp(**options)),
        ]
    )
    app.add_middleware(fgtrace.asgi.RequestMiddleware)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", loop=loop, lifespan="off"))

    def stop() -> None:
        server.should_exit = True

    with _in_thread(server.run, "service", stop):
        until(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"


@contextmanager
def _aiohttp(service: _Service, **options: Any) -> Iterator[str]:
    async def user(request: web.Request) -> web.Response:
        return web.Response(text=await service.user(request.match_info["id"]))

    async def block(request: web.Request) -> web.Response:
        service.block()
        return web.Response(text="went on")

    loop = asyncio.new_event_loop()
    ready, end = threading.Event(), asyncio.Event()
    port: list[int] = []

    async def serve() -> None:
        app = web.Application(middlewares=[fgtrace.aiohttp.request_middleware])
        app.add_routes([web.get("/users/{id}", user), web.get("/block", block)])
        fgtrace.aiohttp.add_routes(app, **options)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port.append(runner.addresses[0][1])
        ready.set()
        await end.wait()
        await runner.cleanup()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    with _in_thread(run, "service", lambda: loop.call_soon_threadsafe(end.set)):
        assert ready.wait(SECONDS)
        yield f"http://127.0.0.1:{port[0]}"


@contextmanager
def _flask(service: _Service, **options: Any) -> Iterator[str]:
    app = flask.Flask("service")

    @app.route("/users/<number>")
    def user(number: str) -> str:
        time.sleep(0.2)
        return f"user {number}"

    @app.route("/block")
    def block() -> str:
        service.block()
        return "went on"

    wrapped = fgtrace.wsgi.DebugMiddleware(app.wsgi_app, **options)
    server = waitress.server.create_server(
        wrapped,
        host="127.0.0.1",
        port=0,
        threads=6,
        channel_request_lookahead=1,
        clear_untrusted_proxy_headers=True,
    )

    end = threading.Event()

    def run() -> None:
        while not end.is_set():
            # by poll: a socket that just closes is no error there, as it is with select
            server.asyncore.loop(timeout=0.1, map=server._map, use_poll=True, count=1)
        server.task_dispatcher.shutdown()
        server.asyncore.close_all(server._map)

    with _in_thread(run, "service", end.set):
        yield f"http://127.0.0.1:{server.effective_port}"


@contextmanager
def _alone(service: _Service, **options: Any) -> Iterator[str]:
    """
    A server of its own, beside an aiohttp service.
    """
    with fgtrace.serve(**options) as server:
        yield server.url.removesuffix("/debug/")


MOUNTS = {"starlette": _starlette, "aiohttp": _aiohttp, "flask": _flask, "serve": _alone}


@contextmanager
def live(mount: str, **options: Any) -> Iterator[Live]:
    """
    A service with the debug endpoints mounted in this way, with these options.
    """
    service = _Service()
    with MOUNTS[mount](service, **options) as url:
        yield Live(url, service.blocked, service.go_on)
