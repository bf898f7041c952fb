"""
asyncio's own primitives, each as a situation in which a task waits (see `situations`).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from situations import Corpus, end_by
from stalls import busy_port, held_back, mute_port, socket_pair

__all__ = ["SLOW_HOST", "corpus"]

corpus = Corpus()
PYTHON = sys.version_info[:2]
SLOW_HOST = "slow.test"
ANY = "127.0.0.1"
SLEEP_LONG = ("sleep", "60")


@corpus("sleep", "asyncio.sleep", "tasks.sleep")
async def sleep() -> None:
    await asyncio.sleep(60)  # waits


@corpus("lock wait", "asyncio.Lock", "*__aenter__", "Lock.acquire")
async def lock() -> None:
    taken = asyncio.Lock()
    await taken.acquire()
    async with taken:  # waits
        pass


@corpus("lock wait", "asyncio.Semaphore", "Semaphore.acquire")
async def semaphore() -> None:
    await asyncio.Semaphore(0).acquire()  # waits


@corpus("event wait", "asyncio.Condition", "Condition.wait")
async def condition() -> None:
    held = asyncio.Condition()
    async with held:
        await held.wait()  # waits


@corpus("event wait", "asyncio.Condition", "Condition.wait_for", "Condition.wait")
async def condition_for() -> None:
    held = asyncio.Condition()
    async with held:
        await held.wait_for(lambda: False)  # waits


@corpus("lock wait", "asyncio.Lock", "Lock.acquire")
async def condition_lock() -> None:
    held = asyncio.Condition()
    await held.acquire()
    async with held:  # waits
        pass


@corpus("lock wait", "asyncio.Lock", "Condition.wait", "Lock.acquire")
async def condition_notified() -> None:
    held = asyncio.Condition()

    async def notify() -> None:
        async with held:
            held.notify()
            await release.wait()

    release = asyncio.Event()
    end_by(release.set)  # no cancellation ends the wait for the lock
    async with held, asyncio.TaskGroup() as group:
        group.create_task(notify())
        await held.wait()  # waits


@corpus("event wait", "asyncio.Event", "Event.wait")
async def event() -> None:
    await asyncio.Event().wait()  # waits


@corpus("event wait", "asyncio.Barrier", "Barrier.wait", "Condition.wait")
async def barrier() -> None:
    await asyncio.Barrier(2).wait()  # waits


@corpus("queue wait", "asyncio.Queue", "Queue.get")
async def queue_get() -> None:
    await asyncio.Queue[int]().get()  # waits


@corpus("queue wait", "asyncio.Queue", "Queue.put")
async def queue_put() -> None:
    full = asyncio.PriorityQueue[int](1)
    await full.put(1)
    await full.put(2)  # waits


@corpus("queue wait", "asyncio.Queue", "Queue.join", "Event.wait")
async def queue_join() -> None:
    full = asyncio.LifoQueue[int]()
    await full.put(1)
    await full.join()  # waits


@corpus("I/O wait", "asyncio.StreamReader", "StreamReader.readline", "StreamReader._wait_for_data")
async def stream_readline() -> None:
    with mute_port() as port:
        reader, writer = await asyncio.open_connection(ANY, port)
        try:
            await reader.readline()  # waits
        finally:
            writer.transport.abort()


@corpus("I/O wait", "asyncio.StreamReader", "StreamReader.__anext__", "StreamReader._wait_for_data")
async def stream_lines() -> None:
    with mute_port() as port:
        reader, writer = await asyncio.open_connection(ANY, port)
        try:
            async for _ in reader:  # waits
                pass
        finally:
            writer.transport.abort()


@corpus("I/O wait", "asyncio.StreamWriter", "StreamWriter.drain", "FlowControlMixin._drain_helper")
async def stream_drain() -> None:
    with mute_port() as port:
        _, writer = await asyncio.open_connection(ANY, port)
        try:
            writer.write(bytes(20_000_000))
            await writer.drain()  # waits
        finally:
            writer.transport.abort()


@corpus(
    "I/O wait",
    "loop.sock_connect|loop.create_connection",
    "open_connection",
    "*Loop.create_connection",
    "...",
)
async def connect() -> None:
    with busy_port() as port:
        await asyncio.open_connection(ANY, port)  # waits


@corpus("I/O wait", "loop.create_connection", "open_connection", "*Loop.create_connection", "...")
async def tls_handshake() -> None:
    with mute_port() as port:
        await asyncio.open_connection(ANY, port, ssl=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))  # waits


@corpus("I/O wait", "loop.start_tls", "StreamWriter.start_tls", "*Loop.start_tls")
async def start_tls() -> None:
    with mute_port() as port:
        _, writer = await asyncio.open_connection(ANY, port)
        try:
            await writer.start_tls(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), server_hostname=ANY)  # waits
        finally:
            writer.transport.abort()


@corpus("I/O wait", "asyncio.Server", "Server.serve_forever")
async def serve_forever() -> None:
    async with await asyncio.start_server(lambda *_: None, ANY, 0) as server:
        await server.serve_forever()  # waits


@corpus("I/O wait", "loop.sock_recv", "*Loop.sock_recv")
async def sock_recv() -> None:
    with socket_pair() as (one, _):
        await asyncio.get_running_loop().sock_recv(one, 1)  # waits


@corpus("I/O wait", "loop.sock_recv_into", "*Loop.sock_recv_into")
async def sock_recv_into() -> None:
    with socket_pair() as (one, _):
        await asyncio.get_running_loop().sock_recv_into(one, bytearray(1))  # waits


@corpus("I/O wait", "loop.sock_sendall", "*Loop.sock_sendall")
async def sock_sendall() -> None:
    with socket_pair() as (one, _):
        await asyncio.get_running_loop().sock_sendall(one, bytes(20_000_000))  # waits


@corpus("I/O wait", "loop.sock_accept", "*Loop.sock_accept")
async def sock_accept() -> None:
    with socket.create_server((ANY, 0)) as server:
        server.setblocking(False)
        await asyncio.get_running_loop().sock_accept(server)  # waits


@corpus("I/O wait", "loop.sock_connect", "*Loop.sock_connect")
async def sock_connect() -> None:
    with busy_port() as port, socket.socket() as client:
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, (ANY, port))  # waits


@corpus("I/O wait", "loop.getaddrinfo", "*Loop.getaddrinfo", loops="asyncio")
async def dns() -> None:
    await asyncio.get_running_loop().getaddrinfo(SLOW_HOST, 80)  # waits


@corpus("I/O wait", "loop.getaddrinfo", "open_connection", "*Loop.getaddrinfo", loops="asyncio")
async def dns_of_connection() -> None:
    await asyncio.open_connection(SLOW_HOST, 80)  # waits


@corpus("thread wait", "concurrent.futures.Future")
async def executor() -> None:
    with held_back() as job:
        await asyncio.get_running_loop().run_in_executor(None, job)  # waits


@corpus("thread wait", "asyncio.to_thread", "threads.to_thread")
async def to_thread() -> None:
    with held_back() as job:
        await asyncio.to_thread(job)  # waits


@corpus("thread wait", "concurrent.futures.Future")
async def wrap_future() -> None:
    await asyncio.wrap_future(concurrent.futures.Future[int]())  # waits


@corpus("thread wait", "asyncio.gather")
async def gather_of_executor() -> None:
    loop = asyncio.get_running_loop()
    with held_back() as job:
        await asyncio.gather(*(loop.run_in_executor(None, job) for _ in range(2)))  # waits


@corpus("subprocess wait", "asyncio.subprocess.Process", "Process.wait", "...")
async def subprocess_wait() -> None:
    child = await asyncio.create_subprocess_exec(*SLEEP_LONG)
    try:
        await child.wait()  # waits
    finally:
        child.kill()
        await child.wait()


@corpus("subprocess wait", "asyncio.subprocess.Process", "Process.communicate")
async def subprocess_communicate() -> None:
    child = await asyncio.create_subprocess_exec(*SLEEP_LONG, stdout=-1)
    try:
        await child.communicate()  # waits
    finally:
        child.kill()
        await child.wait()


@corpus(
    "subprocess wait",
    "loop.subprocess_exec",
    "create_subprocess_exec",
    "*Loop.subprocess_exec",
    "...",
    loops="asyncio",
)
async def subprocess_create() -> None:
    asyncio.get_running_loop().connect_write_pipe = stalled  # type: ignore[method-assign,assignment]
    await asyncio.create_subprocess_exec("true", stdin=-1)  # waits


async def stalled(_: Any, pipe: Any) -> Any:
    """
    Connect a pipe, never.
    """
    with pipe:
        await asyncio.sleep(60)


@corpus("task wait", "asyncio.gather")
async def gather() -> None:
    await asyncio.gather(asyncio.sleep(60), asyncio.sleep(60))  # waits


@corpus("future wait", "asyncio.gather")
async def gather_of_futures() -> None:
    loop = asyncio.get_running_loop()
    await asyncio.gather(loop.create_future(), loop.create_future())  # waits


@corpus("task wait", "asyncio.TaskGroup", "TaskGroup.__aexit__", "...")
async def task_group() -> None:
    async with asyncio.TaskGroup() as group:  # waits
        group.create_task(asyncio.sleep(60))


@corpus("task wait", "asyncio.wait", "tasks.wait", "tasks._wait")
async def wait() -> None:
    with cancelling(asyncio.create_task(asyncio.sleep(60))) as task:
        await asyncio.wait([task], return_when=asyncio.FIRST_COMPLETED)  # waits


@corpus("future wait", "asyncio.wait", "tasks.wait", "tasks._wait")
async def wait_for_futures() -> None:
    await asyncio.wait([asyncio.get_running_loop().create_future()])  # waits


@corpus("task wait", "asyncio.as_completed", "*_wait_for_one", "Queue.get")
async def as_completed() -> None:
    with cancelling(asyncio.create_task(asyncio.sleep(60))) as task:
        for each in asyncio.as_completed([task]):
            await each  # waits


@corpus("task wait", "asyncio.Task")
async def shield() -> None:
    with cancelling(asyncio.create_task(asyncio.sleep(60))) as task:
        await asyncio.shield(task)  # waits


@corpus("task wait", "asyncio.Task")
async def task() -> None:
    await asyncio.create_task(asyncio.sleep(60))  # waits


@corpus("task wait", "asyncio.Task", "tasks.wait_for")
async def wait_for_task() -> None:
    await asyncio.wait_for(asyncio.create_task(asyncio.sleep(60)), 60)  # waits


WAIT_FOR = ("queue wait", "asyncio.Queue", "wait_for", "Queue.get")
WAIT_FOR_BEFORE_312 = ("task wait", "asyncio.Task", "wait_for")  # it makes a task of the coroutine


@corpus(*(WAIT_FOR if PYTHON >= (3, 12) else WAIT_FOR_BEFORE_312))
async def wait_for_coroutine() -> None:
    await asyncio.wait_for(asyncio.Queue[int]().get(), 60)  # waits


@corpus("future wait", "asyncio.Future", "wait_for")
async def wait_for_future() -> None:
    await asyncio.wait_for(asyncio.get_running_loop().create_future(), 60)  # waits


@corpus("future wait", "asyncio.Future")
async def future() -> None:
    await asyncio.get_running_loop().create_future()  # waits


@corpus("event wait", "asyncio.Event", "Event.wait")
async def timeout() -> None:
    async with asyncio.timeout(60):
        await asyncio.Event().wait()  # waits


@contextmanager
def cancelling(task: asyncio.Task[Any]) -> Iterator[asyncio.Task[Any]]:
    """
    Cancel the task that a block waited for.
    """
    try:
        yield task
    finally:
        task.cancel()
