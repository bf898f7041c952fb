"""
A Starlette application that is traced over HTTP while it serves, with its requests by name.

    python examples/http_asgi.py [OUT] [--port PORT] [--stay]

The program requests a trace of itself, and some users meanwhile. With --stay it goes on until Ctrl-C: open
the page that it prints, or send requests yourself:

    curl 'http://127.0.0.1:8000/debug/fgtrace?seconds=5' >trace.json
    curl http://127.0.0.1:8000/debug/tasks

Open the trace in https://ui.perfetto.dev: each request is a task named `GET /users/{id}`, and a slice with
its path and its id. FastAPI is used in the same way.
"""

import argparse
import asyncio
import threading
import time
from urllib.request import Request as Ask
from urllib.request import urlopen, urlretrieve

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

import fgtrace.asgi


async def user(request: Request) -> PlainTextResponse:
    await asyncio.sleep(0.05)
    return PlainTextResponse(f"user {request.path_params['id']}\n")


routes = [Route("/users/{id:int}", user), Mount("/debug", fgtrace.asgi.DebugApp())]
app = Starlette(routes=routes)
app.add_middleware(fgtrace.asgi.RequestMiddleware)


def ask_for_users(url: str, stop: threading.Event) -> None:
    number = 0
    while not stop.is_set():
        number += 1
        urlopen(Ask(f"{url}/users/{number}", headers={"X-Request-ID": f"request-{number}"})).read()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", nargs="?", default="http_asgi.json")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--stay", action="store_true")
    options = parser.parse_args()

    server = uvicorn.Server(uvicorn.Config(app, port=options.port, log_level="warning"))
    serving = threading.Thread(target=server.run, name="server")
    serving.start()
    while not server.started:
        time.sleep(0.01)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"

    stop = threading.Event()
    asking = threading.Thread(target=ask_for_users, args=(url, stop), name="client")
    asking.start()
    urlretrieve(f"{url}/debug/fgtrace?seconds=1", options.out)
    stop.set()
    asking.join()
    print(f"{options.out}: open it at https://ui.perfetto.dev")

    if options.stay:
        print(f"{url}/debug/ until Ctrl-C", flush=True)
    else:
        server.should_exit = True
    serving.join()


if __name__ == "__main__":
    main()
