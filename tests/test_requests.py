"""
Requests by name: on the tracks of the tasks that serve them.
"""

from __future__ import annotations

import asyncio
import sys
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import fgtrace
import fgtrace.aiohttp
import fgtrace.asgi
from fgtrace._http.task_list import TaskInspector, as_text
from fgtrace._model.values import Frame, Request, Track
from fgtrace._options.options import Options
from fgtrace._recording.recording import Recording
from fgtrace._sampling.collect import requests as _requests
from fgtrace._session.flight_recorder import FlightRecorder
from fgtrace._timeline.request_slices import RequestSlices
from fgtrace._timeline.slice_builder import SliceBuilder
from fgtrace._timeline.stack_resolver import StackResolver
from live import SECONDS, Live, live
from reading import Row, Trace
from tick_count import pass_ticks, wait_for_ticks

pytestmark = pytest.mark.usefixtures("core")

WAYS = ["sampled", "exact"]
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
HEADERS = {"X-Request-ID": "r-1", "traceparent": TRACEPARENT}
IDS = {"request id": "r-1", "trace id": "0af7651916cd43dd8448eb211c80319c"}


@pytest.fixture(params=WAYS)
def record(
    request: pytest.FixtureRequest, tmp_path: Path, read_trace: Callable[..., Trace]
) -> Callable[..., Trace]:
    """
    Traces what a function does, sampled and exact.
    """

    def run(work: Callable[[], Any], **options: Any) -> Trace:
        options = {"hz": 200, "max_overhead": 1.0, "awaits": request.param, **options}
        with fgtrace.trace(tmp_path / "t.json", **options):
            work()
        return read_trace()

    return run


def nameless(_: object) -> tuple[str, str, str, str]:
    raise ZeroDivisionError("as it happens")


def requests_of(trace: Trace) -> list[tuple[str, Row]]:
    """
    Track name and slice of each request.
    """
    return [(track.name, row) for track in trace.all() for row in track if row.category == "request"]


def assert_within(requests: list[Row], frames: list[Row], trace: Trace) -> None:
    """
    What was sampled within requests is drawn within them; a step with exact awaits has its own end.
    """
    if trace.metadata["awaits"] != "exact":
        assert all(any(row.ts <= each.ts and each.end <= row.end for row in requests) for each in frames)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_asgi(loop: str, record: Callable[..., Trace]) -> None:
    """
    A task that serves one request is named by its route, and the request is the outermost slice.
    """
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    with live("starlette", loop=loop) as service:
        trace = record(lambda: service.get("/users/7", headers=HEADERS))
    ((name, row),) = requests_of(trace)
    assert name == row.name == "GET /users/{id}"
    assert row.depth == 0
    assert row.args == {"path": "/users/7", **IDS}
    (track,) = trace.all("GET /users/{id}")
    assert "sleep" in track.states()
    assert track.named("*.user")  # what lies within the middleware is seen
    assert_within([row], track.named("*.user"), trace)
    assert not track.named("fgtrace.*")
    (named,) = (e["args"] for e in trace.events("M") if e["args"].get("name", "").endswith("{id}"))
    assert "RequestResponseCycle.run_asgi" in str(named)


def test_asgi_mounted(record: Callable[..., Trace]) -> None:
    """
    The route of an application within another is named in full.
    """
    with live("starlette") as service:
        trace = record(lambda: service.get("/v2/users/x"))
    assert [row.name for _, row in requests_of(trace)] == ["GET /v2/users/{id}"]


def test_aiohttp(record: Callable[..., Trace]) -> None:
    """
    Each request of a connection is a slice, named by its route; so is its task, where it has one.
    """
    with live("aiohttp") as service:

        def work() -> None:
            with httpx.Client(base_url=service.url) as client:
                for number in (7, 8):
                    client.get(f"/users/{number}", headers=HEADERS)

        trace = record(work)
    rows = sorted(row for _, row in requests_of(trace))
    assert [row.name for row in rows] == ["GET /users/{id}"] * 2
    assert [row.args for row in rows] == [{"path": f"/users/{number}", **IDS} for number in (7, 8)]
    assert rows[0].end <= rows[1].ts
    assert all("sleep" in track.states() for track in trace.all("GET /users/{id}"))


