"""
The debug endpoints: what may be requested, and what real clients get from real servers.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st

import fgtrace
import fgtrace.aiohttp
import fgtrace.asgi
import fgtrace.wsgi
from fgtrace._formats.read.wire import Message
from fgtrace._http import Endpoints, HttpOptions, HttpRequest, HttpResponse, Job
from fgtrace._http.endpoints import Slots
from fgtrace._http.index_page import PAGE, PAGE_HEADERS
from fgtrace._session.flight_recorder import FlightRecorder
from live import MOUNTS, SECONDS, Live, live, until
from reading import Trace

CURL = shutil.which("curl")
needs_curl = pytest.mark.skipif(CURL is None, reason="there is no curl")


@pytest.fixture(params=MOUNTS)
def mounted(request: pytest.FixtureRequest) -> Iterator[Live]:
    """
    A service with each kind of mount in turn.
    """
    with live(request.param) as service:
        yield service


def answer(
    query: str = "",
    path: str = "/fgtrace",
    *,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    **options: Any,
) -> HttpResponse | Job:
    """
    What the endpoints answer.
    """
    mounted = Endpoints(HttpOptions(**options))
    found = mounted.answer(HttpRequest(method, path, query, headers or {}, "/debug"))
    if isinstance(found, Job):
        found.cancel()
    return found


def refused(found: HttpResponse | Job) -> tuple[int, str]:
    assert isinstance(found, HttpResponse)
    return found.status, b"".join(found.chunks()).decode()


def is_sampling() -> bool:
    return any(thread.name == "fgtrace sampler" for thread in threading.enumerate())


@needs_curl
def test_trace(mounted: Live, core: str, tmp_path: Path, read_trace: Callable[..., Trace]) -> None:
    """
    `curl` gets a valid trace of the asked length.
    """
    url = f"{mounted.url}/debug/fgtrace?seconds=0.5&hz=200"
    subprocess.run([str(CURL), "-sSf", "-o", tmp_path / "t.json", url], check=True, timeout=SECONDS)
    trace = read_trace()
    stats = trace.metadata["stats"]
    assert stats["core"] == core
    assert stats["ticks_taken"] / stats["hz"] > 0.499
    assert (trace.metadata["config"]["hz"], trace.metadata["config"]["dst"]) == (200, None)
    assert trace.track("MainThread")
    assert not list(trace.all("fgtrace http"))
    assert not list(trace.all("fgtrace writer"))


def test_trace_beside_blocked_loop(core: str, tmp_path: Path, read_trace: Callable[..., Trace]) -> None:
    """
    A server of its own answers while the event loop stands still, and the trace shows what it stands in.
    """
    blocked, answered = threading.Event(), threading.Event()

    def hold_up() -> None:
        blocked.set()
        assert answered.wait(SECONDS)

    async def stuck() -> None:
        hold_up()

    thread = threading.Thread(target=lambda: asyncio.run(stuck()), name="loop")
    thread.start()
    try:
        with fgtrace.serve() as server:
            assert blocked.wait(SECONDS)
            response = Live(server.url, blocked, answered).get("fgtrace?seconds=0.5")
    finally:
        answered.set()
        thread.join()
    (tmp_path / "t.json").write_bytes(response.content)
    task = read_trace().track("Task-* *stuck")
    assert task.states() == ["running"]
    (held,) = task.named("*.hold_up")
    assert held.dur >= 450_000_000


@pytest.mark.parametrize("format_", fgtrace.FORMATS)
def test_formats(format_: str, tmp_path: Path) -> None:
    """
    Every format can be had; the file's name has its suffix.
    """
    with live("serve") as service:
        response = service.get("/debug/fgtrace", params={"seconds": 0.1, "format": format_})
    assert response.status_code == 200
    suffix = fgtrace.FORMATS[format_][0]
    disposition = response.headers["content-disposition"]
    assert re.fullmatch(rf'attachment; filename="fgtrace-\d{{8}}T\d{{6}}Z{re.escape(suffix)}"', disposition)
    (tmp_path / f"t{suffix}").write_bytes(response.content)
    if format_.startswith(("json", "perfetto")):
        assert any(each.frame.category == "state" for each in fgtrace.load(tmp_path / f"t{suffix}"))


def test_profile(mounted: Live) -> None:
    """
    The profile is what `go tool pprof` reads: gzip around a message with samples.
    """
    response = mounted.get("/debug/fgprof?seconds=0.2")
    assert response.headers["content-type"] == "application/octet-stream"
    assert "content-encoding" not in response.headers
    data = gzip.decompress(response.content)
    profile = Message(data, 0, len(data))
    assert len(list(profile.messages(1))) >= 1  # sample_type
    assert len(list(profile.messages(2))) >= 1  # sample


def test_profile_folded(mounted: Live) -> None:
    """
    Collapsed stacks are text, a stack and a number on each line.
    """
    response = mounted.get("/debug/fgprof?seconds=0.2&format=folded")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert all(re.fullmatch(r".+;.+ \d+", line) for line in response.text.splitlines())


def test_gzip(mounted: Live) -> None:
    """
    A client that accepts gzip gets it, and no other.
    """
    packed = mounted.get("/debug/fgtrace?seconds=0.1")  # httpx takes it
    assert packed.headers["content-encoding"] == "gzip"
    plain = mounted.get("/debug/fgtrace?seconds=0.1", headers={"Accept-Encoding": "identity, gzip;q=0"})
    assert "content-encoding" not in plain.headers
    assert packed.json()["metadata"]["fgtrace"]["complete"]
    assert plain.json()["metadata"]["fgtrace"]["complete"]


def test_headers(mounted: Live) -> None:
    """
    No cache stores a response, and no browser guesses its type.
    """
    for path in ("", "fgtrace?seconds=0.1", "tasks", "nothing", "fgtrace?hz=x"):
        headers = mounted.get(f"/debug/{path}").headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("hz=x", 'bad hz: "x": allowed is a number above 0 and up to 1000 (ticks a second)'),
        ("hz=0", 'bad hz: "0": allowed is a number above 0'),
        ("hz=-1", 'bad hz: "-1": allowed is a number above 0'),
        ("hz=nan", 'bad hz: "nan": allowed is a number above 0'),
        ("hz=1_0", 'bad hz: "1_0": allowed is a number above 0'),
        ("hz=1e9", 'bad hz: "1e9": allowed is a number above 0'),
        ("hz=1001", 'bad hz: "1001": allowed is a number above 0 and up to 1000'),
        ("hz=%EF%BC%91", 'bad hz: "\\uff11": allowed is a number above 0'),
        ("seconds=301", 'bad seconds: "301": allowed is a number above 0 and up to 300 (seconds)'),
        ("seconds=", 'bad seconds: "": allowed is a number above 0'),
        ("seconds=1&seconds=2", 'bad seconds: "2": allowed is once'),
        ("format=xml", 'bad format: "xml": allowed is json or json.gz or'),
        ("state_frames=top", 'bad state_frames: "top": allowed is root or leaf or no'),
        ("awaits=all", 'bad awaits: "all": allowed is sampled or exact'),
        ("threads=2", 'bad threads: "2": allowed is 1 or 0, true or false'),
        ("tasks=0&awaits=exact", 'bad awaits: "exact": allowed is'),
        ("threads=0&tasks=0", 'bad tasks: "0": allowed is'),
        ("tasks=No&threads=off", 'bad tasks: "No": allowed is'),
        ("dst=/etc/passwd", 'bad query: "dst": the options are seconds, hz, format'),
        ("hz", "bad query:"),
        ("hz=%FF", "bad query:"),
        ("hz=%zz", 'bad hz: "%zz"'),
        ("&".join(f"a{n}=1" for n in range(100)), "bad query:"),
        ("hz=" + "9" * 500, 'bad hz: "' + "9" * 100 + '...": allowed'),
        ("last=0", 'bad last: "0": allowed is a number above 0'),
        ("last=5&hz=9", 'bad hz: "9": allowed with last is format'),
        ("last=5&hz=9.50", 'bad hz: "9.50": allowed with last is format'),
        ("last=5&lines=yes", 'bad lines: "yes": allowed with last is format'),
    ],
)
def test_bad_query(query: str, expected: str) -> None:
    """
    A bad value is named with what is allowed, in a line of plain text.
    """
    status, text = refused(answer(query))
    assert status == 400
    assert text.startswith(expected)
    assert text.count("\n") == 1


@given(
    st.text(max_size=60) | st.from_regex(r"(hz|seconds|last|tasks|format)=[^&]{0,9}(&.*)?", fullmatch=True)
)
def test_any_query(query: str) -> None:
    """
    Any query is accepted, or refused in a line.
    """
    for path in ("/fgtrace", "/fgprof", "/tasks"):
        found = answer(query, path)
        if isinstance(found, HttpResponse):
            status, text = refused(found)
            assert status in (400, 409)
            assert text.count("\n") == 1


def test_bad_with_the_endpoints_own_options() -> None:
    """
    A value that the client did not send is not shown as if it had.
    """
    status, text = refused(answer("threads=0", config=fgtrace.Config(tasks=False)))
    assert (status, text.partition(":")[0]) == (400, "bad tasks")
    assert text.startswith("bad tasks: allowed is True where threads is off")


def test_bad_query_over_the_wire(mounted: Live) -> None:
    """
    The same with each mount.
    """
    response = mounted.get("/debug/fgtrace?hz=x")
    assert (response.status_code, response.headers["content-type"]) == (400, "text/plain; charset=utf-8")
    assert response.text.startswith('bad hz: "x": allowed is ')


@pytest.mark.parametrize("last", ["/fgtrace", "/fgprof", "/tasks", "/"])
def test_long_query(last: str) -> None:
    """
    A query that is longer than any of ours is not read.
    """
    assert refused(answer("hz=1&" + "a" * 5000, last))[0] == 414


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("token", ""),
        ("token", "a\nb"),
        ("token", "ü"),
        ("token", b"x"),
        ("seconds", 0),
        ("seconds", 301),
        ("max_seconds", "1"),
        ("max_hz", 20_000),
        ("max_traces", 0),
        ("max_traces", 1.5),
        ("config", {}),
    ],
)
def test_bad_option(field: str, value: object) -> None:
    """
    A bad option is named when the endpoints are made; a token is not shown.
    """
    with pytest.raises(fgtrace.ConfigError) as caught:
        fgtrace.serve(**{field: value})  # type: ignore[arg-type]
    assert caught.value.field == field
    if field == "token" and value:
        assert str(value) not in str(caught.value)


def test_short_limit() -> None:
    """
    Where the longest trace is shorter than the usual one, that is how long a trace is.
    """
    assert HttpOptions(max_seconds=10).usual_seconds == 10
    assert HttpOptions().usual_seconds == 30
    assert HttpOptions(seconds=5, max_seconds=10).usual_seconds == 5


@pytest.mark.parametrize(
    ("options", "field"), [({"host": ""}, "host"), ({"port": -1}, "port"), ({"port": "80"}, "port")]
)
def test_bad_address(options: dict[str, Any], field: str) -> None:
    """
    An address that cannot be one is named when the server is made.
    """
    with pytest.raises(fgtrace.ConfigError) as caught:
        fgtrace.serve(**options)
    assert caught.value.field == field


@pytest.mark.parametrize("prefix", ["", "/", "debug", "/debug?", "/{debug}"])
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda prefix: fgtrace.asgi.DebugMiddleware(None, prefix), id="asgi"),  # type: ignore[arg-type]
        pytest.param(lambda prefix: fgtrace.wsgi.DebugMiddleware(None, prefix), id="wsgi"),  # type: ignore[arg-type]
        pytest.param(lambda prefix: fgtrace.aiohttp.add_routes(web.Application(), prefix), id="aiohttp"),
    ],
)
def test_bad_prefix(make: Callable[[str], object], prefix: str) -> None:
    """
    A mount that would take all of an application's paths, or none, is not made.
    """
    with pytest.raises(fgtrace.ConfigError, match="bad prefix: "):
        make(prefix)


def test_address_in_use() -> None:
    """
    An address in use is the system's error.
    """
    with fgtrace.serve() as server, pytest.raises(OSError, match="in use"):
        fgtrace.serve(port=server.port)


def test_too_many(mounted: Live) -> None:
    """
    No more traces than allowed are made at once; further ones are told when to come again.
    """
    responses: list[int] = []
    threads = [
        threading.Thread(target=lambda: responses.append(mounted.get("/debug/fgtrace?seconds=2").status_code))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    until(lambda: sum(each.name == "fgtrace sampler" for each in threading.enumerate()) == 2)
    third = mounted.get("/debug/fgprof?seconds=0.1")
    assert third.status_code == 429
    assert 1 <= int(third.headers["retry-after"]) <= 3
    assert mounted.get("/debug/tasks").status_code == 200
    for thread in threads:
        thread.join()
    assert responses == [200, 200]
    until(lambda: mounted.get("/debug/fgprof?seconds=0.1").status_code == 200)


def test_slots() -> None:
    """
    A slot that was released can be acquired again; released twice it is one slot.
    """
    slots = Slots(1)
    release = slots.acquire(10)
    assert release is not None
    assert slots.acquire(1) is None
    assert 9 <= slots.retry_after() <= 11
    release()
    release()
    assert slots.acquire(1) is not None
    assert slots.acquire(1) is None


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (None, 401),
        ("Bearer secret", 405),
        ("bearer secret", 405),
        ("Bearer  secret ", 405),
        ("Basic " + base64.b64encode(b"me:secret").decode(), 405),
        ("Basic " + base64.b64encode(b"secret").decode(), 401),
        ("Basic " + base64.b64encode(b"me:\xff").decode(), 401),
        ("Basic secret", 401),
        ("Bearer Secret", 401),
        ("Bearer secre", 401),
        ("Bearer", 401),
        ("Bearer s\xe9cret", 401),
        ("secret", 401),
        ("Digest secret", 401),
    ],
)
def test_token(header: str | None, status: int) -> None:
    """
    With a token, a client without it learns nothing, not even which paths there are.
    """
    headers = {} if header is None else {"authorization": header}
    assert refused(answer(method="PUT", headers=headers, token="secret"))[0] == status
    if status == 401:
        assert refused(answer(path="/nothing", headers=headers, token="secret"))[0] == 401


@pytest.mark.parametrize("kind", MOUNTS)
def test_token_over_the_wire(kind: str) -> None:
    """
    The same with each mount.
    """
    with live(kind, token="secret") as service:
        none = service.get("/debug/tasks")
        assert (none.status_code, none.headers["www-authenticate"][:5]) == (401, "Basic")
        assert service.get("/debug/tasks", headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert service.get("/debug/tasks", headers={"Authorization": "Bearer secret"}).status_code == 200
        assert service.get("/debug/tasks", auth=("", "secret")).status_code == 200


def test_client_goes_away(mounted: Live) -> None:
    """
    When a client goes away, its trace ends at once, and another one may be made.
    """
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", mounted.port)) as client:
            client.sendall(b"GET /debug/fgtrace?seconds=300 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            until(is_sampling)
        until(lambda: not is_sampling())
    until(lambda: mounted.get("/debug/fgprof?seconds=0.1").status_code == 200)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_method(method: str) -> None:
    """
    Methods other than GET and HEAD are refused.
    """
    found = answer(path="/tasks", method=method)
    assert refused(found)[0] == 405
    assert isinstance(found, HttpResponse)
    assert found.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/", "/fgtrace", "/fgprof", "/tasks", "/fgtrace?hz=x", "/nothing"])
def test_head(mounted: Live, path: str) -> None:
    """
    HEAD gets the headers that GET would, and makes no trace.
    """
    import httpx

    response = httpx.head(f"{mounted.url}/debug{path}", timeout=SECONDS)
    assert response.status_code == {"/fgtrace?hz=x": 400, "/nothing": 404}.get(path, 200)
    assert response.content == b""
    assert not is_sampling()


def test_nothing_there(mounted: Live) -> None:
    """
    An unknown path is answered with the full paths that there are.
    """
    found = mounted.get("/debug/nosuch")
    assert found.status_code == 404
    paths = found.text.rstrip("\n").partition("there is: ")[2].split()
    assert paths == ["/debug/", "/debug/fgtrace", "/debug/fgprof", "/debug/tasks"]
    assert all(mounted.get(path, params={"seconds": "x"}).status_code == 400 for path in paths)


def test_mount_within_another_application() -> None:
    """
    An aiohttp application may be a part of another one: the paths are those that a client asks for.
    """
    outer, inner = web.Application(), web.Application()
    fgtrace.aiohttp.add_routes(inner)
    outer.add_subapp("/debug/inner", inner)

    async def main() -> tuple[str, str, str]:
        async with TestClient(TestServer(outer)) as client:
            nothing = await (await client.get("/debug/inner/debug/nosuch")).text()
            page = await client.get("/debug/inner/debug")
            tasks = await (await client.get("/debug/inner/debug/tasks")).text()
            return nothing, str(page.url.path), tasks

    nothing, page, tasks = asyncio.run(main())
    assert "/debug/inner/debug/fgtrace /debug/inner/debug/fgprof" in nothing
    assert page == "/debug/inner/debug/"
    assert "RequestHandler.start" in tasks


def test_index(mounted: Live) -> None:
    """
    The page is at the mount itself, and its links work.
    """
    response = mounted.get("/debug", follow_redirects=True)
    assert response.url.path == "/debug/"
    for link in re.findall(r'href="([^"]+)"', response.text):
        assert mounted.get(f"/debug/{link.replace('=5', '=0.1')}").status_code == 200


def test_page_allows_its_own_script_only() -> None:
    """
    The page's policy names the hash of its script and its style, and nothing else.
    """
    policy = PAGE_HEADERS["Content-Security-Policy"]
    for kind, tag in (("script-src", b"script"), ("style-src", b"style")):
        text = re.search(rb"<%s>(.*?)</%s>" % (tag, tag), PAGE, re.DOTALL)
        assert text is not None
        digest = base64.b64encode(hashlib.sha256(text[1]).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy
    assert b"src=" not in PAGE
    assert b'<a href="http' not in PAGE


class TestTasks:
    """
    What every task does right now.
    """

    @pytest.fixture
    def service(self) -> Iterator[Live]:
        """
        A loop with tasks that wait for one another, beside a server.
        """
        loop = asyncio.new_event_loop()
        end, ready = asyncio.Event(), threading.Event()

        async def nap() -> None:
            await end.wait()

        async def main() -> None:
            naps = [asyncio.create_task(nap(), name=f"nap {number}") for number in range(3)]
            waiter = asyncio.create_task(asyncio.wait_for(naps[0], None), name="waiter")
            loop.call_later(0, ready.set)
            await asyncio.gather(*naps[1:])
            await waiter

        def run() -> None:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(main())

        thread = threading.Thread(target=run, name="the loop")
        thread.start()
        assert ready.wait(SECONDS)
        try:
            with live("serve") as service:
                yield service
        finally:
            loop.call_soon_threadsafe(end.set)
            thread.join()

    def test_json(self, service: Live) -> None:
        """
        As JSON, with the whole chain of each and the tasks that wait for it.
        """
        found = service.get("/debug/tasks?format=json").json()
        tasks = {task["name"]: task for task in found["tasks"]}
        assert found["count"] == len(tasks) == 5
        nap = tasks["nap 0"]
        assert (nap["state"], nap["on"]) == ("event wait", "asyncio.Event")
        assert [call["function"].rpartition(".")[2] for call in nap["chain"]] == ["nap", "wait"]
        assert nap["chain"][0]["file"] == __file__
        assert nap["chain"][0]["line"] > 0
        assert nap["loop"] == "asyncio loop 1 (the loop)"
        assert nap["awaited_by"] == ["waiter"]
        assert tasks["waiter"]["awaits"] == "nap 0"
        (main,) = set(tasks) - {"nap 0", "nap 1", "nap 2", "waiter"}
        assert tasks["nap 1"]["awaited_by"] == tasks["nap 2"]["awaited_by"] == [main]
        assert nap["seconds"] is None

    def test_for_how_long(self, service: Live) -> None:
        """
        A second sample tells how long each has been in its wait.
        """
        service.get("/debug/tasks")
        found = service.get("/debug/tasks", headers={"Accept": "application/json"}).json()
        assert all(task["seconds"] > 0 for task in found["tasks"])

    def test_text(self, service: Live) -> None:
        """
        For people: a paragraph a task.
        """
        text = service.get("/debug/tasks").text
        assert text.startswith("5 tasks\n\nasyncio loop 1 (the loop)\n")
        assert "\n  nap 0 nap: event wait on asyncio.Event\n" in text
        assert "    awaited by waiter\n" in text
        assert "    awaits nap 0\n" in text

    def test_limit(self, service: Live) -> None:
        """
        So many are told of, and how many more there are.
        """
        text = service.get("/debug/tasks?limit=2").text
        assert text.count(": event wait") + text.count(": task wait") == 2
        assert "... and 3 more" in text

    @pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=1.5", "format=xml", "hz=9"])
    def test_bad(self, query: str) -> None:
        """
        Bad values are named.
        """
        assert refused(answer(query, "/tasks"))[0] == 400

    def test_leaves_tasks_alone(self, service: Live) -> None:
        """
        A sample keeps no task alive.
        """

        async def main() -> bool:
            import gc
            import weakref

            task = asyncio.create_task(asyncio.sleep(60))
            await asyncio.sleep(0)
            await asyncio.to_thread(service.get, "/debug/tasks")
            task.cancel()
            reference = weakref.ref(task)
            await asyncio.gather(task, return_exceptions=True)
            del task
            await asyncio.sleep(0)
            gc.collect()
            return reference() is None

        assert asyncio.run(main())


def test_last(mounted: Live, core: str, tmp_path: Path, read_trace: Callable[..., Trace]) -> None:
    """
    The last seconds of a flight recorder come at once.
    """
    with FlightRecorder(hz=200) as recorder:
        until(lambda: recorder.stats.seconds > 0)
        response = mounted.get("/debug/fgtrace?last=60")
    (tmp_path / "t.json").write_bytes(response.content)
    trace = read_trace()
    assert trace.metadata["flight"]["seconds"] > 0
    assert trace.metadata["stats"]["core"] == core


@pytest.mark.parametrize(
    "error", [OSError("no room"), fgtrace.SinkError("there", OSError("no room")), ValueError("a bug")]
)
def test_failing(mounted: Live, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where a trace cannot be made, the client is told, the program goes on, and the next one may be made.
    """

    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("fgtrace._session.trace.Trace.start", fail)
        for _ in range(3):
            response = mounted.get("/debug/fgtrace?seconds=0.1")
            assert response.status_code == 500
            assert str(error) in response.text
    assert mounted.get("/debug/fgtrace?seconds=0.1").status_code == 200


