"""
A service while a trace of it is served over HTTP: its throughput, its failures, its loop's longest absence.

    python bench/served.py [HALF_THE_PAIRS]

The service (aiohttp, requests by name, a task for each) is a process of its own; 200 clients ask it as fast
as it answers, each on a connection that is kept. Its work is a list of 150 users, read and written as JSON,
about a millisecond; or "nothing", an answer of a few bytes. A window lasts from the request for a trace of
two seconds to the last byte of it: tracing, encoding and sending. Each has an untraced one of the same
length as its neighbour, before it or behind it in turn. "By processor time" leaves a noisy machine out: how
many requests the service answers for a second of it. "Absence" is how long the loop did not come back to a
task that sleeps 1 ms, at most, beside a single client: under load a turn of the loop is as long as its work.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from slowdown import PINNED, median

SECONDS = 2.0
ASK = b"GET /users/7 HTTP/1.1\r\nHost: localhost\r\n\r\n"
USERS = [
    {"id": number, "name": f"user {number}", "groups": ["all", "some"], "score": number / 7}
    for number in range(150)
]


async def serve(*, works: bool) -> None:
    """
    The service; it prints its port.
    """
    from aiohttp import web

    import fgtrace.aiohttp

    longest = [0.0]

    async def user(request: web.Request) -> web.Response:
        await asyncio.sleep(0)
        if works:
            json.loads(json.dumps(USERS))
        return web.Response(text=f"user {request.match_info['id']}")

    async def absence(_: web.Request) -> web.Response:
        found, longest[0] = longest[0], 0.0
        return web.json_response(found)

    async def watch() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            longest[0] = max(longest[0], time.perf_counter() - before - 0.001)

    app = web.Application(middlewares=[fgtrace.aiohttp.request_middleware])
    app.add_routes([web.get("/users/{id}", user), web.get("/absence", absence)])
    fgtrace.aiohttp.add_routes(app)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    watching = asyncio.create_task(watch())
    print(runner.addresses[0][1], flush=True)
    await watching


class Crowd:
    """
    Clients that ask all the time.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.answered = self.failed = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def _ask(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        while True:
            writer.write(ASK)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readuntil(b"user 7")
            if head.startswith(b"HTTP/1.1 200"):
                self.answered += 1
            else:
                self.failed += 1

    async def _guarded(self) -> None:
        try:
            await self._ask()
        except (OSError, asyncio.IncompleteReadError):
            self.failed += 1

    async def come(self, count: int) -> None:
        self._tasks = [asyncio.create_task(self._guarded()) for _ in range(count)]
        await asyncio.sleep(1)

    async def go(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def get(port: int, path: str) -> bytes:
    """
    The body of an answer.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
    writer.close()
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(head.decode())
    return body


def cpu_seconds(pid: int) -> float:
    """
    The processor's time that a process has used so far.
    """
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Rate(NamedTuple):
    """
    Answers a second, of the wall clock and of the service's processor time.
    """

    wall: float
    cpu: float


async def measure(service: int, port: int, pairs: int, clients: int, query: str) -> dict[str, Any]:
    """
    The ratios of untraced to traced rates, failures, and the longest absences.
    """
    path = f"/debug/fgtrace?seconds={SECONDS}&{query}"
    crowd = Crowd(port)
    await crowd.come(clients)
    sizes: list[int] = []
    lengths: list[float] = []

    async def traced() -> None:
        start = time.perf_counter()
        sizes.append(len(await get(port, path)))
        lengths.append(time.perf_counter() - start)

    async def window(work: Coroutine[Any, Any, None]) -> Rate:
        start, before, cpu = time.perf_counter(), crowd.answered, cpu_seconds(service)
        await work
        done = crowd.answered - before
        return Rate(done / (time.perf_counter() - start), done / (cpu_seconds(service) - cpu))

    await traced()
    rates = []
    for pair in range(pairs):
        if pair % 2:
            with_, without = await window(traced()), await window(asyncio.sleep(lengths[-1]))
        else:
            without, with_ = await window(asyncio.sleep(lengths[-1])), await window(traced())
        rates.append(Rate(without.wall / with_.wall, without.cpu / with_.cpu))
    await crowd.go()
    await crowd.come(1)
    absences = []
    for path_ in ("/absence", path):
        await get(port, "/absence")
        await asyncio.sleep(SECONDS if path_ == "/absence" else 0)
        await get(port, path_)
        absences.append(float(await get(port, "/absence")))
    await crowd.go()
    return {
        "wall": [rate.wall for rate in rates], "cpu": [rate.cpu for rate in rates],
        "answered": crowd.answered, "failed": crowd.failed, "absences": absences,
        "size": sizes[-1], "length": sum(lengths) / len(lengths),
    }  # fmt: skip


def row(core: str, query: str, pairs: int, clients: int = 200, work: str = "users") -> list[str]:
    """
    One kind of trace, by one core.
    """
    with subprocess.Popen(
        [sys.executable, str(Path(__file__)), "serve", work],
        env=os.environ | PINNED | {"FGTRACE_CORE": core},
        stdout=subprocess.PIPE,
    ) as service:
        assert service.stdout is not None  # noqa: S101 - it has a pipe
        told = asyncio.run(measure(service.pid, int(service.stdout.readline()), pairs, clients, query))
        service.terminate()
    return [
        core, query, work, median(told["wall"]), median(told["cpu"]),
        f"{told['answered']:,}", str(told["failed"]),
        f"{told['size'] / 1e6:.1f} MB after {told['length']:.1f} s",
        *(f"{each * 1000:.1f} ms" for each in told["absences"]),
    ]  # fmt: skip


def rows(count: int) -> Iterator[list[str]]:
    """
    The table: by core and kind of trace.
    """
    yield [
        "core", "trace", "work", "slowdown", "the same by processor time", "requests", "failed", "the trace",
        "absence without", "with",
    ]  # fmt: skip
    for core, query in (("c", "hz=99"), ("c", "awaits=exact"), ("python", "hz=99")):
        for work in ("users", "nothing"):
            yield row(core, query, 2 * count, work=work)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve(works=sys.argv[2:] == ["users"]))
    else:
        for line in rows(int(sys.argv[1]) if len(sys.argv) > 1 else 5):
            print(*line, sep=" | ", flush=True)