def test_several_in_a_task(record: Callable[..., Trace]) -> None:
    """
    A task that serves one request after the other keeps its name; each is a slice.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await pass_ticks(20)

    async def main() -> None:
        wrapped = fgtrace.asgi.RequestMiddleware(app)
        for path in ("/a", "/b"):
            scope: dict[str, Any] = {"type": "http", "method": "GET", "path": path, "headers": []}
            await wrapped(scope, None, None)  # type: ignore[arg-type]
            await pass_ticks(20)

    trace = record(lambda: asyncio.run(main()))
    track = trace.track("Task-* *main")
    rows = [row for row in track if row.category == "request"]
    assert [row.name for row in rows] == ["GET /a", "GET /b"]
    assert all(row.depth == 0 for row in rows)
    frames = track.named("*.app")
    assert frames
    assert_within(rows, frames, trace)
    inside = [
        [each.name for each in track if row.ts <= each.ts < row.end and each.depth == 1] for row in rows
    ]
    assert all(set(states) <= {"sleep", "running", "runnable"} for states in inside)


def test_nothing_there(record: Callable[..., Trace]) -> None:
    """
    A request that fits no route is named by its path.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await pass_ticks(20)
        raise ValueError("as wrong as can be")

    wrapped = fgtrace.asgi.RequestMiddleware(app)
    scope = {"type": "http", "method": "GET", "path": "/nowhere", "headers": []}

    async def main() -> None:
        with pytest.raises(ValueError, match="as wrong as can be"):
            await wrapped(scope, None, None)  # type: ignore[arg-type]

    trace = record(lambda: asyncio.run(main()))
    assert [row.name for _, row in requests_of(trace)] == ["GET /nowhere"]
    assert not _requests._open_requests


def test_identical_tasks(tmp_path: Path, read_trace: Callable[..., Trace]) -> None:
    """
    Tasks that wait all the time, but serve different requests, are not drawn as one.
    """

    async def serve_one(path: str, began: asyncio.Barrier, end: asyncio.Event) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await began.wait()
            await end.wait()

        scope: dict[str, Any] = {"type": "http", "method": "GET", "path": path, "headers": []}
        await fgtrace.asgi.RequestMiddleware(app)(scope, None, None)  # type: ignore[arg-type]

    async def main() -> None:
        began, end = asyncio.Barrier(31), asyncio.Event()
        tasks = [asyncio.create_task(serve_one(f"/{number}", began, end)) for number in range(30)]
        await began.wait()
        await asyncio.sleep(0.1)
        await asyncio.to_thread(trace.start)
        await asyncio.sleep(0.1)
        await asyncio.to_thread(trace.stop)
        end.set()
        await asyncio.gather(*tasks)

    path = tmp_path / "t.json"
    trace = fgtrace.trace(path, hz=200, tracks="lane")
    asyncio.run(main())
    found = {row.name for _, row in requests_of(read_trace())}
    assert found == {f"GET /{number}" for number in range(30)}


@pytest.mark.parametrize("awaits", WAYS)
def test_recorder(awaits: str, tmp_path: Path, read_trace: Callable[..., Trace]) -> None:
    """
    A flight recorder has the requests of its window, and the one that is under way.
    """
    options: dict[str, Any] = {"hz": 200, "max_overhead": 1.0, "awaits": awaits}
    with live("starlette") as service, FlightRecorder(30, **options) as recorder:
        service.get("/users/7")
        with asking(service, "/block"):
            assert service.blocked.wait(SECONDS)
            wait_for_ticks(2)
            recorder.dump(tmp_path / "t.json")
    found = {row.name for _, row in requests_of(read_trace())}
    assert found == {"GET /users/{id}", "GET /block"}


