"""
A program whose event loop hangs, and a server of its own that traces the program nevertheless.

    python examples/http_serve.py [OUT] [--port PORT] [--seconds SECONDS]

`worker` computes for too long, and all other tasks wait. Just then the program requests a trace, as another
terminal could:

    curl 'http://127.0.0.1:8642/debug/fgtrace?seconds=1' >trace.json
    curl http://127.0.0.1:8642/debug/tasks

Open the trace in https://ui.perfetto.dev: `worker` is `running` in `compute` all the time, and `ticker`
stays in its `sleep` of 10 ms (or `runnable`), for the loop cannot wake it.
"""

import argparse
import asyncio
import threading
import time
from urllib.request import urlopen, urlretrieve

import fgtrace


def compute(seconds: float) -> int:
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        number += 1
    return number


async def tick() -> None:
    while True:
        await asyncio.sleep(0.01)


async def work(seconds: float) -> None:
    ticker = asyncio.create_task(tick(), name="ticker")
    await asyncio.sleep(0.1)
    compute(seconds)  # should have been asyncio.to_thread(compute, seconds)
    ticker.cancel()


def ask(url: str, out: str) -> None:
    time.sleep(0.3)
    urlretrieve(f"{url}fgtrace?seconds=1", out)
    with urlopen(f"{url}tasks") as answer:
        print(answer.read().decode())
    print(f"{out}: open it at https://ui.perfetto.dev")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", nargs="?", default="http_serve.json")
    parser.add_argument("--port", type=int, default=8642)
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()

    with fgtrace.serve(port=options.port) as server:
        asking = threading.Thread(target=ask, args=(server.url, options.out), name="client")
        asking.start()
        with asyncio.Runner() as runner:
            task = runner.get_loop().create_task(work(options.seconds), name="worker")
            runner.run(asyncio.wait({task}))
        asking.join()


if __name__ == "__main__":
    main()
