"""
The examples show what their docstrings promise, and the scripts can be run.

Each example runs once, as a user runs it; several tests then look at its trace.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from amount import whole_programs
from reading import Row, Rows, Trace
from situations import in_order, read_file
from trace_processor import Engine

pytestmark = [*whole_programs, pytest.mark.xdist_group("examples")]

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SCRIPTS = sorted(path for path in (ROOT / "scripts").iterdir() if path.is_file())
SECONDS = 60

SOCKET = (
    "httpx.*",
    "httpcore.*",
    "AnyIOStream.read",
    "anyio.*.SocketStream.receive",
    "asyncio.locks.Event.wait",
)
RECEIVED = ("httpx._client.*", "httpcore.*.AsyncHTTP11Connection._receive_response_headers", *SOCKET[1:])


class Run(NamedTuple):
    """
    What an example left behind: its trace and what it printed.
    """

    trace: Trace
    printed: str


Example = Callable[..., Run]


def command(name: str, *arguments: object) -> list[str]:
    return [sys.executable, "-u", str(ROOT / "examples" / f"{name}.py"), *map(str, arguments)]


def finish(process: subprocess.Popen[str]) -> str:
    printed, complaints = process.communicate(timeout=SECONDS)
    assert (process.returncode, complaints) == (0, "")
    return printed


def start(name: str, *arguments: object) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(command(name, *arguments), stdout=pipe, stderr=pipe, text=True)


@contextmanager
def serving(path: Path) -> Iterator[str]:
    """
    Run the example's server; yield its URL, and end it as Ctrl-C does.
    """
    with start("aiohttp_server", path, "--port", 0, "--seconds", SECONDS) as process:
        assert process.stdout is not None
        match = re.search(r"http://\S+", process.stdout.readline())
        assert match is not None, finish(process)
        try:
            yield match[0]
        finally:
            process.send_signal(signal.SIGINT)
            finish(process)


@pytest.fixture(scope="module")
def example(core: str, tmp_path_factory: pytest.TempPathFactory, trace_engine: Engine) -> Example:
    """
    Runs an example by its name, and reads the trace that it wrote.
    """
    folder = tmp_path_factory.mktemp("examples")

    def run(name: str, *arguments: object) -> Run:
        path = folder / f"{name}.json"
        printed = finish(start(name, path, *arguments))
        assert str(path) in printed
        return Run(read_file(trace_engine, path), printed)

    return run


@pytest.fixture(scope="module")
def readme(example: Example) -> Run:
    """
    Return a run of readme.py.
    """
    return example("readme")


@pytest.fixture(scope="module")
def client(example: Example) -> Run:
    """
    Return a run of httpx_client.py with its own server.
    """
    return example("httpx_client")


@pytest.fixture(scope="module")
def threads(example: Example) -> Run:
    """
    Return a run of threads.py.
    """
    return example("threads")


@pytest.fixture(scope="module")
def blocking(example: Example) -> Run:
    """
    Return a run of blocking.py.
    """
    return example("blocking")


@pytest.fixture(scope="module")
def server(
    core: str, example: Example, tmp_path_factory: pytest.TempPathFactory, trace_engine: Engine
) -> Trace:
    """
    Return the trace of aiohttp_server.py after httpx_client.py has requested all its paths.
    """
    path = tmp_path_factory.mktemp("server") / "server.json"
    with serving(path) as url:
        asked = example(
            "httpx_client", *(f"{url}/{place}" for place in ("quick", "slow", "locked", "threaded"))
        )
    assert "100 answers with status 200" in asked.printed
    return read_file(trace_engine, path)


def states(track: Rows) -> list[Row]:
    return [row for row in track if row.category == "state"]


def shares(track: Rows, function: str) -> Counter[str]:
    """
    Return the nanoseconds of a function's slices by the state in which they lie.
    """
    found: Counter[str] = Counter()
    for state in states(track):
        inside = (row.dur for row in track if row.name == function and state.ts <= row.ts < state.end)
        found[state.name] += sum(inside)
    return found


def overlap(ones: Iterable[Row], others: Iterable[Row]) -> int:
    """
    Return the nanoseconds that two lists of slices share.
    """
    others = list(others)
    return sum(max(0, min(a.end, b.end) - max(a.ts, b.ts)) for a in ones for b in others)


def missed(trace: Trace) -> float:
    """
    Return the seconds without ticks.
    """
    return sum(row.dur for track in trace.all("fgtrace: gaps") for row in track) / 1e9


def holding(tracks: Iterable[Rows], state: str, *chain: str) -> list[Rows]:
    """
    Return the tracks that were in a state with these frames.
    """
    return [track for track in tracks if any(in_order(each, chain) for each in track.chains(state))]


PHASES = {
    "sleep_ten_times": "sleep",
    "ask_server": "I/O wait",
    "read_body": "I/O wait",
    "hash_thousand_times": "running",
}


@pytest.mark.parametrize(("phase", "state"), PHASES.items())
def test_readme_phase(readme: Run, phase: str, state: str) -> None:
    """
    Each phase lasts as long as by the program's own clock, to two ticks and those that were missed, and is
    spent in its state, or on the way there.
    """
    match = re.search(rf"^{phase}: (\S+) s$", readme.printed, re.MULTILINE)
    assert match is not None
    found = shares(readme.trace.track("Task-1 main"), f"__main__.{phase}")
    two_ticks = 2 / readme.trace.metadata["config"]["hz"] + missed(readme.trace)
    assert sum(found.values()) / 1e9 == pytest.approx(float(match[1]), abs=two_ticks)
    assert found.most_common(1)[0][0] == state
    assert {each for each in found if found[each]} <= {state, "running", "runnable", "GIL wait"}


def test_readme_order(readme: Run) -> None:
    """
    The phases follow one another on the main task's track.
    """
    slices = readme.trace.track("Task-1 main").named("__main__.*")
    names = dict.fromkeys(row.name.removeprefix("__main__.") for row in slices)
    assert [name for name in names if name in PHASES] == list(PHASES)


@pytest.mark.parametrize(
    ("phase", "chain"),
    [
        pytest.param("ask_server", RECEIVED, id="headers"),
        pytest.param("read_body", ("httpx._models.Response.aiter_bytes", *SOCKET), id="body"),
    ],
)
def test_readme_chain(readme: Run, phase: str, chain: tuple[str, ...]) -> None:
    """
    The wait for the server shows every await from the program down to the socket.
    """
    track = readme.trace.track("Task-1 main")
    chains = [each for each in track.chains("I/O wait") if in_order(each, (phase, *chain))]
    assert chains
    assert {each[0] for each in chains} == {"__main__.main"}
    assert {each[-1] for each in chains} == {"asyncio.locks.Event.wait"}


def test_readme_hash(readme: Run) -> None:
    """
    The running function is named down to the C function, on the task's track and on its thread's.
    """
    for name in ("Task-1 main", "MainThread"):
        track = readme.trace.track(name)
        running = [row for row in states(track) if row.name == "running"]
        hashing = [row for row in track.named("hashlib.sha1") if row.category == "native"]
        whole = track.named("__main__.hash_thousand_times")
        assert overlap(running, hashing) > sum(row.dur for row in whole) / 2


def test_readme_loops(readme: Run) -> None:
    """
    The trace has two loops, and what the server's handler did while the client waited.
    """
    groups = {event["args"]["name"] for event in readme.trace.events("M") if event["name"] == "process_name"}
    assert {name.partition("(")[2] for name in groups if name.startswith("asyncio loop ")} == {
        "MainThread)",
        "server)",
    }
    assert holding(readme.trace.all("Task-*"), "sleep", "__main__.answer", "asyncio.tasks.sleep")
    assert "select" in readme.trace.track("server").states()


def test_client_requests(client: Run) -> None:
    """
    Each of the hundred requests has a track, and a response.
    """
    assert "100 answers with status 200" in client.printed
    assert len(list(client.trace.all("Task-* fetch"))) == 100


def test_client_pool(client: Run) -> None:
    """
    Requests beyond the ten connections are in `pool wait`, under httpx's frames.
    """
    fetches = list(client.trace.all("Task-* fetch"))
    waiting = holding(
        fetches, "pool wait", "__main__.fetch", "httpx.*", "httpcore.*", "AsyncEvent.wait", "Event.wait"
    )
    assert 10 <= len(waiting) <= 90


def test_client_sockets(client: Run) -> None:
    """
    Requests with a connection wait for the server.
    """
    fetches = list(client.trace.all("Task-* fetch"))
    assert len(holding(fetches, "I/O wait", "__main__.fetch", *SOCKET)) >= 10


@pytest.mark.parametrize("function", ["wait_for_disk", "compute"])
def test_blocking(blocking: Run, function: str) -> None:
    """
    While one task is `running` in a function that blocks the loop, the others are `runnable`.
    """
    boss = blocking.trace.track("boss give_orders")
    assert shares(boss, f"__main__.{function}").most_common(1)[0][0] == "running"
    blocked = boss.named(f"__main__.{function}")
    workers = list(blocking.trace.all("worker * work"))
    assert len(workers) == 5
    for worker in workers:
        waiting = [row for row in states(worker) if row.name == "runnable"]
        assert overlap(waiting, blocked) > sum(row.dur for row in blocked) / 2


def test_blocking_native(blocking: Run) -> None:
    """
    The blocking call is named down to the C function.
    """
    boss = blocking.trace.track("boss give_orders")
    sleeping = [row for row in boss.named("time.sleep") if row.category == "native"]
    ticks = 4 / blocking.trace.metadata["config"]["hz"] + missed(blocking.trace)
    assert overlap(boss.named("__main__.wait_for_disk"), sleeping) / 1e9 > 0.4 - ticks  # twice 0.2 s


@pytest.mark.parametrize(
    ("name", "expected"),
    {
        "MainThread": {"thread wait"},
        "produce": {"sleep"},
        "consume": {"queue wait"},
        "hold_lock": {"sleep"},
        "want_lock": {"event wait", "lock wait"},
        "send": {"sleep"},
        "receive": {"I/O wait"},
        "compress": {"running"},
        "count": {"running", "GIL wait"},
        "worker_*": {"sleep", "idle"},
    }.items(),
)
def test_threads(threads: Run, name: str, expected: set[str]) -> None:
    """
    Each thread is in the states that its function causes.
    """
    tracks = list(threads.trace.all(name))
    assert expected <= {state for track in tracks for state in track.states()}


def test_threads_native(threads: Run) -> None:
    """
    Work in C has the C function's name.
    """
    assert threads.trace.track("compress").time_in("zlib.compress") > 0.5


@pytest.mark.parametrize(
    ("state", "handler"),
    [
        pytest.param("sleep", "slow", id="sleep"),
        pytest.param("lock wait", "locked", id="lock"),
        pytest.param("thread wait", "threaded", id="thread"),
    ],
)
def test_server_handler(server: Trace, state: str, handler: str) -> None:
    """
    A request's track shows what its handler waits for.
    """
    requests = server.all("Task-* RequestHandler.*")
    assert holding(requests, state, "aiohttp.*", f"__main__.{handler}", "asyncio.*")


def test_server_threads(server: Trace) -> None:
    """
    The threads of `to_thread` show the work that they do, and that they are idle without it.
    """
    workers = list(server.all("asyncio_*"))
    busy, native = (
        sum(worker.time_in(name) for worker in workers)
        for name in ("__main__.compute", "hashlib.pbkdf2_hmac")
    )
    # How long a derivation takes is up to the machine and its OpenSSL.
    assert 0 < busy * 0.8 < native <= busy
    assert any("idle" in worker.states() for worker in workers)


def test_server_ends(example: Example) -> None:
    """
    The server stops by itself, and the trace is whole.
    """
    trace = example("aiohttp_server", "--port", 0, "--seconds", 0.2).trace
    assert "sleep" in trace.track("Task-1 _run_app").states()


def test_many_tasks(example: Example) -> None:
    """
    The slow jobs are found, and are above the other lanes.
    """
    run = example("many_tasks")
    assert [word for word in run.printed.splitlines() if word.endswith(" job")] == [
        "  Dublin job", "  Oslo job", "  Rome job",
    ]  # fmt: skip
    names = list(run.trace.tracks)  # in display order
    assert len(names) < 400
    assert any(name.startswith("audit (") for name in names)
    first = next(name for name in names if name.startswith("job ("))
    for slow in ("Dublin job", "Oslo job", "Rome job"):
        # on a slow machine it may be less than a tenth of the trace
        above = slow in names[: names.index(first)]
        assert above or run.trace.track(first).named(slow)


def test_exact(tmp_path: Path, trace_engine: Engine) -> None:
    """
    With exact awaits all ten sleeps are there, and each wait for the lock but a first one; sampled, few are.
    """
    finish(start("exact", tmp_path))
    counts = {}
    for name in ("sampled", "exact"):
        trace = read_file(trace_engine, tmp_path / f"{name}.json")
        waits = [len(trace.track(f"{each} player").named("lock wait")) for each in ("ping", "pong")]
        counts[name] = (len(trace.track("naps naps").named("sleep")), sum(waits))
    assert counts["exact"][0] == 10
    assert counts["exact"][1] >= 70
    assert counts["sampled"][0] < 10
    assert counts["sampled"][1] < counts["exact"][1]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_short(path: Path) -> None:
    """
    An example says how to run it and where to look, and fits on a page or two.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) < 100
    ways = (
        f"    python examples/{path.name} [OUT]",
        f"    pytest --fgtrace --fgtrace-when=slow examples/{path.name}",
    )
    assert any(line.startswith(ways) for line in lines)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_script_is_sound(path: Path) -> None:
    """
    A script is executable, and its syntax is right.
    """
    assert os.access(path, os.X_OK)
    text = path.read_text(encoding="utf-8")
    shell = text.partition("\n")[0]
    assert shell in {"#!/usr/bin/env bash", "#!/usr/bin/env python3"}
    if shell.endswith("bash"):
        subprocess.run(["/usr/bin/env", "bash", "-n", path], check=True, timeout=SECONDS)
    else:
        compile(text, path, "exec")


