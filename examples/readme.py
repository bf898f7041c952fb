"""
Where does the time go when a program sleeps, waits for a web server, and computes?

    python examples/readme.py [OUT]

Open the trace in https://ui.perfetto.dev and find the task `main`. Its track shows from left to right:
`sleep`; `I/O wait`, with all awaits from `ask_server` down to the socket; `I/O wait` again, for the
pieces of the body; `running`, with `hashlib.sha1` as the innermost slice. The server has a thread and
an event loop of its own, where the track of `answer` shows what it did meanwhile.
"""

import asyncio
import hashlib
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import httpx
from aiohttp import web

import fgtrace


async def main(out: str = "fgtrace.json") -> None:
    url = start_server()
    async with httpx.AsyncClient() as client:
        await client.get(url)  # the first request imports half of httpx
        async with fgtrace.trace(out):
            with clock("sleep_ten_times"):
                await sleep_ten_times()
            with clock("ask_server"):
                response = await ask_server(client, url)
            with clock("read_body"):
                body = await read_body(response)
            with clock("hash_thousand_times"):
                await hash_thousand_times(body)
    print(f"the trace is in {out}: open it in https://ui.perfetto.dev")


async def sleep_ten_times() -> None:
    for _ in range(10):
        await asyncio.sleep(0.01)


async def ask_server(client: httpx.AsyncClient, url: str) -> httpx.Response:
    return await client.send(client.build_request("GET", url), stream=True)


async def read_body(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
    return bytes(body)


async def hash_thousand_times(body: bytes) -> None:
    for _ in range(1000):
        hashlib.sha1(body, usedforsecurity=False)


@contextmanager
def clock(phase: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    print(f"{phase}: {time.perf_counter() - began:.3f} s")


def start_server() -> str:
    url = Future[str]()
    threading.Thread(target=lambda: asyncio.run(serve(url)), name="server", daemon=True).start()
    return url.result(timeout=10)


async def serve(url: Future[str]) -> None:
    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    url.set_result(f"http://{host}:{port}/")
    await asyncio.Event().wait()  # until the program ends


async def answer(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(0.1)
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(10):
        await response.write(bytes(15_000))
        await asyncio.sleep(0.01)
    return response


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