def test_no_recorder(mounted: Live) -> None:
    """
    Without a flight recorder there are no last seconds.
    """
    response = mounted.get("/debug/fgtrace?last=5")
    assert response.status_code == 409
    assert "no flight recorder runs here" in response.text


def _rows(heading: str) -> dict[str, str]:
    """
    The first two columns of the table below a heading of docs/http.md.
    """
    page = (Path(__file__).parent.parent / "docs" / "http.md").read_text(encoding="utf-8")
    table = page.partition(heading)[2].partition("|---|")[2].partition("\n\n")[0]
    cells = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return {row[0].strip("|` "): row[1].strip("|` ") for row in cells}


def test_docs_options() -> None:
    """
    The page has each option, with its default.
    """
    defaults = {each.name: getattr(HttpOptions(), each.name) for each in fields(HttpOptions)}
    assert _rows("## Options") == {
        name: "Config()" if name == "config" else f"{value}" for name, value in defaults.items()
    }


def test_docs_query() -> None:
    """
    The page has each field of a query, and no other; so has the index page.
    """
    fields_ = Endpoints(HttpOptions())._trace_fields
    assert set(_rows("all of them optional")) == set(fields_)
    assert all(name.encode() in PAGE for name in fields_)


FORKS = """
import os, socket, warnings, fgtrace
warnings.simplefilter("error")
with fgtrace.serve() as server:
    child = os.fork()
    if child == 0:
        server.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    child_is_up, tell = os.pipe()
    child = os.fork()
    if child == 0:  # it lets the port go as it begins
        os.write(tell, b"!")
        os.read(0, 1)
        os._exit(0)
    os.read(child_is_up, 1)
    socket.create_connection((server.host, server.port)).close()
fgtrace.serve(port=server.port).close()
os.write(1, b"again")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_forks() -> None:
    """
    The program can fork beside a server: no warning, and the child does not keep the port.
    """
    run = subprocess.run(
        [sys.executable, "-c", FORKS],
        capture_output=True,
        stdin=subprocess.PIPE,
        timeout=SECONDS,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, b"again", b"")


AT_EXIT = """
import fgtrace, sys, threading, urllib.request
server = fgtrace.serve()
def ask():
    urllib.request.urlopen(server.url + "fgtrace?seconds=60")
threading.Thread(target=ask, daemon=True).start()
while not any(thread.name == "fgtrace sampler" for thread in threading.enumerate()):
    pass
"""


def test_program_ends() -> None:
    """
    A program ends while a trace is being served, as it would without.
    """
    run = subprocess.run([sys.executable, "-c", AT_EXIT], capture_output=True, timeout=SECONDS, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")
