"""
Peers and jobs that never answer, so that there is something to wait for.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["busy_port", "held_back", "mute_port", "socket_pair"]


@contextmanager
def mute_port(greeting: bytes = b"") -> Iterator[int]:
    """
    A port of a server that accepts everybody, greets, reads nothing, and says no more.
    """
    server = socket.create_server(("127.0.0.1", 0))
    guests: list[socket.socket] = []

    def serve() -> None:
        while True:
            guest = server.accept()[0]
            guests.append(guest)
            if ended.is_set():
                return
            guest.sendall(greeting)

    ended = threading.Event()
    thread = threading.Thread(target=serve, name="mute server")
    thread.start()
    port = server.getsockname()[1]
    try:
        yield port
    finally:
        ended.set()
        socket.create_connection(("127.0.0.1", port)).close()
        thread.join()
        for each in (server, *guests):
            each.close()


@contextmanager
def busy_port() -> Iterator[int]:
    """
    A port to which nobody can connect: the kernel's queue of new connections is full.
    """
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(server.getsockname())
        try:
            yield server.getsockname()[1]
        finally:
            for each in waiting:
                each.close()


@contextmanager
def socket_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """
    Two connected sockets that do not block.
    """
    one, other = socket.socketpair()
    one.setblocking(False)
    other.setblocking(False)
    with one, other:
        yield one, other


@contextmanager
def held_back() -> Iterator[Callable[[], object]]:
    """
    A job that a thread cannot finish before the block ends.
    """
    release = threading.Event()
    try:
        yield release.wait
    finally:
        release.set()
