"""
The debug hook: each thing that goes wrong gives a dump that shows it, and `uninstall` leaves nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvloop

import fgtrace
from fgtrace._options.options import Options
from fgtrace._output.captured_trace import CapturedTrace
from fgtrace._recording.recording import LoopEntry
from fgtrace._sampling.collect.requests import begin_request, end_request
from fgtrace._watchdog import hook_options as _hook_options
from fgtrace._watchdog.culprit import who_held
from fgtrace._watchdog.hook import DebugHook
from fgtrace._watchdog.hook_options import PREFIX, VARIABLES, from_environment, unknown_variables
from fgtrace.cli._until_exit import welcome
from fgtrace.debug import installed
from forking import fork
from reading import Row, Rows, Trace
from scripted import Script

QUICK: dict[str, Any] = {"slow_callback_duration": 0.05, "interval": 0, "format": "json", "hz": 200}
SOURCE = Path(fgtrace.__file__).parents[1]


@contextmanager
def hooked(folder: Path, **options: Any) -> Iterator[DebugHook]:
    hook = fgtrace.install(folder, **{**QUICK, **options})
    try:
        yield hook
    finally:
        fgtrace.uninstall()


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


async def come(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        await asyncio.sleep(0.005)


def last(track: Rows) -> list[Row]:
    """
    Return the slices with which a track ends, outermost first.
    """
    end = max(row.end for row in track)
    return [row for row in track if row.end == end]


def dumps(folder: Path, reason: str) -> list[Path]:
    return sorted(folder.glob(f"*Z-{reason}*.json"))


def named(record: logging.LogRecord) -> Path:
    """
    Return the file that a log line names.
    """
    return next(Path(word) for word in record.getMessage().split() if word.endswith(".json"))


Runner = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Runner:
    """
    Runs a coroutine.
    """
    found: Runner = request.param
    return found


@pytest.mark.parametrize("awaits", ["sampled", "exact"])
def test_blocked_loop(  # noqa: PLR0917 - fixtures
    core: str,
    runner: Runner,
    awaits: str,
    tmp_path: Path,
    read_trace: Callable[..., Trace],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    A step that blocks the loop is dumped while it does, as the last slice of its task; the log names it.
    """

    async def hog(hook: DebugHook) -> None:
        before = hook.dumped
        wait_for(lambda: hook.dumped > before)

    async def main() -> None:
        with hooked(tmp_path, awaits=awaits) as hook:
            for number in count():  # a busy machine may hold the loop as well
                await asyncio.create_task(hog(hook), name=f"hog {number}")
                if "task 'hog" in caplog.text:
                    break

    runner(main())
    record = next(record for record in caplog.records if "task 'hog" in record.getMessage())
    culprit = record.getMessage().partition("task '")[2].partition("'")[0]
    trace = read_trace(named(record))
    slices = last(trace.track(f"{culprit} *"))
    assert slices[0].name == "running"
    assert any(row.name.endswith("hog") for row in slices)
    assert slices[0].end == max(row.end for rows in trace.all() for row in rows)
    assert trace.metadata["flight"]["reason"] == "blocked"
    assert f"task '{culprit}'" in trace.metadata["flight"]["culprit"]
    assert "wait_for" in record.getMessage()
    assert (record.name, record.levelno) == ("fgtrace", logging.WARNING)


def test_blocking_callback(
    core: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, read_trace: Callable[..., Trace]
) -> None:
    """
    A callback that blocks the loop is in the thread's own track.
    """

    def hog(hook: DebugHook, before: int) -> None:
        wait_for(lambda: hook.dumped > before)

    async def main() -> None:
        with hooked(tmp_path) as hook:
            while "thread 'MainThread'" not in caplog.text:
                asyncio.get_running_loop().call_soon(hog, hook, hook.dumped)
                await asyncio.sleep(0.01)

    asyncio.run(main())
    record = next(record for record in caplog.records if "MainThread" in record.getMessage())
    assert "wait_for" in record.getMessage()
    assert any("wait_for" in row.name for row in last(read_trace(named(record)).track("MainThread")))