def test_flight_recorder(example: Example) -> None:
    """
    The slow request is in the dump, with the request that held the lock.
    """
    run = example("flight_recorder")
    assert run.trace.metadata["flight"]["reason"] == "slow request"
    holder = run.trace.track("request 20 *")
    two_ticks = 2 / run.trace.metadata["config"]["hz"] + missed(run.trace)
    assert holder.time_in("sleep") > 0.5 - two_ticks
    assert any("ask_database" in name for chain in holder.chains("sleep") for name in chain)
    assert holding(run.trace.all("request *"), "lock wait", "*.Lock.acquire")


def test_debug_hook(core: str, tmp_path: Path, trace_engine: Engine) -> None:
    """
    The hook logs one line, with a file whose last long slice is what blocks the loop.
    """
    folder = tmp_path / "dumps"
    printed = finish(start("debug_hook", folder))
    [line] = [line for line in printed.splitlines() if "request 13" in line]
    [path] = [word for word in line.split() if word.endswith(".json")]
    trace = read_file(trace_engine, Path(path))
    culprit = trace.track("request 13 *")
    end = max(row.end for row in culprit)
    names = [row.name for row in culprit if row.end == end]
    assert names[0] == "running"
    assert "__main__.sign" in names
    assert "sign" in line


@pytest.mark.parametrize("name", ["http_asgi", "http_aiohttp"])
def test_http_requests(example: Example, name: str) -> None:
    """
    The trace that came over HTTP has the requests of the users by name.
    """
    trace = example(name, "--port", 0).trace
    asked = [row for track in trace.all() for row in track if row.category == "request"]
    users = [row for row in asked if row.name == "GET /users/{id}"]
    assert len({row.args["path"] for row in users}) > 3
    if name == "http_asgi":
        assert users[0].args["request id"].startswith("request-")
    assert holding(trace.all("GET /users/{id}"), "sleep", "__main__.user", "asyncio.tasks.sleep")


def test_http_flask(example: Example) -> None:
    """
    The server's threads serve users.
    """
    trace = example("http_flask", "--port", 0).trace
    assert holding(trace.all("waitress-*"), "sleep", "__main__.user")


def test_http_serve(example: Example) -> None:
    """
    The trace of a loop that hangs shows in what, and so does the list of tasks.
    """
    run = example("http_serve", "--port", 0, "--seconds", 4)
    worker = run.trace.track("worker work")
    assert worker.states() == ["running"]
    assert worker.time_in("__main__.compute") > 0.9
    assert run.trace.track("ticker tick").states() in (["sleep"], ["runnable"])
    assert "worker work: running" in run.printed
