"""
The rules from functions, native calls and waiters to states, as tables; `fgtrace._classify.decision` reads
them.

A rule holds for every function whose ``module:qualname`` starts with one of its prefixes. A prefix that ends
in a dot names a package: ``"redis."`` holds for ``redis:connect`` and for ``redis.client:Redis.get``, and not
for ``redistribute``. Of several prefixes that fit, the longest counts. A walk goes over the frames of a stack
from the leaf outward; the `Effect` of a rule says what the rule does to the state that the walk suggests so
far.

To add a rule: put the prefix into the row of its state and effect, or add a row. The tests compare the tables
with the libraries themselves and with recorded waits.

The task rules were fitted to over a thousand recorded waits (``tests/data/README.md``). They are coarse on
purpose: a library's own lock or event, deep inside a driver, is called I/O wait, since that is what its
caller waits for.

Known weakness: many of the names are private to the libraries, and a release may rename them. Then the walk
ends there, as it does at any unknown function, and the functions further in decide: the state is an event
wait, for example, where it was an I/O wait. That says less, but is still true.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple

from fgtrace._model.states import (
    EVENT_WAIT,
    FUTURE_WAIT,
    GIL_WAIT,
    IDLE,
    IO_WAIT,
    LOCK_WAIT,
    POOL_WAIT,
    QUEUE_WAIT,
    RUNNABLE,
    RUNNING,
    SELECT,
    SLEEP,
    SUBPROCESS_WAIT,
    TASK_WAIT,
    THREAD_WAIT,
)
from fgtrace._model.values import Cpu, WaiterKind

__all__ = [
    "CALL_RULES",
    "HANDED_OVER",
    "KIND_NAMES",
    "KIND_STATES",
    "NAMES",
    "NOTHING",
    "TASK_RULES",
    "THREAD_RULES",
    "TYPE_NAMES",
    "UNEXPLAINED",
    "CallRule",
    "Effect",
    "Rule",
]


class Effect(Enum):
    """
    What a rule does to the suggested state when the walk, from the leaf outward, comes to its function.
    """

    DECIDES = "the rule's state is the reason, whatever was suggested further in; the walk ends"
    SUGGESTS = "the rule's state is the reason, unless a rule further out knows better"
    HOLDS = "the rule suggests its state, and later suggestions do not replace it"
    FOLLOWS = "the rule suggests the state that the kind of the awaited future means"
    REPLACES = "the rule replaces one suggested state (or none) by its own, and keeps all others"
    PASSES = "the rule changes nothing; the walk goes on"
    ENDS = "the rule changes nothing, and the walk ends, as it does at the program's own code"


class Rule(NamedTuple):
    """
    A rule for functions.

    Args:
        effect: see `Effect`.
        state: the state that it decides for or suggests.
        prefixes: the functions that it holds for.
        replaces: with `Effect.REPLACES` the suggested state that it replaces; `NOTHING`: where there is none.
    """

    effect: Effect
    state: str
    prefixes: tuple[str, ...]
    replaces: str = ""


class CallRule(NamedTuple):
    """
    A rule for the native call at a thread's leaf, which suggests a state.

    Args:
        state: the state that it suggests.
        calls: the whole text of a call, such as ``time.sleep``, or ``*.recv`` for any ``recv``.
        weak: calls that never block have the same name (``d.get`` of a dict), so the rule counts only for a
            thread whose CPU clock stands still.
        holds: later suggestions do not replace it.
        on: what the thread waits for, where the text of the call would not tell.
    """

    state: str
    calls: tuple[str, ...]
    weak: bool = False
    holds: bool = False
    on: str = ""


#: In `Rule.replaces`: the functions further in have suggested no state.
NOTHING = ""

_DECIDES, _SUGGESTS, _HOLDS = Effect.DECIDES, Effect.SUGGESTS, Effect.HOLDS
_FOLLOWS, _REPLACES, _PASSES, _ENDS = Effect.FOLLOWS, Effect.REPLACES, Effect.PASSES, Effect.ENDS

_ANYIO = "anyio._backends._asyncio:"
_LOOP = "asyncio.base_events:BaseEventLoop."

# The formatter would spread the tables over four pages, one prefix a line.
# fmt: off

TASK_RULES = (
    Rule(_DECIDES, SLEEP, ("asyncio.tasks:sleep", "trio._timeouts:")),

    # run_in_executor and wrap_future leave no frame of their own: the kind of the future tells there.
    Rule(_DECIDES, THREAD_WAIT, (
        "asyncio.threads:to_thread", f"{_LOOP}shutdown_default_executor",
        "uvloop.loop:Loop.shutdown_default_executor", "aiofiles.", "aiosqlite.",
    )),
    Rule(_DECIDES, SUBPROCESS_WAIT, (
        "asyncio.subprocess:", "asyncio.base_subprocess:", f"{_LOOP}subprocess_",
        "asyncio.unix_events:_UnixSelectorEventLoop._make_subprocess_transport",
        "uvloop.loop:Loop.subprocess_", "uvloop.loop:Loop.__subprocess_run",
        f"{_ANYIO}Process.", "trio._subprocess:",
    )),
    # BaseHTTPMiddleware runs the application inside it in a task of its own.
    Rule(_DECIDES, TASK_WAIT, (
        "asyncio.taskgroups:", "asyncio.tasks:as_completed", "asyncio.tasks:_AsCompletedIterator",
        f"{_ANYIO}TaskGroup.", "trio._core._run:Nursery.", "trio._core._run:NurseryManager.",
        "starlette.middleware.base:BaseHTTPMiddleware.",
    )),
    # asyncio.wait accepts tasks and bare futures, and libraries use it to wait for their sockets.
    Rule(_FOLLOWS, "", ("asyncio.tasks:_wait",)),

    # The event loops' own I/O. trio's Process.wait is a wait_readable, so its rule only suggests.
    Rule(_DECIDES, IO_WAIT, (
        "asyncio.streams:", "asyncio.base_events:", "asyncio.selector_events:",
        "asyncio.proactor_events:", "asyncio.unix_events:", "asyncio.windows_events:",
        "asyncio.sslproto:", "uvloop.loop:", "trio._socket:getaddrinfo",
    )),
    Rule(_SUGGESTS, IO_WAIT, (
        "trio._core._io_", "trio._socket:", "trio._highlevel_socket:", "trio._ssl:",
    )),
    # anyio's sockets wait for an event, and drivers for all sorts of things: their rules decide.
    Rule(_DECIDES, IO_WAIT, (
        "anyio._core._sockets:", "anyio.streams.tls:", f"{_ANYIO}SocketStream.",
        f"{_ANYIO}UDPSocket.", f"{_ANYIO}UNIXSocketStream.", f"{_ANYIO}TCPSocketListener.",
        f"{_ANYIO}AsyncIOBackend.wait_", f"{_ANYIO}_RawSocketMixin.",
    )),
    Rule(_DECIDES, IO_WAIT, (
        "aiohttp.", "aiohappyeyeballs.", "httpcore.", "httpx.", "websockets.",
        "uvicorn.protocols.", "grpc.", ":_MessageReceiver.", "nats.", "aiokafka.",
        "asyncpg.", "psycopg.", "redis.", "aiomysql.", "asyncmy.", "pymongo.",
    )),

    # Where a pool's acquire opens a connection, a function further in has decided for I/O wait.
    Rule(_DECIDES, POOL_WAIT, (
        "aiohttp.connector:BaseConnector._wait_for_available_connection",
        "httpcore._async.connection_pool:AsyncPoolRequest.",
        "asyncpg.pool:", "aiomysql.pool:", "asyncmy.pool:",
        "psycopg_pool.pool_async:WaitingClient.",
        "redis.asyncio.connection:BlockingConnectionPool.",
        "pymongo.asynchronous.pool:Pool._get_conn",
        "sqlalchemy.util.queue:AsyncAdaptedQueue.",
    )),
    # SQLAlchemy's pool works in a greenlet, whose frames are not on the stack: this function is all that
    # shows.
    Rule(_REPLACES, POOL_WAIT, ("sqlalchemy.util.concurrency:greenlet_spawn",), QUEUE_WAIT),
    # A task that waits at the limiter finds all workers busy; past it, a worker runs the task's call.
    Rule(_REPLACES, POOL_WAIT, (
        f"{_ANYIO}AsyncIOBackend.run_sync_in_worker_thread", "trio._threads:to_thread_run_sync",
    ), LOCK_WAIT),
    Rule(_REPLACES, THREAD_WAIT, (
        f"{_ANYIO}AsyncIOBackend.run_sync_in_worker_thread", "trio._threads:to_thread_run_sync",
    ), NOTHING),

    # A condition that was notified acquires its lock again: that is a lock wait, and stays one.
    Rule(_HOLDS, LOCK_WAIT, (
        "asyncio.locks:Lock.", "asyncio.locks:Semaphore.",
        f"{_ANYIO}Lock.", f"{_ANYIO}Semaphore.", f"{_ANYIO}CapacityLimiter.",
        "trio._sync:_LockImpl.", "trio._sync:Semaphore.", "trio._sync:CapacityLimiter.",
    )),
    Rule(_SUGGESTS, EVENT_WAIT, (
        "asyncio.locks:Event.", "asyncio.locks:Condition.", "asyncio.locks:Barrier.",
        f"{_ANYIO}Event.", "anyio._core._synchronization:Condition.",
        "trio._sync:Event.", "trio._sync:Condition.", "pymongo._asyncio_lock:",
    )),
    Rule(_SUGGESTS, QUEUE_WAIT, ("asyncio.queues:", "anyio.streams.memory:", "trio._channel:")),

    Rule(_PASSES, "", (
        "asyncio.tasks:wait", "asyncio.timeouts:", "asyncio.staggered:",
        "asyncio.locks:_ContextManagerMixin.", "contextlib:", "async_timeout.",
        "httpcore._synchronization:", "asyncpg._asyncio_compat:", "psycopg_pool._acompat:",
        "pymongo.lock:", "sqlalchemy.", "uvicorn.lifespan.",
        "anyio._core._synchronization:", "anyio.to_thread:", "anyio.abc.",
        "trio._core._traps:", "trio._core._parking_lot:", "trio._core._generated_io_",
        "trio._sync:AsyncContextManagerMixin.", "trio._highlevel_",
    )),
    Rule(_ENDS, "", (
        "asyncio.", "uvloop.", "anyio.", "trio.", "outcome.", "psycopg_pool.",
        "starlette.", "fastapi.", "uvicorn.",
    )),
)

THREAD_RULES = (
    # threading.Condition.wait is the leaf of most waits, so its caller decides.
    Rule(_SUGGESTS, EVENT_WAIT, (
        "threading:Condition.wait", "threading:Event.wait", "threading:Barrier.",
    )),
    Rule(_HOLDS, LOCK_WAIT, (
        "threading:Semaphore.", "threading:_RLock.", "threading:Condition.__enter__",
        "threading:Condition._acquire_restore",
    )),
    Rule(_SUGGESTS, QUEUE_WAIT, ("queue:", "sqlalchemy.util.queue:")),
    Rule(_DECIDES, QUEUE_WAIT, ("queue:_PySimpleQueue.",)),
    Rule(_DECIDES, THREAD_WAIT, (
        "threading:Thread.join", "threading:Thread._wait_for_tstate_lock", "threading:_shutdown",
        "concurrent.futures._base:Future.result", "concurrent.futures._base:Future.exception",
        "concurrent.futures._base:wait", "concurrent.futures._base:as_completed",
        "trio._threads:_send_message_to_trio",
    )),
    Rule(_DECIDES, SUBPROCESS_WAIT, ("subprocess:", "multiprocessing.popen_")),
    Rule(_SUGGESTS, IO_WAIT, (
        "selectors:", "socket:", "ssl:SSLSocket.", "multiprocessing.connection:",
    )),

    # An event loop with nothing to do is in its selector; the loop's own socket calls never block.
    Rule(_REPLACES, SELECT, (
        f"{_LOOP}_run_once", "asyncio.windows_events:IocpProactor.",
        "trio._core._io_epoll:EpollIOManager.get_events",
        "trio._core._io_kqueue:KqueueIOManager.get_events",
        "trio._core._io_windows:WindowsIOManager.get_events",
    ), IO_WAIT),
    Rule(_REPLACES, RUNNING, ("asyncio.", "trio._core."), IO_WAIT),

    # An executor's worker that waits at its own queue or lock has no work. While it has a job, the job's
    # function is nearer the leaf and ends the walk before.
    Rule(_REPLACES, IDLE, (
        "concurrent.futures.thread:_worker", "multiprocessing.pool:worker",
        f"{_ANYIO}WorkerThread.run", "aiosqlite.core:",
    ), QUEUE_WAIT),
    Rule(_REPLACES, IDLE, ("trio._core._thread_cache:WorkerThread._work",), LOCK_WAIT),

    Rule(_PASSES, "", (
        "http.client:", "urllib.", "urllib3.", "requests.", "ssl:", "socketserver:",
        "multiprocessing.queues:", "multiprocessing.synchronize:", "contextlib:",
    )),
    Rule(_ENDS, "", (
        "threading:", "concurrent.futures.", "multiprocessing.", "uvloop.", "anyio.", "trio.",
    )),
)

CALL_RULES = (
    CallRule(SLEEP, ("time.sleep",)),
    CallRule(LOCK_WAIT, ("*.acquire", "*.__enter__")),
    CallRule(LOCK_WAIT, ("*._acquire_restore",), holds=True, on="threading.Condition"),
    CallRule(IO_WAIT, (
        "*.recv", "*.recv_into", "*.recvfrom", "*.recvfrom_into", "*.recvmsg", "*.recvmsg_into",
        "*.accept", "*._accept", "*.connect", "*.do_handshake",
        "*.send", "*.sendall", "*.sendfile", "*.sendmsg", "*.sendto",
        "*.read", "*.readinto", "*.readline", "*.readlines", "*.readv",
        "*.write", "*.writelines", "*.writev", "*.flush", "*.fsync", "input",
        "*.getaddrinfo", "*.gethostbyaddr", "*.gethostbyname", "*.getnameinfo",
        "select.select", "*.poll", "self._selector.control", "self._kqueue.control",
        "*.GetQueuedCompletionStatus", "*.GetQueuedCompletionStatusEx",
    )),
    # A loop written in C has no frames: its thread is in this call from start to end.
    CallRule(SELECT, ("*.run_forever", "*.run_until_complete"), on="event loop"),
    CallRule(QUEUE_WAIT, ("work_queue.get",)),
    CallRule(QUEUE_WAIT, ("*.get", "*.put"), weak=True),
    CallRule(THREAD_WAIT, ("self._handle.join", "self._os_thread_handle.join")),
    CallRule(THREAD_WAIT, ("*.join",), weak=True),
    CallRule(SUBPROCESS_WAIT, (
        "os.wait", "os.wait3", "os.wait4", "os.waitid", "os.waitpid", "os.system",
        "_winapi.WaitForSingleObject",
    )),
)

#: Prefix of a function -> the name of what is awaited, where package and class (or function) would not be a
#: name that a reader knows. A ``*`` stands for the function's own name.
NAMES: Mapping[str, str] = MappingProxyType({
    _LOOP: "loop.*",
    "asyncio.selector_events:": "loop.*",
    "asyncio.proactor_events:": "loop.*",
    "asyncio.unix_events:": "loop.*",
    "asyncio.windows_events:": "loop.*",
    "uvloop.loop:": "loop.*",
    "uvloop.loop:Server.": "asyncio.Server",
    f"{_LOOP}_run_once": "event loop",
    "asyncio.windows_events:IocpProactor.": "event loop",
    "asyncio.base_subprocess:": "asyncio.subprocess.Process",
    "asyncio.subprocess:Process.": "asyncio.subprocess.Process",
    "asyncio.streams:FlowControlMixin.": "asyncio.StreamWriter",
    "asyncio.tasks:_wait": "asyncio.wait",
    "asyncio.tasks:_AsCompletedIterator": "asyncio.as_completed",
    "anyio.to_thread:": "anyio.to_thread.*",
    f"{_ANYIO}AsyncIOBackend.": "anyio.*",
    f"{_ANYIO}AsyncIOBackend.run_sync_in_worker_thread": "anyio.to_thread.run_sync",
    f"{_ANYIO}Process.": "anyio.abc.Process",
    f"{_ANYIO}WorkerThread.": "anyio.to_thread.run_sync",
    f"{_ANYIO}_RawSocketMixin.": "anyio.UNIXSocketStream",
    "trio._core._io_": "trio.lowlevel.*",
    "trio._core._io_epoll:EpollIOManager.get_events": "event loop",
    "trio._core._io_kqueue:KqueueIOManager.get_events": "event loop",
    "trio._core._io_windows:WindowsIOManager.get_events": "event loop",
    "trio._core._run:NurseryManager.": "trio.Nursery",
    "trio._core._thread_cache:": "trio.to_thread.run_sync",
    "trio._socket:": "trio.socket",
    "trio._socket:getaddrinfo": "trio.socket.getaddrinfo",
    "trio._sync:_LockImpl.": "trio.Lock",
    "trio._timeouts:": "trio.sleep",
    "trio._threads:to_thread_run_sync": "trio.to_thread.run_sync",
    "trio._threads:_send_message_to_trio": "trio.from_thread.run",
    "aiofiles.": "aiofiles.AsyncBase",
    "aiofiles.threadpool:": "aiofiles.open",
    "aiohttp.base_protocol:": "aiohttp.StreamWriter",
    "aiokafka.util:": "aiokafka.AIOKafkaConnection",
    "asyncpg.pool:": "asyncpg.Pool",
    "asyncpg.protocol.": "asyncpg.Connection",
    "aiomysql.pool:": "aiomysql.Pool",
    "asyncmy.pool:": "asyncmy.Pool",
    "grpc.aio._call:_": "grpc.aio.Call",
    "grpc._cython.": "grpc.aio.Call",
    "grpc._cython.cygrpc:AioServer.": "grpc.aio.Server",
    "grpc._cython.cygrpc:AioChannel.": "grpc.aio.Channel",
    ":_MessageReceiver.": "grpc.aio.Call",
    "httpcore._async.connection_pool:AsyncPoolRequest.": "httpcore.AsyncConnectionPool",
    "psycopg.waiting:": "psycopg.AsyncConnection",
    "psycopg_pool.pool_async:WaitingClient.": "psycopg_pool.AsyncConnectionPool",
    "pymongo._asyncio_lock:": "pymongo.Condition",
    "sqlalchemy.util.": "sqlalchemy.AsyncAdaptedQueuePool",
    "sqlalchemy.util.queue:Queue.": "sqlalchemy.QueuePool",
    "concurrent.futures._base:": "concurrent.futures.Future",
    "concurrent.futures.thread:": "concurrent.futures.ThreadPoolExecutor",
    "multiprocessing.pool:": "multiprocessing.pool.Pool",
    "multiprocessing.connection:": "multiprocessing.connection",
    "multiprocessing.popen_": "multiprocessing.Process",
    "queue:_PySimpleQueue.": "queue.SimpleQueue",
    "subprocess:": "subprocess.Popen",
    "threading:_": "threading.Thread",
    "threading:_RLock.": "threading.RLock",
})

#: Kind of a waiter -> the state of a task of which no function decides.
KIND_STATES: Mapping[WaiterKind, str] = MappingProxyType({
    "running": RUNNING,
    "runnable": RUNNABLE,
    "task": TASK_WAIT,
    "thread": THREAD_WAIT,
    "io": IO_WAIT,
    "future": FUTURE_WAIT,
})

#: Kind of a waiter -> the name of what is awaited, where neither a function nor the waiter's type tells.
KIND_NAMES: Mapping[WaiterKind, str] = MappingProxyType({
    "task": "asyncio.Task",
    "thread": "concurrent.futures.Future",
})

#: Type of a waiter -> the name of what is awaited, where no function tells.
TYPE_NAMES: Mapping[str, str] = MappingProxyType({
    "asyncio.tasks._GatheringFuture": "asyncio.gather",
    "uvloop.loop._SyncSocketReaderFuture": "loop.sock_recv",
    "uvloop.loop._SyncSocketWriterFuture": "loop.sock_sendall",
})

#: Calls whose text says nothing: executors, threads and contexts call a function that they keep in a
#: variable.
HANDED_OVER = frozenset((
    "self.fn", "fn", "func", "self._target", "context.run", "ctx.run", "self._context.run",
))

#: What a CPU clock did -> the state of a thread that no rule explains, (at a native call, elsewhere). A clock
#: that stands still while no other thread runs means a call that blocks.
UNEXPLAINED: Mapping[Cpu, tuple[str, str]] = MappingProxyType({
    "busy": (RUNNING, RUNNING),
    "some": (RUNNING, RUNNING),
    "unknown": (RUNNING, RUNNING),
    "still": (IO_WAIT, IO_WAIT),
    "starved": (GIL_WAIT, GIL_WAIT),
})
# fmt: on