def test_no_such_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The default signal is allowed where the system has none of its name; there it does nothing.
    """
    monkeypatch.delitem(signal.Signals._member_map_, _hook_options.USUAL_SIGNAL)
    assert _hook_options.HookOptions().signal_number is None


@pytest.mark.parametrize("is_exact", [False, True], ids=["sampled", "exact"])
@pytest.mark.parametrize(("thread", "culprit"), [("MainThread", "mine"), ("other", "theirs")])
def test_culprit_is_of_the_blocked_loop(thread: str, culprit: str, *, is_exact: bool) -> None:
    """
    Of two loops in two threads, what runs in the one is not named for the other, however long it runs.
    """
    script = Script()
    script.recording.add_loop(LoopEntry("asyncio.Loop", "other", exact=is_exact))
    for name in ("MainThread", "other"):
        script.at(0, name, "ab")
    script.recording.tracks[script.track("theirs", 0, "task")].loop = 1
    script.sample(0, "theirs", "cd")
    script.sample(30, "mine", "ef")
    if is_exact:
        script.exact()
        script.step("theirs", 0, 100, "cd")
        script.step("mine", 30, 100, "ef")
    captured = CapturedTrace(script.recording, Options(), 100, 1, {})
    native = script.recording.tracks[script.tracks[thread]].tid
    assert who_held(captured, 0, native, thread).who == f"task {culprit!r}"


@pytest.mark.parametrize("awaits", ["sampled", "exact"])
def test_two_blocked_loops(core: str, awaits: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    A callback that blocks its loop is named while a task blocks another loop for longer.
    """

    def hog(hook: DebugHook, before: int) -> None:
        wait_for(lambda: hook.dumped > before)

    async def spin(is_over: threading.Event) -> None:
        wait_for(is_over.is_set)

    async def main(is_over: threading.Event) -> None:
        with hooked(tmp_path, awaits=awaits) as hook:
            other = threading.Thread(target=lambda: asyncio.run(spin(is_over)), name="other")
            other.start()
            try:
                await come(lambda: "spin" in caplog.text)
                until = time.monotonic() + 30
                while "hog" not in caplog.text:
                    assert time.monotonic() < until
                    asyncio.get_running_loop().call_soon(hog, hook, hook.dumped)
                    await asyncio.sleep(0.01)
            finally:
                is_over.set()
                other.join()

    asyncio.run(main(threading.Event()))


