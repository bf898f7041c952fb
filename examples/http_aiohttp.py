"""
An aiohttp application that is traced over HTTP while it serves, with its requests by name.

    python examples/http_aiohttp.py [OUT] [--port PORT] [--stay]

The program requests a trace of itself, and some users meanwhile. With --stay it goes on until Ctrl-C: open
the page that it prints, or send requests yourself:

    curl 'http://127.0.0.1:8080/debug/fgtrace?seconds=5&awaits=exact' >trace.json
    curl http://127.0.0.1:8080/debug/tasks

Open the trace in https://ui.perfetto.dev: each request is a slice `GET /users/{id}` with its path. The
client runs in the same program, and its tasks are in the trace, too.
"""

import argparse
import asyncio
from pathlib import Path

import aiohttp
from aiohttp import web

import fgtrace.aiohttp


async def user(request: web.Request) -> web.Response:
    await asyncio.sleep(0.05)
    return web.Response(text=f"user {request.match_info['id']}\n")


async def ask_for_users(client: aiohttp.ClientSession, stop: asyncio.Event) -> None:
    number = 0
    while not stop.is_set():
        number += 1
        async with client.get(f"/users/{number}") as answer:
            await answer.text()


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", nargs="?", default="http_aiohttp.json")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--stay", action="store_true")
    options = parser.parse_args()

    app = web.Application(middlewares=[fgtrace.aiohttp.request_middleware])
    app.router.add_get("/users/{id}", user)
    fgtrace.aiohttp.add_routes(app)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", options.port).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    async with aiohttp.ClientSession(url) as client:
        stop = asyncio.Event()
        asking = asyncio.create_task(ask_for_users(client, stop), name="client")
        async with client.get("/debug/fgtrace?seconds=1") as answer:
            Path(options.out).write_bytes(await answer.read())
        stop.set()
        await asking
    print(f"{options.out}: open it at https://ui.perfetto.dev")

    if options.stay:
        print(f"{url}/debug/ until Ctrl-C", flush=True)
        await asyncio.Event().wait()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
