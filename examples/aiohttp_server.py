"""
A web server that traces itself, from start to end.

    python examples/aiohttp_server.py [OUT] [--port PORT] [--seconds SECONDS]

Send it requests while it runs:

    python examples/httpx_client.py client.json http://127.0.0.1:8080/slow http://127.0.0.1:8080/locked

The server stops by itself, or on Ctrl-C. Open the trace in https://ui.perfetto.dev: each connection is a
task, and each request another task below it, in the state of its handler. `slow` is in `sleep`; `locked` in
`lock wait` until the requests before it are done; `threaded` in `thread wait`, while a thread such as
`asyncio_0` computes. A connection that waits for a request is in `I/O wait`.
"""

import argparse
import asyncio
import hashlib
import signal
import socket
from collections.abc import AsyncIterator

from aiohttp import web

import fgtrace

OUT = web.AppKey("OUT", str)
SECONDS = web.AppKey("SECONDS", float)

lock = asyncio.Lock()
routes = web.RouteTableDef()


@routes.get("/quick")
async def quick(_: web.Request) -> web.Response:
    return web.Response(text="at once\n")


@routes.get("/slow")
async def slow(_: web.Request) -> web.Response:
    await asyncio.sleep(0.1)
    return web.Response(text="after a while\n")


@routes.get("/locked")
async def locked(_: web.Request) -> web.Response:
    async with lock:
        await asyncio.sleep(0.05)
    return web.Response(text="one after the other\n")


@routes.get("/threaded")
async def threaded(_: web.Request) -> web.Response:
    return web.Response(text=await asyncio.to_thread(compute))


def compute() -> str:
    return hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 100_000).hex()


async def traced(app: web.Application) -> AsyncIterator[None]:
    async with fgtrace.trace(app[OUT]):
        yield
    print(f"the trace is in {app[OUT]}: open it in https://ui.perfetto.dev")


async def limited(app: web.Application) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    timer = loop.call_later(app[SECONDS], signal.raise_signal, signal.SIGINT)
    yield
    timer.cancel()


def main(out: str, port: int, seconds: float) -> None:
    app = web.Application()
    app[OUT], app[SECONDS] = out, seconds
    app.add_routes(routes)
    app.cleanup_ctx.extend([traced, limited])
    web.run_app(app, sock=socket.create_server(("127.0.0.1", port)), shutdown_timeout=1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A web server that traces itself.")
    parser.add_argument("out", nargs="?", default="fgtrace.json", help="where the trace goes")
    parser.add_argument("--port", type=int, default=8080, help="0: any free port")
    parser.add_argument("--seconds", type=float, default=5, help="how long it runs at most")
    main(**vars(parser.parse_args()))