def test_lanes(record: Callable[..., Trace]) -> None:
    """
    Tasks that are named by their requests share lanes by their coroutine.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await pass_ticks(4)

    async def serve_one(path: str) -> None:
        scope: dict[str, Any] = {"type": "http", "method": "GET", "path": path, "headers": []}
        await fgtrace.asgi.RequestMiddleware(app)(scope, None, None)  # type: ignore[arg-type]

    async def main() -> None:
        for number in range(20):
            await asyncio.create_task(serve_one(f"/{number}"))

    trace = record(lambda: asyncio.run(main()), tracks="lane")
    (lane,) = trace.all("serve_one (* tasks)")
    assert {row.name for row in lane if row.depth == 0} <= {f"GET /{number}" for number in range(20)}


@contextmanager
def asking(service: Live, path: str) -> Iterator[None]:
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(service.get, path, headers=HEADERS)
        yield
        service.go_on.set()
        assert asked.result(SECONDS).status_code == 200


@pytest.mark.parametrize("kind", ["starlette", "aiohttp"])
def test_under_way(kind: str, record: Callable[..., Trace]) -> None:
    """
    A request that began before the trace and ends after it has its name.
    """
    with live(kind) as service, asking(service, "/block"):
        assert service.blocked.wait(SECONDS)
        trace = record(lambda: wait_for_ticks(20))
    ((_, row),) = requests_of(trace)
    assert row.name == "GET /block"


@pytest.mark.parametrize("kind", ["starlette", "aiohttp"])
def test_mount(kind: str, record: Callable[..., Trace]) -> None:
    """
    A request to the endpoints is one of that path.
    """
    with live(kind) as service:
        trace = record(lambda: service.get("/debug/fgtrace?seconds=0.2"))
    ((_, row),) = requests_of(trace)
    assert (row.name, row.args) == ("GET /debug/fgtrace", {"path": "/debug/fgtrace"})


@pytest.mark.parametrize("kind", ["starlette", "aiohttp"])
def test_tasks_now(kind: str) -> None:
    """
    A look at what every task does right now lists those that serve a request by it, with its facts.
    """
    with live(kind) as service, live("serve") as endpoints, asking(service, "/block"):
        assert service.blocked.wait(SECONDS)
        found = endpoints.get("/debug/tasks?format=json").json()["tasks"]
        text = endpoints.get("/debug/tasks").text
    (task,) = (each for each in found if each["request"] is not None)
    assert task["request"].pop("seconds") > 0
    assert task["request"] == {"name": "GET /block", "args": {"path": "/block", **IDS}}
    assert task["state"] == "running"
    assert f"\n  GET /block ({task['name']} " in text
    assert f" s, path /block, request id r-1, trace id {IDS['trace id']}\n" in text


def test_tasks_now_hostile(caplog: pytest.LogCaptureFixture) -> None:
    """
    A path cannot end a line of the list, nor command a terminal; a request without a name is left out.
    """

    async def main() -> str:
        task = asyncio.current_task()
        path = "/a\n\x1b[2J"
        serving = [
            _requests.begin_request(task, nameless, None),
            _requests.begin_request(task, lambda _: (f"GET {path}", path, "", ""), None),
        ]
        found = as_text(TaskInspector(Options()).inspect(), 9).decode()
        for each in serving:
            _requests.end_request(each)
        return found

    text = asyncio.run(main())
    assert "\n  GET /a\\n\\x1b[2J (Task-" in text
    assert ", path /a\\n\\x1b[2J\n" in text
    assert "requests failed" in caplog.text


def test_no_trace() -> None:
    """
    Without a trace nothing is kept of a request, and nobody asks what it is called.
    """

    async def main() -> None:
        task = asyncio.current_task()
        serving = _requests.begin_request(task, nameless, None)
        assert len(_requests._open_requests) == 1
        _requests.end_request(serving)

    asyncio.run(main())
    assert not _requests._open_requests


def test_orphan() -> None:
    """
    A task that is orphaned in the midst of a request goes as it would have gone.
    """
    import gc
    import weakref

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        wrapped = fgtrace.asgi.RequestMiddleware(app)
        scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": []}
        task = asyncio.create_task(wrapped(scope, None, None))  # type: ignore[arg-type]
        scope["task"] = task
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        await asyncio.sleep(0)
        reference = weakref.ref(task)
        del task, scope
        gc.collect()
        assert reference() is None

    asyncio.run(main())
    assert not _requests._open_requests


def test_failing_name(record: Callable[..., Trace]) -> None:
    """
    Where a name cannot be had, the request goes on, and the trace says so.
    """

    async def main() -> None:
        task = asyncio.current_task()
        serving = _requests.begin_request(task, nameless, None)
        await asyncio.sleep(0.1)
        _requests.end_request(serving)

    trace = record(lambda: asyncio.run(main()))
    assert trace.metadata["stats"]["failed"] == {"requests": "ZeroDivisionError: as it happens"}
    assert requests_of(trace) == []


def test_opentelemetry(record: Callable[..., Trace], monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where OpenTelemetry is imported, the current span's trace id is an argument.
    """
    context = types.SimpleNamespace(trace_id=0xABC, is_valid=True)
    span = types.SimpleNamespace(get_span_context=lambda: context)
    stands_for: Any = types.ModuleType("opentelemetry.trace")
    stands_for.get_current_span = lambda: span
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", stands_for)
    with live("starlette") as service:
        trace = record(lambda: service.get("/users/7"))
    ((_, row),) = requests_of(trace)
    assert row.args["trace id"] == f"{0xABC:032x}"


