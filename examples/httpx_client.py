"""
A hundred requests at once, but only ten connections: ninety requests wait.

    python examples/httpx_client.py [OUT] [URL ...]

Open the trace in https://ui.perfetto.dev. Each of the hundred tasks `fetch` has a track. First it is
in `pool wait`: all connections are in use. Then it is in `I/O wait`: the request is sent, and the server has
not answered yet. The later a task gets its connection, the longer its `pool wait`.

Without a URL the requests go to a small server in this program; aiohttp_server.py is another one.
"""

import argparse
import asyncio
import time
from collections import Counter
from itertools import cycle, islice

import httpx

import fgtrace

REQUESTS = 100
CONNECTIONS = 10


async def fetch(client: httpx.AsyncClient, url: str) -> int:
    response = await client.get(url)
    return response.status_code


async def fetch_all(urls: list[str]) -> Counter[int]:
    limits = httpx.Limits(max_connections=CONNECTIONS)
    async with httpx.AsyncClient(limits=limits, timeout=30) as client, asyncio.TaskGroup() as group:
        tasks = [group.create_task(fetch(client, url)) for url in islice(cycle(urls), REQUESTS)]
    return Counter(task.result() for task in tasks)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async for line in reader:
        if line == b"\r\n":  # the end of a request
            await asyncio.sleep(0.05)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    writer.close()


async def main(out: str, urls: list[str]) -> None:
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with fgtrace.trace(out):
            began = time.perf_counter()
            statuses = await fetch_all(urls or [f"http://127.0.0.1:{port}/"])
            seconds = time.perf_counter() - began
    for status, count in statuses.items():
        print(f"{count} answers with status {status}, in {seconds:.2f} s")
    print(f"the trace is in {out}: open it in https://ui.perfetto.dev")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A hundred requests at once, over ten connections.")
    parser.add_argument("out", nargs="?", default="fgtrace.json", help="where the trace goes")
    parser.add_argument("urls", nargs="*", metavar="url", help="requested in turn")
    asyncio.run(main(**vars(parser.parse_args())))
