"""
The states of tasks inside libraries: against the real thing, with peers that do not answer.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from reading import Rows, Trace
from situations import (
    Corpus,
    Situation,
    chains_in,
    check,
    end_by,
    in_order,
    read_file,
    runner,
    stay,
    trace_all,
)
from stalls import busy_port, held_back, mute_port
from trace_processor import Engine

pytestmark = pytest.mark.usefixtures("core")

aiohttp = pytest.importorskip("aiohttp", reason="no wheel of aiohttp for this Python")
aiosqlite = pytest.importorskip("aiosqlite", reason="no aiosqlite for this Python")
httpx = pytest.importorskip("httpx", reason="no httpx for this Python")
uvicorn = pytest.importorskip("uvicorn", reason="no uvicorn for this Python")
starlette = pytest.importorskip("starlette.applications", reason="no starlette for this Python")
routing = pytest.importorskip("starlette.routing", reason="no starlette for this Python")
asyncpg = pytest.importorskip("asyncpg", reason="no wheel of asyncpg for this Python")
redis = pytest.importorskip("redis.asyncio", reason="no redis for this Python")
web = pytest.importorskip("aiohttp.web", reason="no wheel of aiohttp for this Python")
sqlalchemy = pytest.importorskip("sqlalchemy", reason="no SQLAlchemy for this Python")
in_asyncio = pytest.importorskip("sqlalchemy.ext.asyncio", reason="no SQLAlchemy for this Python")
pytest.importorskip("greenlet", reason="no wheel of greenlet for this Python")

corpus = Corpus()
ANY = "127.0.0.1"
#: Asks for ten bytes, and sends one.
PART = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx"


async def request(session: Any, port: int) -> None:
    await session.get(f"http://{ANY}:{port}/")


@corpus(
    "I/O wait",
    "*",
    "ClientSession._request",
    "TCPConnector._create_connection",
    "*.sock_connect",
    loops="asyncio",
)
async def aiohttp_connect() -> None:
    with busy_port() as port:
        async with aiohttp.ClientSession() as session:
            await session.get(f"http://{ANY}:{port}/")  # waits


@corpus("I/O wait", "aiohttp.*", "ClientSession._request", "ClientResponse.start", "*.read")
async def aiohttp_headers() -> None:
    with mute_port() as port:
        async with aiohttp.ClientSession() as session:
            await session.get(f"http://{ANY}:{port}/")  # waits


@corpus("I/O wait", "aiohttp.*", "ClientResponse.read", "StreamReader.read", "...")
async def aiohttp_body() -> None:
    with mute_port(PART) as port:
        async with aiohttp.ClientSession() as session, session.get(f"http://{ANY}:{port}/") as answer:
            await answer.read()  # waits


@corpus("pool wait", "aiohttp.*", "ClientSession._request", "*.connect", "*._wait_for_available_connection")
async def aiohttp_pool() -> None:
    with mute_port() as port:
        narrow = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(connector=narrow) as session, asyncio.TaskGroup() as group:
            group.create_task(request(session, port))
            await asyncio.sleep(0.05)
            await session.get(f"http://{ANY}:{port}/")  # waits


@corpus("I/O wait", "aiohttp.*", "ClientWebSocketResponse.receive", "WebSocketDataQueue.read")
async def aiohttp_websocket() -> None:
    async def answer(request: Any) -> Any:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        return socket

    async with (
        aiohttp_server(answer) as port,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://{ANY}:{port}/") as socket,
    ):
        await socket.receive()  # waits


@asynccontextmanager
async def aiohttp_server(answer: Callable[[Any], Any]) -> AsyncIterator[int]:
    """
    A server of aiohttp with one handler.
    """
    app = web.Application()
    app.router.add_route("*", "/", answer)
    running = web.AppRunner(app, shutdown_timeout=0.1)
    await running.setup()
    site = web.TCPSite(running, ANY, 0)
    await site.start()
    try:
        yield running.addresses[0][1]
    finally:
        await running.cleanup()


@corpus("I/O wait", "aiohttp.*", "...")
async def aiohttp_handler() -> None:
    """
    The server's side of it is looked at below.
    """

    async def answer(request: Any) -> Any:
        asyncio.current_task().set_name("aiohttp reads")  # type: ignore[union-attr]
        await request.read()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.sleep(60)

    async with aiohttp_server(answer) as port, aiohttp.ClientSession() as session:
        await session.post(f"http://{ANY}:{port}/", data=slowly())  # waits


@corpus("I/O wait", "*", "AsyncClient.get", "httpcore*.handle_async_request", "*.receive", "Event.wait")
async def httpx_headers() -> None:
    with mute_port() as port:
        async with httpx.AsyncClient(verify=False) as client:
            await client.get(f"http://{ANY}:{port}/")  # waits


@corpus("I/O wait", "*", "Response.aread", "Response.aiter_raw", "*.receive", "Event.wait")
async def httpx_body() -> None:
    with mute_port(PART) as port:
        async with (
            httpx.AsyncClient(verify=False) as client,
            client.stream("GET", f"http://{ANY}:{port}/") as answer,
        ):
            await answer.aread()  # waits


@corpus(
    "pool wait",
    "httpcore.AsyncConnectionPool",
    "AsyncClient.get",
    "AsyncPoolRequest.wait_for_connection",
    "...",
)
async def httpx_pool() -> None:
    with mute_port() as port:
        narrow = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(verify=False, limits=narrow) as client, asyncio.TaskGroup() as group:
            group.create_task(request(client, port))
            await asyncio.sleep(0.05)
            await client.get(f"http://{ANY}:{port}/")  # waits


@corpus("sleep", "asyncio.sleep|anyio.sleep", "*.sleep", "tasks.sleep")
async def anyio_sleep() -> None:
    await anyio.sleep(60)  # waits


@corpus("lock wait", "anyio.Lock", "Lock.__aenter__", "Lock.acquire")
async def anyio_lock() -> None:
    taken = anyio.Lock()

    async def holds() -> None:
        async with taken:
            await anyio.sleep(60)

    async with anyio.create_task_group() as group:
        group.start_soon(holds)
        await anyio.sleep(0.05)
        async with taken:  # waits
            pass


@corpus("queue wait", "anyio.MemoryObjectReceiveStream", "MemoryObjectReceiveStream.receive", "Event.wait")
async def anyio_stream() -> None:
    there, here = anyio.create_memory_object_stream[int]()
    with there, here:
        await here.receive()  # waits


@corpus("thread wait", "anyio.to_thread.run_sync", "to_thread.run_sync", "*.run_sync_in_worker_thread")
async def anyio_thread() -> None:
    with held_back() as job:
        await anyio.to_thread.run_sync(job, abandon_on_cancel=True)  # waits


@corpus(
    "pool wait",
    "anyio.to_thread.run_sync",
    "*.run_sync_in_worker_thread",
    "CapacityLimiter.acquire",
    "Event.wait",
)
async def anyio_limiter() -> None:
    limiter = anyio.CapacityLimiter(1)
    await limiter.acquire_on_behalf_of(limiter)
    await anyio.to_thread.run_sync(int, limiter=limiter)  # waits


@corpus("I/O wait", "anyio.SocketStream", "SocketStream.receive", "Event.wait")
async def anyio_receive() -> None:
    with mute_port() as port:
        async with await anyio.connect_tcp(ANY, port) as stream:
            await stream.receive()  # waits


@corpus("task wait", "anyio.TaskGroup", "TaskGroup.__aexit__")
async def anyio_group() -> None:
    async with anyio.create_task_group() as group:  # waits
        group.start_soon(anyio.sleep, 60)


def holding() -> Callable[[], int]:
    """
    A function for SQLite that returns after the end of the trace.
    """
    release = threading.Event()
    end_by(release.set)
    return release.wait


@corpus("thread wait", "aiosqlite.*", "Connection.execute", "Connection._execute")
async def aiosqlite_execute() -> None:
    async with aiosqlite.connect(":memory:") as connection:
        await connection.create_function("hold", 0, holding())
        await connection.execute("select hold()")  # waits


@corpus(
    "thread wait",
    "aiosqlite.*",
    "AsyncConnection.execute",
    "greenlet_spawn",
    "Connection.execute",
    "Connection._execute",
)
async def sqlalchemy_execute() -> None:
    engine = in_asyncio.create_async_engine("sqlite+aiosqlite:///:memory:")
    hold = holding()

    def add_hold(connection: Any, _: Any) -> None:
        connection.create_function("hold", 0, hold)

    sqlalchemy.event.listen(engine.sync_engine, "connect", add_hold)

    async with engine.connect() as connection:
        await connection.execute(sqlalchemy.text("select hold()"))  # waits
    await engine.dispose()


@corpus("pool wait", "*", "AsyncConnection.start", "greenlet_spawn", "*", "AsyncAdaptedQueue.get", "...")
async def sqlalchemy_pool() -> None:
    engine = in_asyncio.create_async_engine(
        "sqlite+aiosqlite:///:memory:",
        poolclass=sqlalchemy.AsyncAdaptedQueuePool,
        pool_size=1,
        max_overflow=0,
    )
    try:
        async with engine.connect():
            await engine.connect()  # waits
    finally:
        await engine.dispose()


@corpus("I/O wait", "*", "AsyncSession.run_sync", "greenlet_spawn", "sqlalchemy_io.<locals>.query", "...")
async def sqlalchemy_io() -> None:
    """
    A function of the program runs in the greenlet, and waits there for a coroutine.
    """
    with mute_port() as port:
        reader, writer = await asyncio.open_connection(ANY, port)

        def query(_: Any) -> None:
            sqlalchemy.util.await_only(reader.read(1))  # waits

        try:
            await in_asyncio.AsyncSession().run_sync(query)
        finally:
            writer.transport.abort()


@corpus("I/O wait", "asyncio.StreamReader", "Redis.execute_command", "*.read_response", "...")
async def redis_command() -> None:
    with mute_port(b"+OK\r\n" * 2) as port:
        client = redis.Redis(host=ANY, port=port)
        try:
            await client.get("key")  # waits
        finally:
            await client.aclose()


@corpus("I/O wait", "asyncpg.connect", "asyncpg.connection.connect", "*.__connect_addr", "...")
async def asyncpg_connect() -> None:
    with mute_port() as port:
        await asyncpg.connect(host=ANY, port=port, user="nobody", password="", ssl=False)  # waits


@corpus("I/O wait", "*", "AsyncClient.get", "...")
async def asgi_server() -> None:
    """
    The server's side of it is looked at below.
    """

    async def endpoint(_: Any) -> None:
        asyncio.current_task().set_name("endpoint")  # type: ignore[union-attr]
        await asyncio.Event().wait()

    app = starlette.Starlette(routes=[routing.Route("/", endpoint)])
    server = uvicorn.Server(uvicorn.Config(app, ANY, 0, log_level="critical", lifespan="off"))
    serving = asyncio.create_task(server._serve(), name="uvicorn")
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        async with httpx.AsyncClient(verify=False) as client:
            await client.get(f"http://{ANY}:{port}/", timeout=60)  # waits
    finally:
        server.should_exit = server.force_exit = True
        await serving


@pytest.fixture(scope="module")
def traces(
    core: str, trace_engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Trace]:
    """
    One trace for each kind of loop, with all situations at once.
    """
    made: dict[str, Trace] = {}

    def trace(loop: str) -> Trace:
        if loop not in made:
            path = tmp_path_factory.mktemp(loop) / "t.json"
            trace_all(path, lambda: stay(corpus.on(loop)), runner(loop))
            made[loop] = read_file(trace_engine, path)
        return made[loop]

    return trace


@pytest.mark.parametrize(("loop", "situation"), corpus.params("asyncio", "uvloop"))
def test_wait(loop: str, situation: Situation, traces: Callable[[str], Trace]) -> None:
    """
    A task that waits inside a library shows the state, the program's line, and the whole chain.
    """
    check(traces(loop), situation)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(
    ("track", "state", "chain"),
    [
        pytest.param(
            "aiohttp reads *",
            "I/O wait",
            ["*._handle_request", "answer", "*.read", "*.readany", "*._wait"],
            id="handler",
        ),
        pytest.param("*RequestHandler.start", "I/O wait", ["RequestHandler.start"], id="keep-alive"),
        pytest.param("uvicorn *", "sleep", ["Server.main_loop", "sleep"], id="uvicorn"),
        pytest.param(
            "endpoint *", "event wait", ["run_asgi", "Router.app", "endpoint", "Event.wait"], id="endpoint"
        ),
    ],
)
def test_server(loop: str, track: str, state: str, chain: list[str], traces: Callable[[str], Trace]) -> None:
    """
    A server's own tasks show what they wait for: a request, its body, or what the handler does.
    """
    stacks = [stack for rows in traces(loop).all(track) for stack in every_stack(rows, state)]
    assert any(in_order(stack, chain) for stack in stacks), stacks


def every_stack(rows: Rows, state: str) -> list[list[str]]:
    return [stack for row in rows.named(state) for stack in chains_in(rows, row)]