TRACK = Track("task", 0, "Task-1", end=100)


def drawn(
    requests: list[Request], *, by_time: bool = False, depth: int = 0
) -> list[tuple[str, int, int, int]]:
    """
    Name, start, end and depth of the slices of a task that slept till 50 and then ran, with its requests.

    It ran with so many middlewares on its stack.
    """
    recording = Recording()
    recording.requests += requests
    resolver = StackResolver(recording, Options())
    outer = RequestSlices(recording).outer(0, resolver)
    builder = SliceBuilder(TRACK, by_time=by_time, outer=outer)
    found: list[int] = []
    for time, state in ((0, "sleep"), (50, "running"), (100, "")):
        stack = (resolver.shared_frame(Frame(state, "state")),) if state else ()
        found += builder.advance(time, stack, depth if state == "running" else 0) or ()
    return [
        (resolver.frames[number].name, start, end, depth)
        for start, end, depth, number in zip(*[iter(found)] * 4, strict=True)
        if start != end
    ]


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        pytest.param([], [("sleep", 0, 50, 0), ("running", 50, 100, 0)], id="none"),
        pytest.param(
            [(-10, -1)], [("a", 0, 100, 0), ("sleep", 0, 50, 1), ("running", 50, 100, 1)], id="all-the-time"
        ),
        pytest.param(
            [(20, 60)],
            [
                ("sleep", 0, 20, 0),
                ("a", 20, 60, 0),
                ("sleep", 20, 50, 1),
                ("running", 50, 60, 1),
                ("running", 60, 100, 0),
            ],
            id="within",
        ),
        pytest.param(
            [(50, 100)], [("sleep", 0, 50, 0), ("a", 50, 100, 0), ("running", 50, 100, 1)], id="as-the-state"
        ),
        pytest.param(
            [(0, 40), (10, 30)],
            [
                ("a", 0, 40, 0),
                ("sleep", 0, 10, 1),
                ("b", 10, 30, 1),
                ("sleep", 10, 30, 2),
                ("sleep", 30, 40, 1),
                ("sleep", 40, 50, 0),
                ("running", 50, 100, 0),
            ],
            id="nested",
        ),
        pytest.param(
            [(0, 20), (20, 40)],
            [
                ("a", 0, 20, 0),
                ("sleep", 0, 20, 1),
                ("b", 20, 40, 0),
                ("sleep", 20, 40, 1),
                ("sleep", 40, 50, 0),
                ("running", 50, 100, 0),
            ],
            id="one-after-the-other",
        ),
        pytest.param([(150, 170)], [("sleep", 0, 50, 0), ("running", 50, 100, 0)], id="later"),
    ],
)
def test_drawn(requests: list[tuple[int, int]], expected: list[tuple[str, int, int, int]]) -> None:
    """
    A request is a slice around what the task did meanwhile.
    """
    noted = [Request(0, start, end, "ab"[place]) for place, (start, end) in enumerate(requests)]
    assert sorted(drawn(noted), key=lambda each: (each[1], each[3])) == expected


