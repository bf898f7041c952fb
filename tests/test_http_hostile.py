"""
Requests that mean no good: the right status, bounded memory and threads, and no sampler left.

`fgtrace.serve` reads such a request itself; with the other mounts a framework's server reads it, and the
endpoints get what is left of it.
"""

from __future__ import annotations

import os
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

import fgtrace
from fgtrace._http import bounded_server, messages, standalone
from live import MOUNTS, SECONDS, Live, live, until

CROWD = 2000


@pytest.fixture
def server() -> Iterator[Live]:
    """
    A server of its own.
    """
    with live("serve") as service:
        yield service


def connect(server: Live) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS)


def send(server: Live, request: bytes) -> bytes:
    """
    What comes back until the connection ends.
    """
    with connect(server) as client:
        client.sendall(request)
        found = b""
        try:
            while piece := client.recv(65536):
                found += piece
        except ConnectionResetError:  # it did not read to the end what we sent
            pass
        return found


def status(response: bytes) -> int:
    first = response.split(b"\r\n", 1)[0].split(b" ")
    assert first[0] == b"HTTP/1.1", response
    return int(first[1])


def own_threads() -> int:
    return sum(thread.name.startswith("fgtrace") for thread in threading.enumerate())


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        pytest.param(b"GET /debug/tasks HTTP/1.1\r\nHost: localhost\r\n\r\n", 200, id="good"),
        pytest.param(b"GET /debug/tasks HTTP/1.0\r\n\r\n", 200, id="old"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, id="tls"),
        pytest.param(b"\x00\xff\xfe\r\n\r\n", 400, id="bytes"),
        pytest.param(b"GET\r\n\r\n", 400, id="method-alone"),
        pytest.param(b"GET / HTTP/9.9\r\n\r\n", 505, id="future"),
        pytest.param(b"GET / HTTP/1.x\r\n\r\n", 400, id="version"),
        pytest.param(b"GET / a b c HTTP/1.1\r\n\r\n", 400, id="words"),
        pytest.param(b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414, id="long-line"),
        pytest.param(b"GET /debug/tasks?" + b"a" * 60_000 + b" HTTP/1.1\r\n\r\n", 414, id="long-query"),
        pytest.param(
            b"GET / HTTP/1.1\r\n" + b"".join(b"a%d: b\r\n" % n for n in range(500)) + b"\r\n",
            431,
            id="headers",
        ),
        pytest.param(b"GET / HTTP/1.1\r\na: " + b"b" * 70_000 + b"\r\n\r\n", 431, id="long-header"),
        pytest.param(b"POST /debug/tasks HTTP/1.1\r\nContent-Length: 9\r\n\r\n", 405, id="post"),
        pytest.param(b"DELETE /debug/ HTTP/1.1\r\n\r\n", 405, id="delete"),
        pytest.param(b"EVIL /debug/ HTTP/1.1\r\n\r\n", 405, id="own-method"),
        pytest.param(b"get /debug/ HTTP/1.1\r\n\r\n", 405, id="small-method"),
        pytest.param(b"CONNECT evil.test:443 HTTP/1.1\r\n\r\n", 404, id="connect"),
        pytest.param(
            b"GET http://evil.test/debug/tasks HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, id="proxy"
        ),
        pytest.param(b"GET /debug/../debug/tasks HTTP/1.1\r\n\r\n", 404, id="dots"),
        pytest.param(b"GET /debug/%2e%2e/tasks HTTP/1.1\r\n\r\n", 404, id="coded-dots"),
        pytest.param(b"GET //debug/tasks HTTP/1.1\r\n\r\n", 200, id="two-slashes"),
        pytest.param(b"GET /debug//tasks HTTP/1.1\r\n\r\n", 404, id="inner-slashes"),
        pytest.param(b"GET /debug/tasks/ HTTP/1.1\r\n\r\n", 404, id="end-slash"),
        pytest.param(b"GET /debug/tasks%00 HTTP/1.1\r\n\r\n", 404, id="nul"),
        pytest.param(b"GET /debug/etc/passwd HTTP/1.1\r\n\r\n", 404, id="file"),
        pytest.param(b"GET /debugger/ HTTP/1.1\r\n\r\n", 404, id="prefix"),
        pytest.param(b"GET /debug/fgtrace?hz=x%0d%0aX-Evil:%201 HTTP/1.1\r\n\r\n", 400, id="split"),
        pytest.param(b"GET /debug/tasks HTTP/1.1\r\nHost: evil.test\r\n\r\n", 403, id="rebound"),
        pytest.param(
            b"GET /debug/tasks HTTP/1.1\r\nHost: localhost.evil.test:80\r\n\r\n", 403, id="rebound-like"
        ),
        pytest.param(
            b"GET /debug/tasks HTTP/1.1\r\nHost: localhost\r\nHost: evil.test\r\n\r\n", 403, id="two-hosts"
        ),
        pytest.param(b"GET /debug/tasks HTTP/1.1\r\nHost: localhost:1\r\n\r\n", 200, id="host-port"),
        pytest.param(b"GET /debug/tasks HTTP/1.1\r\nHost: [::1]:1\r\n\r\n", 200, id="host-6"),
    ],
)
def test_request(server: Live, request_: bytes, expected: int) -> None:
    """
    Each has its status, none a header of its own making, and no browser guesses the type of its response.
    """
    response = send(server, request_)
    assert status(response) == expected
    head = response.partition(b"\r\n\r\n")[0]
    assert b"X-Evil: 1" not in head
    assert b"X-Content-Type-Options: nosniff" in head


