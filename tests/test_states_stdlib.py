"""
The states of tasks: each against asyncio's own primitive, on asyncio's loop and on uvloop's.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
import ssl
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import trustme

import fgtrace
import lockstep
from reading import Trace
from situations import UNBLOCKED, Situation, chains_in, check, in_order, read_file, runner, stay, trace_all
from tick_count import Ticks, pass_ticks, wait_for_ticks
from trace_processor import Engine
from waiting import SLOW_HOST, corpus

pytestmark = pytest.mark.usefixtures("core")

Traced = Callable[..., Trace]
LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


def slow_dns(patch: pytest.MonkeyPatch, release: threading.Event) -> None:
    """
    Let one host's address never be known.
    """
    ask = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:
        if host == SLOW_HOST:
            release.wait()
            raise OSError("the test is over")
        return ask(host, *args, **options)

    patch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture(scope="module")
def traces(
    core: str, trace_engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Trace]:
    """
    One trace for each kind of loop, with all situations at once.
    """

    @cache
    def trace(loop: str) -> Trace:
        path = tmp_path_factory.mktemp(loop) / "t.json"
        release = threading.Event()
        with pytest.MonkeyPatch.context() as patch:
            slow_dns(patch, release)
            trace_all(path, lambda: in_loop(loop, release), runner(loop))
        return read_file(trace_engine, path)

    return trace


async def in_loop(loop: str, release: threading.Event) -> None:
    """
    All the situations, side by side.
    """
    running = asyncio.get_running_loop()
    running.set_default_executor(concurrent.futures.ThreadPoolExecutor(20))
    try:
        await stay(corpus.on(loop))
    finally:
        release.set()


@pytest.mark.parametrize(("loop", "situation"), corpus.params("asyncio", "uvloop"))
def test_wait(loop: str, situation: Situation, traces: Callable[[str], Trace]) -> None:
    """
    A waiting task shows its state, what it waits on, the line that waits, and the whole chain.
    """
    check(traces(loop), situation)


def test_runnable(traced: Traced) -> None:
    """
    A task that could go on, but whose loop is busy, is runnable where it waits for its turn.
    """

    async def main() -> None:
        waits = asyncio.create_task(turn(), name="waits")
        await asyncio.sleep(0)
        go.set()
        wait_for_ticks(10)
        await waits

    async def turn() -> None:
        await go.wait()

    go = asyncio.Event()
    track = traced(main).track("waits *")
    stacks = [stack for row in track.named("runnable") for stack in chains_in(track, row)]
    assert any(in_order(stack, ["turn", "Event.wait"]) for stack in stacks)


def test_turns(traced: Traced) -> None:
    """
    Tasks that hand the loop to each other wait for their turn, or run, and nothing else.
    """

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(5):
                group.create_task(turns(), name=f"turn {number}")

    async def turns() -> None:
        ticks = Ticks(20)
        while not ticks.have_passed():
            await asyncio.sleep(0)

    trace = traced(main)
    states = [set(track.states()) for track in trace.all("turn ?*")]
    assert len(states) == 5
    assert set.union(*states) <= UNBLOCKED
    assert all("runnable" in found for found in states)


def test_tls(traced: Traced) -> None:
    """
    A task that reads from a TLS connection waits for I/O, on both of its ends.
    """
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)

    async def main() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server) as serving:
            port = serving.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=client, server_hostname="localhost"
            )
            writer.write(b"hello\n")
            assert await reader.readline() == b"hello\n"
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asyncio.current_task().set_name("server")  # type: ignore[union-attr]
        line = await reader.readline()
        await pass_ticks(10)
        writer.write(line)
        await reader.read()
        writer.close()

    trace = traced(main)
    reads = [row.args["on"] for row in trace.track("* main").named("I/O wait")]
    assert "asyncio.StreamReader" in reads
    assert "sleep" in trace.track("server *").states()


def test_sequence(read_trace: Callable[..., Trace], tmp_path: Path) -> None:
    """
    A task that waits for one thing after the other shows the states in that order.
    """

    async def main() -> None:
        await asyncio.create_task(waits(), name="waits")

    async def waits() -> None:
        loop = asyncio.get_running_loop()
        lock, event, queue = asyncio.Lock(), asyncio.Event(), asyncio.Queue[int]()
        await lock.acquire()
        for number, later in enumerate((lock.release, event.set, lambda: queue.put_nowait(1)), 1):
            loop.call_later(0.1 * number, later)
        await lock.acquire()
        await event.wait()
        await queue.get()
        await asyncio.to_thread(time.sleep, 0.1)
        await asyncio.gather(asyncio.sleep(0.1))
        await asyncio.sleep(0.1)

    with fgtrace.trace(tmp_path / "t.json", hz=200, max_overhead=1.0) as trace:
        phases = lockstep.run(trace, main())
    track = read_trace().track("waits *")
    states = ["lock wait", "event wait", "queue wait", "thread wait", "task wait", "sleep"]
    assert lockstep.states_at(track, phases) == states
    seen = [row.name for row in track if row.category == "state" and row.args.get("on")]
    assert list(dict.fromkeys(seen)) == states