@pytest.mark.parametrize(
    ("requests", "depth", "expected"),
    [
        pytest.param([(20, 60)], 1, [("a", 20, 60, 0), ("running", 50, 60, 1)], id="ends-with-it"),
        pytest.param(
            [(20, 60), (70, 80)],
            1,
            [("a", 20, 60, 0), ("running", 50, 60, 1), ("b", 70, 80, 0), ("running", 70, 80, 1)],
            id="another-one",
        ),
        pytest.param(
            [(20, 80), (30, 60)],
            2,
            [("a", 20, 80, 0), ("b", 30, 60, 1), ("running", 50, 60, 2)],
            id="the-inner-of-two",
        ),
        pytest.param(
            [(20, 80), (30, 60)],
            1,
            [
                ("a", 20, 80, 0),
                ("b", 30, 60, 1),
                ("running", 50, 60, 2),
                ("running", 60, 80, 1),
            ],
            id="the-outer-of-two",
        ),
        pytest.param([(60, 90)], 1, [("a", 60, 90, 0), ("running", 60, 90, 1)], id="begins-with-it"),
        pytest.param([(0, 30)], 1, [("a", 0, 30, 0), ("running", 50, 100, 0)], id="of-an-unknown-one"),
    ],
)
@pytest.mark.parametrize("by_time", [False, True])
def test_drawn_within(
    requests: list[tuple[int, int]], depth: int, expected: list[tuple[str, int, int, int]], by_time: bool
) -> None:
    """
    What was seen within a request begins and ends with it, and is there again in another one.
    """
    noted = [Request(0, start, end, "ab"[place]) for place, (start, end) in enumerate(requests)]
    found = [each for each in drawn(noted, by_time=by_time, depth=depth) if each[0] != "sleep"]
    assert sorted(found, key=lambda each: (each[1], each[3])) == expected


@pytest.mark.parametrize(
    ("requests", "name"),
    [
        pytest.param([(10, 90)], "a", id="one"),
        pytest.param([(-50, -1)], "a", id="under-way"),
        pytest.param([(10, 90), (20, 80)], "a", id="one-with-another-in-it"),
        pytest.param([(10, 50), (60, 90)], "", id="two"),
        pytest.param([(10, 40)], "", id="a-part-only"),
        pytest.param([], "", id="none"),
    ],
)
def test_name(requests: list[tuple[int, int]], name: str) -> None:
    """
    A task is named by its request if it served one, and that for most of its time.
    """
    recording = Recording()
    recording.requests += [Request(0, start, end, "ab"[place]) for place, (start, end) in enumerate(requests)]
    assert RequestSlices(recording).name(0, 0, 100) == name


def test_bounded() -> None:
    """
    So many requests are kept, and the rest is counted.
    """
    recording = Recording()
    for number in range(100_003):
        recording.note_request(Request(0, number, number + 1, "GET /"))
    assert (len(recording.requests), recording.requests_dropped) == (100_000, 3)