@pytest.mark.parametrize("path", ["/debug/nothing", "/debug/", "/debug/fgtrace?hz=x", "/elsewhere"])
def test_head_has_no_body(server: Live, path: str) -> None:
    """
    A response to HEAD ends with its headers, also where it is an error.
    """
    response = send(server, f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert response.endswith(b"\r\n\r\n")
    assert response.count(b"\r\n\r\n") == 1


def test_several_in_one(server: Live) -> None:
    """
    A connection serves one request; what stands behind it is not read.
    """
    response = send(server, b"GET /debug/tasks HTTP/1.1\r\n\r\n" * 5)
    assert response.count(b"HTTP/1.1 200") == 1


def test_crowd(server: Live) -> None:
    """
    Thousands of connections take no more than a few threads and little memory; then one is served.
    """
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 2 * CROWD + 200, "raise the limit of open files"
    threads = own_threads()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with ExitStack() as stack:
        for _ in range(CROWD):
            client = stack.enter_context(connect(server))
            client.sendall(b"GET /debug/tasks HTTP/1.1\r\n")  # and no end
            assert own_threads() <= threads + bounded_server.MOST_CONNECTIONS
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 64 * 1024  # KiB; the clients are ours, too
    until(lambda: server.get("/debug/tasks").status_code == 200)


def test_no_files_left(server: Live) -> None:
    """
    Where there are no more open files to be had, a client waits in line, and is served when there are.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert status(send(server, b"GET /debug/ HTTP/1.1\r\n\r\n")) == 200  # what is imported then needs files
    until(lambda: own_threads() == 1)
    with connect(server) as early, socket.socket() as late:
        early.sendall(b"GET /debug/ HTTP/1.1\r\n")
        until(lambda: own_threads() == 2)
        late.settimeout(SECONDS)
        late.connect(("127.0.0.1", server.port))
        with ExitStack() as stack:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 2, hard))
            stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
            with suppress(OSError):
                while True:
                    stack.enter_context(open(os.devnull, "rb"))
            early.sendall(b"\r\n")
            assert status(early.recv(9999)) == 200
        late.sendall(b"GET /debug/ HTTP/1.1\r\n\r\n")
        assert status(late.recv(9999)) == 200


def test_one_too_many(server: Live) -> None:
    """
    Who comes when all are busy is told to come again.
    """
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(bounded_server.MOST_CONNECTIONS + 4)]
        answered = [client.recv(9999) for client in clients[bounded_server.MOST_CONNECTIONS :]]
        assert {status(each) for each in answered} == {503}


def test_drip(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A request that comes byte by byte and never ends is cut off.
    """
    monkeypatch.setattr(standalone, "REQUEST_SECONDS", 0.3)
    with live("serve") as server:
        with connect(server) as client:

            def is_cut_off() -> bool:
                try:
                    client.sendall(b"G")
                except (ConnectionResetError, BrokenPipeError):
                    return True
                return False

            until(is_cut_off)
        until(lambda: own_threads() == 1)


# not waitress: that takes the whole answer itself, into a file of its own
@pytest.mark.parametrize("kind", ["starlette", "aiohttp", "serve"])
def test_slow_reader(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A client that does not read its answer gives its place back after a while.
    """
    monkeypatch.setattr(messages, "SENDING_BASE", 0.5)
    monkeypatch.setattr(messages, "SLOWEST_RATE", 1 << 40)
    monkeypatch.setattr("fgtrace._http.endpoints.TASKS_SHOWN", 1 << 30)
    monkeypatch.setattr("fgtrace._http.endpoints.as_text", lambda *_: b"x" * (64 << 20))
    monkeypatch.setattr("fgtrace._http.endpoints.MOST_TASK_LISTS", 1)
    with live(kind) as service, connect(service) as client:
        client.sendall(b"GET /debug/tasks HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: service.get("/debug/tasks?format=json").status_code == 429)
        until(lambda: service.get("/debug/tasks?format=json").status_code == 200)


@pytest.mark.parametrize("kind", MOUNTS)
@pytest.mark.parametrize(
    "path",
    [
        "/debug/../debug/nothing",
        "/debug/nothing",
        "/debug/tasks/",
        "/debug/tasks%00",
        "/debug/%2e%2e/tasks",
        "/debugger",
    ],
)
def test_path(kind: str, path: str) -> None:
    """
    What is not one of the paths is nothing, with every mount.
    """
    with live(kind) as service:
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        response = send(service, request.encode())
        assert status(response) in (400, 404)


@pytest.mark.parametrize("kind", MOUNTS)
def test_those_who_leave(kind: str) -> None:
    """
    A hundred clients that ask for a trace and go leave nothing, and a hundred and first is served.
    """
    with live(kind) as service:
        for _ in range(100):
            with connect(service) as client:
                client.sendall(b"GET /debug/fgtrace?seconds=300 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: not any(thread.name == "fgtrace sampler" for thread in threading.enumerate()))
        until(lambda: service.get("/debug/fgprof?seconds=0.1").status_code == 200)


def test_close_while_serving() -> None:
    """
    `close` ends what is under way: the client sees a connection that ends, and no thread is left.
    """
    server = fgtrace.serve()
    with socket.create_connection((server.host, server.port)) as client:
        client.sendall(b"GET /debug/fgtrace?seconds=300 HTTP/1.1\r\n\r\n")
        until(lambda: any(thread.name == "fgtrace sampler" for thread in threading.enumerate()))
        server.close()
        assert client.recv(100) == b""
    assert own_threads() == 0
    server.close()