def test_loop_that_held_the_gil(core: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    A call that held the GIL, during which no thread could look, is dumped afterwards.
    """

    async def main() -> None:
        until = time.monotonic() + 60
        with hooked(tmp_path):
            # between two calls a thread may look, and that is told at once
            while "was blocked for" not in caplog.text:
                assert time.monotonic() < until, caplog.text
                await asyncio.create_task(hold(), name="the holder")
                await asyncio.sleep(0.05)

    async def hold() -> None:
        pow(3, 1 << 22, (1 << 6001) - 1)  # many milliseconds, in one call
        sum(range(10_000_000))

    asyncio.run(main())
    told = [each.getMessage() for each in caplog.records if "was blocked for" in each.getMessage()]
    assert "the holder" in told[0]


def test_loops_own_threshold(core: str, tmp_path: Path) -> None:
    """
    Without a threshold of its own the hook takes each loop's; an idle loop is not woken.
    """

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 600
        with hooked(tmp_path, slow_callback_duration=None) as hook:
            assert installed() is hook
            taken = hook.recorder.stats.sampling.ticks_taken
            wait_for(lambda: hook.recorder.stats.sampling.ticks_taken > taken + 40)
            assert not hook.dumped
            loop.slow_callback_duration = 0.05
            await asyncio.sleep(0)
            wait_for(lambda: hook.dumped > 0)

    asyncio.run(main())


def test_stuck_task(
    core: str,
    runner: Runner,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    read_trace: Callable[..., Trace],
) -> None:
    """
    A task that is in one await for too long is dumped once, and named with what it awaits.
    """

    async def await_forever() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        with hooked(tmp_path, stuck=0.4, blocked=False) as hook:
            task = asyncio.create_task(await_forever(), name="the stuck")
            await come(lambda: hook.dumped > 0)
            await come(lambda: hook._tasks is not None and hook._tasks._next > time.perf_counter() - 0.1)
            task.cancel()
            assert hook.dumped == 1

    runner(main())
    assert "task 'the stuck' in " in caplog.text
    assert "await_forever > asyncio.locks.Event.wait (" in caplog.text
    trace = read_trace(dumps(tmp_path, "stuck")[0])
    assert last(trace.track("the stuck*"))[0].name == "event wait"


async def serve(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """
    Serve a request, as a middleware reports it.
    """
    described = "GET /users/{id}", "/users/7", "r-1", ""
    serving = begin_request(asyncio.current_task(), lambda _: described, None)
    try:
        await work()
    finally:
        end_request(serving)


SERVER = "task 'the server' (GET /users/{id}, request id r-1) in "


@pytest.mark.parametrize("awaits", ["sampled", "exact"])
def test_request_that_blocks(
    core: str, awaits: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The log line of a task that blocks its loop also names the request that the task serves.
    """

    async def main() -> None:
        with hooked(tmp_path, awaits=awaits) as hook:

            async def block() -> None:
                wait_for(lambda: hook.dumped > 0)

            await asyncio.create_task(serve(block), name="the server")

    asyncio.run(main())
    assert f"an event loop is blocked: {SERVER}" in caplog.text


def test_request_that_is_stuck(core: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    The log line of a stuck task also names the request that the task serves.
    """

    async def wait() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        with hooked(tmp_path, stuck=0.4, blocked=False) as hook:
            task = asyncio.create_task(serve(wait), name="the server")
            await come(lambda: hook.dumped > 0)
            task.cancel()

    asyncio.run(main())
    assert f" s: {SERVER}" in caplog.text


def test_exception_in_loop(
    core: str, runner: Runner, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    An exception that reaches the loop's handler is dumped, and the handler is called as ever.
    """
    handled: list[str] = []

    def fail() -> None:
        raise LookupError("nobody home")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: handled.append(context["message"]))
        with hooked(tmp_path, blocked=False) as hook:
            loop.call_soon(fail)
            await come(lambda: hook.dumped > 0)

    runner(main())
    assert len(handled) == 1
    assert "LookupError: nobody home" in caplog.text
    assert "test_exception_in_loop.<locals>.fail (" in caplog.text
    assert len(dumps(tmp_path, "exception")) == 1


def test_loop_imported_later(tmp_path: Path) -> None:
    """
    A loop whose module is imported after the hook was installed is watched as well.
    """
    program = """
import fgtrace, time
hook = fgtrace.install("dumps", interval=0, format="json")
import uvloop, asyncio
def fail():
    raise LookupError
async def main():
    while not hook.dumped:
        asyncio.get_running_loop().call_soon(fail)
        await asyncio.sleep(0.05)
uvloop.run(main())
fgtrace.uninstall()
assert "call_exception_handler" not in vars(uvloop.Loop)
"""
    run(program, tmp_path)
    assert dumps(tmp_path / "dumps", "exception")


def test_signal(core: str, runner: Runner, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    The signal dumps, even if the loop is not asyncio's; the program's handler is called, and restored.
    """
    came: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, _: came.append(number))
    ours = signal.getsignal(signal.SIGUSR2)

    async def main() -> None:
        with hooked(tmp_path, blocked=False) as hook:
            os.kill(os.getpid(), signal.SIGUSR2)
            await come(lambda: hook.dumped > 0)

    try:
        runner(main())
        assert signal.getsignal(signal.SIGUSR2) is ours
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert came == [signal.SIGUSR2]
    assert "signal SIGUSR2: the main thread in " in caplog.text
    assert len(dumps(tmp_path, "signal")) == 1


def test_signal_that_somebody_took(tmp_path: Path) -> None:
    """
    A handler that the program installs after the hook stays.
    """
    before = signal.getsignal(signal.SIGUSR2)
    with hooked(tmp_path):
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGUSR2) == signal.SIG_IGN
    signal.signal(signal.SIGUSR2, before)


def test_other_thread(tmp_path: Path) -> None:
    """
    Outside the main thread the hook takes no signal, and gives none back.
    """
    failed: list[BaseException] = []

    def uninstall() -> None:
        try:
            fgtrace.uninstall()
        except fgtrace.TraceStateError as error:
            failed.append(error)

    with hooked(tmp_path):
        thread = threading.Thread(target=uninstall)
        thread.start()
        thread.join()
        assert "only the main thread can give SIGUSR2 back" in str(failed[0])
        assert installed() is not None


def test_flood(core: str, tmp_path: Path, read_trace: Callable[..., Trace]) -> None:
    """
    A flood of triggers leaves the greatest allowed number of files, the latest ones, all whole.
    """
    with hooked(tmp_path, max_files=3, blocked=False) as hook:
        first = ""
        while hook.dumped < 8:
            for _ in range(50):
                hook.trigger("flood", "a flood", "the test")
            first = first or next(iter(sorted(os.listdir(tmp_path))), "")
            time.sleep(0.005)
    files = dumps(tmp_path, "flood")
    assert len(files) == 3
    assert first not in {path.name for path in files}
    for path in files:
        assert read_trace(path).metadata["flight"]["culprit"] == "the test"


def test_rate(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    A trigger that comes too soon after a dump is counted, and gives no dump.
    """
    with hooked(tmp_path, interval=600, blocked=False) as hook:
        hook.trigger("first")
        wait_for(lambda: hook.dumped > 0)
        for _ in range(5):
            hook.trigger("later")
        wait_for(lambda: hook.left_out == 5)
        assert hook.dumped == 1
        hook._next = 0.0
        hook.trigger("last")
        wait_for(lambda: hook.dumped == 2)
    assert "(5 more since the last dump)" in caplog.text


def test_signal_too_soon(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    A signal that comes too soon after a dump gives a log line that says so.
    """
    with hooked(tmp_path, interval=600, blocked=False) as hook:
        hook.trigger("first")
        wait_for(lambda: hook.dumped > 0)
        signal.raise_signal(signal.SIGUSR2)
        wait_for(lambda: "signal SIGUSR2; no dump: the last one is less than 600 s old" in caplog.text)
        assert hook.dumped == 1


def test_bytes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    The folder never has more bytes than it may, and the program's own files stay.
    """
    (tmp_path / "20261124.json.txt").write_text("not ours")
    with hooked(tmp_path, max_bytes=10, blocked=False) as hook:
        hook.trigger("large")
        wait_for(lambda: "too large" in caplog.text)
    assert [path.name for path in tmp_path.iterdir()] == ["20261124.json.txt"]


def test_folder_that_cannot_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    If a dump cannot be written, the log says so, and the hook goes on.
    """
    (tmp_path / "file").write_text("")
    with hooked(tmp_path / "file" / "dumps", blocked=False) as hook:
        hook.trigger("lost")
        wait_for(lambda: "no dump" in caplog.text)
        (tmp_path / "file").unlink()
        hook.trigger("found")
        wait_for(lambda: hook.dumped == 1)
    assert len(dumps(tmp_path / "file" / "dumps", "found")) == 1


def test_twice(tmp_path: Path) -> None:
    """
    The hook can be installed once, and uninstalled once.
    """
    with hooked(tmp_path), pytest.raises(fgtrace.TraceStateError, match="installed already"):
        fgtrace.install()
    with pytest.raises(fgtrace.TraceStateError, match="is not installed"):
        fgtrace.uninstall()


@pytest.mark.parametrize(("debug", "active"), [(True, True), (False, False)], ids=["debug", "not"])
def test_only_in_debug_mode(debug: bool, active: bool, tmp_path: Path) -> None:
    """
    With ``when="debug"`` the hook does nothing unless the loop is in debug mode.
    """

    async def main() -> None:
        with hooked(tmp_path, when="debug") as hook:
            assert hook.is_active is active
            assert hook.recorder.is_running is active

    asyncio.run(main(), debug=debug)


@pytest.mark.parametrize(("value", "active"), [("1", True), ("", False)], ids=["set", "empty"])
def test_debug_mode_by_environment(value: str, active: bool, tmp_path: Path) -> None:
    """
    Before there is a loop, ``PYTHONASYNCIODEBUG`` is the switch.
    """
    program = "import fgtrace; print(fgtrace.install(when='debug').is_active); fgtrace.uninstall()"
    assert run(program, tmp_path, PYTHONASYNCIODEBUG=value).stdout == f"{active}\n"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"stuck": 0}, "bad stuck: 0: allowed is a number above 0"),
        ({"signal": "SIGNOPE"}, "bad signal: 'SIGNOPE': allowed is the name of a signal"),
        ({"signal": "SIGKILL"}, "bad signal: 'SIGKILL': allowed is the name of a signal that can be handled"),
        ({"max_files": 0}, "bad max_files: 0"),
        ({"when": "never"}, "bad when: 'never'"),
        ({"format": "xml"}, "bad format: 'xml'"),
        ({"hz": "x"}, "bad hz: 'x'"),
        ({"folder": ""}, "bad folder: ''"),
    ],
    ids=["stuck", "signal", "unhandled", "files", "when", "format", "hz", "folder"],
)
def test_bad_options(options: dict[str, Any], text: str) -> None:
    """
    A value that is not allowed is named, and nothing is installed.
    """
    with pytest.raises(fgtrace.ConfigError, match=text):
        fgtrace.install(**options)
    assert installed() is None


def test_environment() -> None:
    """
    The environment sets the options that the code does not.
    """
    environment = {
        "FGTRACE_FOLDER": "d", "FGTRACE_STUCK": "60", "FGTRACE_SIGNAL": "none", "FGTRACE_BLOCKED": "no",
        "FGTRACE_HZ": "200", "FGTRACE_SECONDS": "7",
    }  # fmt: skip
    found = from_environment({"seconds": 5}, environment)
    assert (found.folder, found.stuck, found.signal, found.blocked) == ("d", 60, None, False)
    assert (found.seconds, found.recorder) == (5, {"hz": 200})
    with pytest.raises(fgtrace.ConfigError, match="bad FGTRACE_HZ: 'x': allowed is a number above 0"):
        from_environment({}, {"FGTRACE_HZ": "x"})


MISSPELT = {
    "FGTRACE_SECNDS": "5",
    "FGTRACE_NOSUCH": "1",
    "FGTRACE_SECONDS": "5",
    "FGTRACE_CORE": "",
    "OTHER": "",
}
WARNINGS = [
    "the environment variable FGTRACE_NOSUCH is unknown",
    "the environment variable FGTRACE_SECNDS is unknown: did you mean FGTRACE_SECONDS?",
]


def test_misspelt_variable(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    An unknown variable gives a warning, once a process, where the environment is read.
    """
    for name, value in MISSPELT.items():
        monkeypatch.setenv(name, value)
    for expected in (WARNINGS, []):
        with hooked(tmp_path, signal=None):
            assert [each.getMessage() for each in caplog.records] == expected
        caplog.clear()
    _hook_options._reported.clear()


@pytest.mark.parametrize("words", [(), ("--flight-recorder",)], ids=["trace", "recorder"])
def test_misspelt_variable_on_the_command_line(words: tuple[str, ...], tmp_path: Path) -> None:
    """
    On the command line the warning is a line on stderr, also where the program installs the hook.
    """
    (tmp_path / "app.py").write_text(
        "import fgtrace\nfgtrace.uninstall() if fgtrace.debug.installed() else 0\nfgtrace.install()"
    )
    said = run("", tmp_path, "-m", "fgtrace", "run", *words, "-q", "app.py", **MISSPELT).stderr
    assert said.splitlines() == [f"fgtrace: {each}" for each in WARNINGS]


def test_every_variable_is_known() -> None:
    """
    Each variable that code of this repository reads is known.
    """
    root = Path(__file__).parents[1]
    folders = [root / name for name in ("src/fgtrace", "scripts", "tests", "bench", ".ci", "docs")]
    files = [root / "setup.py", *(path for each in folders for path in each.rglob("*") if path.is_file())]
    texts = (
        path.read_bytes().decode(errors="replace") for path in files if path.suffix not in (".so", ".pyc")
    )
    found = {name for text in texts for name in re.findall(r"\bFGTRACE_[A-Z_]*[A-Z]\b", text)}
    assert len(found) > len(VARIABLES)
    assert unknown_variables(dict.fromkeys(found - set(MISSPELT), "")) == []


def test_environment_is_documented() -> None:
    """
    The page has a row for each variable, and for no other, with the default that the code has.
    """
    page = (Path(__file__).parents[1] / "docs" / "debug-hook.md").read_text()
    rows = [line.split("|") for line in page.splitlines() if line.startswith(f"| `{PREFIX}")]
    found = {row[1].strip(" `"): (row[2].strip(" `"), row[3].strip(" `")) for row in rows}
    del found["FGTRACE_CORE"]
    assert list(found) == [PREFIX + name.upper() for name in VARIABLES]
    options = from_environment({}, {})
    recorder = fgtrace.FlightRecorder()
    for name, read in VARIABLES.items():
        argument, default = found[PREFIX + name.upper()]
        assert argument == name
        if not default.startswith("each loop's own"):
            assert read(default) == getattr(options, name, getattr(recorder.config, name, None))


class Said(NamedTuple):
    """
    What a program printed.
    """

    stdout: str
    stderr: str


def run(program: str, folder: Path, *words: str, **environment: str) -> Said:
    found = subprocess.run(
        [sys.executable, *(words or ("-c", program))],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(SOURCE), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert found.returncode == 0, found.stderr
    return Said(found.stdout, found.stderr)


WAITS = """
import os, signal, time
from fgtrace.debug import installed
os.kill(os.getpid(), signal.SIGUSR2)
until = time.monotonic() + 60
while not installed().dumped:
    assert time.monotonic() < until
    time.sleep(0.01)
"""


def test_end_of_the_program(core: str, tmp_path: Path) -> None:
    """
    A program that ends by what went wrong, and never uninstalls the hook, leaves the dump.
    """
    program = """
import asyncio, fgtrace
async def main():
    asyncio.get_running_loop().call_exception_handler({"message": "lost"})
fgtrace.install("here", format="json", interval=600)
asyncio.run(main())
"""
    run(program, tmp_path)
    assert len(dumps(tmp_path / "here", "exception")) == 1


def test_auto(core: str, tmp_path: Path) -> None:
    """
    Importing `fgtrace.auto` installs the hook with the options of the environment; it logs one line.
    """
    run("import fgtrace.auto\n" + WAITS, tmp_path, FGTRACE_FOLDER="here", FGTRACE_FORMAT="json")
    assert len(dumps(tmp_path / "here", "signal")) == 1


def test_command_line(core: str, tmp_path: Path) -> None:
    """
    ``fgtrace run --flight-recorder`` does the same from outside, and writes no trace of the whole run.
    """
    (tmp_path / "app.py").write_text(WAITS)
    words = [
        "-m",
        "fgtrace",
        "run",
        "--flight-recorder",
        "-o",
        "here",
        "--format",
        "json",
        "--hz",
        "50",
        "app.py",
    ]
    said = run("", tmp_path, *words).stderr.splitlines()
    line = r"fgtrace: the flight recorder runs; dumps go to here; kill -USR2 \d+ asks for one"
    assert re.fullmatch(line, said[0])
    assert len(dumps(tmp_path / "here", "signal")) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"app.py", "here"}
    words.insert(3, "-q")
    assert "fgtrace: " not in run("", tmp_path, *words).stderr


def test_folder_that_cannot_be_is_told_at_once(tmp_path: Path) -> None:
    """
    On the command line a line says before the program runs that no dump can be written.
    """
    (tmp_path / "app.py").write_text("print('ran')")
    words = ["-m", "fgtrace", "run", "--flight-recorder", "-q", "-o", "app.py/dumps", "app.py"]
    said = run("", tmp_path, *words)
    assert said.stdout == "ran\n"
    why = rf"\[Errno \d+\] Not a directory: '{tmp_path / 'app.py'}'"
    assert re.fullmatch(
        rf"fgtrace: no dump can be written as it stands: {why}; the program runs\n", said.stderr
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, f"fgtrace: the flight recorder runs; dumps go to d; kill -USR2 {os.getpid()} asks for one"),
        (
            {"signal": "SIGHUP"},
            f"fgtrace: the flight recorder runs; dumps go to d; kill -HUP {os.getpid()} asks for one",
        ),
        ({"signal": None}, "fgtrace: the flight recorder runs; dumps go to d"),
        ({"when": "debug"}, "fgtrace: no flight recorder: when='debug', and asyncio's debug mode is off"),
    ],
    ids=["usual", "another-signal", "no-signal", "not-debugging"],
)
def test_welcome(options: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The command line says where dumps go and which signal requests one.
    """
    monkeypatch.delenv("PYTHONASYNCIODEBUG", raising=False)
    with hooked(Path("d"), **options) as hook:
        assert welcome(hook) == said


def test_child_of_a_fork(tmp_path: Path) -> None:
    """
    A child has no hook: the signal does there what it did before.
    """
    with hooked(tmp_path):
        child = fork()
        if child == 0:
            if installed() is None:
                os.kill(os.getpid(), signal.SIGUSR2)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status)
        assert os.WTERMSIG(status) == signal.SIGUSR2
