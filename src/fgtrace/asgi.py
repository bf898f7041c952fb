"""
Traces of a live ASGI application over HTTP: Starlette, FastAPI, Quart, Litestar, Django.

    app.mount("/debug", fgtrace.asgi.DebugApp(token="..."))              # Starlette, FastAPI
    app = fgtrace.asgi.DebugMiddleware(app, prefix="/debug")             # any

Then ``curl 'http://127.0.0.1:8000/debug/fgtrace?seconds=5' > trace.json``. It answers while the
application's loop runs: for a loop that may hang, `fgtrace.serve` has a thread of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio
import anyio.lowlevel

from fgtrace._http import Ask, Door, Job, Reply, make_door
from fgtrace._trace import in_thread

__all__ = ["DebugApp", "DebugMiddleware"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class DebugApp:
    """
    An application to be mounted: its paths are ``/``, ``/fgtrace``, ``/fgprof`` and ``/tasks``.

        routes = [Mount("/debug", fgtrace.asgi.DebugApp())]

    Args:
        options: see `fgtrace._http.HttpOptions`: ``token``, ``seconds``, ``max_seconds``, ``max_hz``,
            ``max_traces``, ``config``.

    Raises:
        ConfigError: an option has a value that is not allowed.
    """

    def __init__(self, **options: Any) -> None:
        self._door = make_door(options)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """
        Answer a request.
        """
        if scope["type"] != "http":
            raise NotImplementedError(f"there is nothing here but HTTP: {scope['type']}")
        base = scope.get("root_path", "")
        await _serve(self._door, _ask(scope, scope["path"].removeprefix(base), base), receive, send)


class DebugMiddleware:
    """
    Answers what is asked under a prefix, and hands everything else on.

        app = fgtrace.asgi.DebugMiddleware(app, prefix="/debug")
        app.add_middleware(fgtrace.asgi.DebugMiddleware, token="...")    # Starlette, FastAPI

    Args:
        app: the application.
        prefix: where the paths are.
        options: as of `DebugApp`.

    Raises:
        ConfigError: an option has a value that is not allowed.
    """

    def __init__(self, app: App, prefix: str = "/debug", **options: Any) -> None:
        self._app = app
        self._prefix = prefix.rstrip("/")
        self._door = make_door(options)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """
        Answer a request, or hand it on.
        """
        if scope["type"] == "http":
            root = scope.get("root_path", "")
            path = scope["path"].removeprefix(root)
            if path == self._prefix or path.startswith(f"{self._prefix}/"):
                ask = _ask(scope, path.removeprefix(self._prefix), root + self._prefix)
                await _serve(self._door, ask, receive, send)
                return
        await self._app(scope, receive, send)


def _ask(scope: MutableMapping[str, Any], path: str, base: str) -> Ask:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    return Ask(scope["method"], path, scope["query_string"].decode("latin-1"), headers, base)


async def _serve(door: Door, ask: Ask, receive: Receive, send: Send) -> None:
    """
    Answer, unless the client goes away meanwhile.
    """
    found = door.answer(ask)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(_cancel_when_gone, receive, group.cancel_scope)
            reply = await _made(found) if isinstance(found, Job) else found
            if reply is not None:
                with anyio.move_on_after(reply.patience):
                    await _send(reply, send)
            group.cancel_scope.cancel()
    finally:
        if isinstance(found, Job):
            found.cancel()


async def _cancel_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _made(job: Job) -> Reply | None:
    """
    The reply of a job, which a thread makes meanwhile.
    """
    failed = await in_thread(job.run)
    if failed is not None:
        raise failed
    return job.reply


async def _send(reply: Reply, send: Send) -> None:
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in reply.headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    for chunk in reply.chunks():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await anyio.lowlevel.checkpoint()  # a server that has lost its client takes all at once
    await send({"type": "http.response.body", "body": b"", "more_body": False})
