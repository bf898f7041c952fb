"""
Blocking calls of the standard library, each as a situation for a thread (see `situations`).

They end by themselves, or by what they hand to ``later``, which is run when all have blocked.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import queue
import select
import selectors
import socket
import subprocess
import threading
import time
import urllib.request
from concurrent import futures
from contextlib import ExitStack
from functools import partial
from typing import Any

from situations import HOLD, Corpus
from stalls import busy_port, mute_port, socket_pair

__all__ = ["corpus"]

corpus = Corpus()
blocks = partial(corpus, loops="")
ANY = "127.0.0.1"
SLEEP = ("sleep", "60")


@blocks("sleep", "time.sleep", "time.sleep")
def sleep(later: ExitStack) -> None:
    time.sleep(HOLD)  # waits


@blocks("sleep", "time.sleep", "time.sleep")
def sleep_by_star(later: ExitStack) -> None:
    given = (HOLD,)
    time.sleep(*given)  # waits


@blocks("lock wait", "taken.acquire", "taken.acquire")
def lock(later: ExitStack) -> None:
    taken = threading.Lock()
    taken.acquire()
    taken.acquire(timeout=HOLD)  # waits


@blocks("lock wait", "taken.__enter__", "taken.__enter__")
def with_lock(later: ExitStack) -> None:
    taken = threading.Lock()
    taken.acquire()
    later.callback(taken.release)
    with taken:  # waits
        pass


@blocks("lock wait", "taken.acquire", "taken.acquire")
def reentrant_lock(later: ExitStack) -> None:
    taken = threading.RLock()
    later.enter_context(futures.ThreadPoolExecutor(1)).submit(taken.acquire).result()
    taken.acquire(timeout=HOLD)  # waits


@blocks("lock wait", "threading.Semaphore", "Semaphore.acquire", "Condition.wait", "waiter.acquire")
def semaphore(later: ExitStack) -> None:
    threading.Semaphore(0).acquire(timeout=HOLD)  # waits


@blocks("event wait", "threading.Event", "Event.wait", "Condition.wait", "waiter.acquire")
def event(later: ExitStack) -> None:
    threading.Event().wait(HOLD)  # waits


@blocks("event wait", "threading.Condition", "Condition.wait", "waiter.acquire")
def condition(later: ExitStack) -> None:
    held = threading.Condition()
    with held:
        held.wait(HOLD)  # waits


@blocks("event wait", "threading.Barrier", "Barrier.wait", "Condition.wait", "waiter.acquire")
def barrier(later: ExitStack) -> None:
    one_of_two = threading.Barrier(2)
    later.callback(one_of_two.wait)
    one_of_two.wait()  # waits


@blocks("queue wait", "queue.Queue", "Queue.get", "Condition.wait", "waiter.acquire")
def queue_get(later: ExitStack) -> None:
    empty = queue.Queue[int]()
    later.callback(empty.put, 1)
    empty.get()  # waits


@blocks("queue wait", "queue.Queue", "Queue.put", "Condition.wait", "waiter.acquire")
def queue_put(later: ExitStack) -> None:
    full = queue.Queue[int](1)
    full.put(1)
    later.callback(full.get)
    full.put(2)  # waits


@blocks("queue wait", "queue.Queue", "Queue.join", "Condition.wait", "waiter.acquire")
def queue_join(later: ExitStack) -> None:
    full = queue.PriorityQueue[int]()
    full.put(1)
    later.callback(full.task_done)
    full.join()  # waits


@blocks("queue wait", "empty.get", "empty.get")
def simple_queue(later: ExitStack) -> None:
    empty = queue.SimpleQueue[int]()
    later.callback(empty.put, 1)
    empty.get()  # waits


@blocks("I/O wait", "multiprocessing.connection", "Queue.get", "*.poll", "...")
def process_queue(later: ExitStack) -> None:
    empty: Any = multiprocessing.Queue()
    later.callback(empty.put, 1)
    empty.get(timeout=60)  # waits
    empty.close()
    empty.join_thread()


@blocks("thread wait", "threading.Thread", "Thread.join", "...")
def join(later: ExitStack) -> None:
    other = threading.Thread(target=time.sleep, args=(HOLD,), name="joined")
    other.start()
    other.join()  # waits


@blocks("thread wait", "concurrent.futures.Future", "Future.result", "Condition.wait", "waiter.acquire")
def future(later: ExitStack) -> None:
    pending = futures.Future[int]()
    later.callback(pending.set_result, 1)
    pending.result()  # waits


@blocks("thread wait", "concurrent.futures.*", "_base.wait", "...")
def future_wait(later: ExitStack) -> None:
    futures.wait([futures.Future[int]()], timeout=HOLD)  # waits


@blocks("I/O wait", "here.recv", "here.recv")
def recv(later: ExitStack) -> None:
    here, there = socket.socketpair()
    with here:
        later.callback(there.close)
        here.recv(1)  # waits


@blocks("I/O wait", "here.sendall", "here.sendall")
def sendall(later: ExitStack) -> None:
    here, there = socket.socketpair()
    with here, there:
        here.settimeout(HOLD)
        try:
            here.sendall(bytes(20_000_000))  # waits
        except TimeoutError:
            return


@blocks("I/O wait", "socket.*", "socket.accept", "self._accept")
def accept(later: ExitStack) -> None:
    server = later.enter_context(socket.create_server((ANY, 0)))
    later.callback(lambda: socket.create_connection(server.getsockname()).close())
    server.accept()[0].close()  # waits


@blocks("I/O wait", "socket.create_connection", "create_connection", "sock.connect")
def connect(later: ExitStack) -> None:
    with busy_port() as port:
        try:
            socket.create_connection((ANY, port), HOLD)  # waits
        except TimeoutError:
            return


@blocks("I/O wait", "select.select", "select.select")
def select_call(later: ExitStack) -> None:
    select.select([], [], [], HOLD)  # waits


@blocks("I/O wait", "selectors.*", "*Selector.select", "self._selector.poll")
def selector(later: ExitStack) -> None:
    with socket_pair() as (one, _), selectors.DefaultSelector() as chosen:
        chosen.register(one, selectors.EVENT_READ)
        chosen.select(HOLD)  # waits


@blocks("I/O wait", "os.read", "os.read")
def pipe_read(later: ExitStack) -> None:
    there, here = os.pipe()
    later.callback(os.close, here)
    os.read(there, 1)  # waits
    os.close(there)


@blocks("I/O wait", "answer.readline", "answer.readline")
def file_read(later: ExitStack) -> None:
    there, here = os.pipe()
    later.callback(os.close, here)
    with os.fdopen(there) as answer:
        answer.readline()  # waits


@blocks(
    "I/O wait",
    "socket.*",
    "urllib.request.urlopen",
    "SocketIO.readinto",
    "self._sock.recv_into",
)
def http(later: ExitStack) -> None:
    port = later.enter_context(mute_port())
    try:
        urllib.request.urlopen(f"http://{ANY}:{port}", timeout=HOLD)  # waits
    except OSError:
        return


@blocks("subprocess wait", "subprocess.Popen", "Popen.wait", "Popen._wait", "Popen._try_wait", "os.waitpid")
def subprocess_wait(later: ExitStack) -> None:
    with subprocess.Popen(SLEEP) as child:
        later.callback(child.kill)
        child.wait()  # waits


@blocks("subprocess wait", "subprocess.Popen", "subprocess.run", "Popen.communicate", "...")
def subprocess_run(later: ExitStack) -> None:
    subprocess.run(("sleep", str(HOLD)), capture_output=True, check=False)  # noqa: S607  # waits


@blocks("subprocess wait", "os.system", "os.system")
def system(later: ExitStack) -> None:
    os.system(f"sleep {HOLD}")  # noqa: S605  # waits


@blocks("select", "event loop", "run", "*._run_once", "*.select", "self._selector.poll")
def loop(later: ExitStack) -> None:
    asyncio.run(asyncio.sleep(HOLD))  # waits
