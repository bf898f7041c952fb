"""
What every test gets: a guest check before and after, and the real Perfetto for every trace.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import fgtrace
from amount import SERVING
from fgtrace._sampling.choose import VARIABLE
from fgtrace._sampling.core_calibration import CoreError, load_core
from fgtrace._sampling.own_threads import own_threads
from interruption import pytest_sessionfinish, was_interrupted
from reading import Trace, is_unread, read
from trace_processor import assert_valid_trace
from trace_processor.fixtures import AskTrace, ask_trace, trace_engine

__all__ = ["ask_trace", "pytest_sessionfinish", "trace_engine"]

# No example fails for its time: a busy machine takes longer.
settings.register_profile("fgtrace", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fgtrace")

#: Attributes of the standard library that a tracer might be tempted to replace.
WATCHED = [
    (asyncio.events.Handle, "_run"),
    (asyncio.BaseEventLoop, "_call_soon"),
    (asyncio.BaseEventLoop, "call_soon"),
    (asyncio.BaseEventLoop, "call_at"),
    (asyncio.Task, "__init__"),
    (asyncio.BaseEventLoop, "call_exception_handler"),
    (asyncio.BaseEventLoop, "create_task"),
    (asyncio, "create_task"),
    (asyncio, "gather"),
    (threading.Thread, "start"),
    (threading.Thread, "run"),
]


def pytest_configure(config: pytest.Config) -> None:
    """
    Let Ctrl-C reach what the tests start: a job in a script's background has it ignored, and hands that on.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _fds() -> set[str]:
    """
    The open files, by what they are; sockets and pipes of idle loops are not ours to count.
    """
    found = set()
    for fd in os.listdir("/proc/self/fd") if sys.platform == "linux" else ():
        try:
            found.add(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:  # the descriptor of the listing itself
            continue
    of_tests = tempfile.gettempdir() + "/pytest-"
    return {each for each in found if "fgtrace" in each or each.startswith(of_tests)}


def _watched_types() -> list[type]:
    """
    Types whose instances the C core is told of as they are freed, once traces that are garbage are gone.
    """
    core = sys.modules.get("fgtrace._core")
    if core is None or not core.watches_freed_tasks(asyncio.Task):
        return []
    gc.collect()
    return [asyncio.Task] if core.watches_freed_tasks(asyncio.Task) else []


def _house() -> dict[str, Any]:
    return {
        "threads": {thread for thread in threading.enumerate() if thread.name.startswith("fgtrace")},
        "own": set(own_threads),
        "patched": [getattr(owner, name) for owner, name in WATCHED],
        "types": _watched_types(),
        "collector": [each for each in gc.callbacks if "fgtrace" in repr(each)],
        "profile": (sys.getprofile(), threading.getprofile()),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)],
        "hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook),
        "switch interval": sys.getswitchinterval(),
        "files": _fds(),
    }


def _needs_core() -> None:
    try:
        load_core()
    except CoreError as error:
        if os.environ.get("FGTRACE_BUILD") == "strict":
            raise
        pytest.skip(f"no C core: {error}")


@pytest.fixture(scope="session", params=["c", "python"])
def core(request: pytest.FixtureRequest) -> Iterator[str]:
    """
    Every trace of the test is made by this core, also those of the programs that it starts.
    """
    if request.param == "c":
        _needs_core()
    yield from _forced("" if request.param == SERVING else request.param)


@pytest.fixture
def python_core() -> Iterator[str]:
    """
    The test is of the Python twin only.
    """
    yield from _forced("python")


def _forced(core: str) -> Iterator[str]:
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = core
    yield core
    if before is None:
        del os.environ[VARIABLE]
    else:
        os.environ[VARIABLE] = before


@pytest.fixture(autouse=True)
def guest() -> Iterator[None]:
    """
    After each test the house is as before: threads, patches, hooks, handlers, files.
    """
    with warnings.catch_warnings():
        before = _house()
        yield
        after = _house()
    assert after == before


@pytest.fixture(autouse=True)
def every_trace_is_valid(request: pytest.FixtureRequest, ask_trace: AskTrace) -> Iterator[None]:
    """
    What a test wrote and did not read is read now: every whole trace must be a valid one.
    """
    yield
    if was_interrupted(request.config):  # in mid-trace, or in the midst of an answer of the engine
        return
    folder = request.node.funcargs.get("tmp_path")
    for path in sorted(folder.rglob("*.json*")) if folder is not None else ():
        if is_unread(path):
            read(ask_trace, path)
    for path in sorted(folder.rglob("*.pftrace*")) if folder is not None else ():
        if not path.name.endswith(".partial"):
            assert_valid_trace(ask_trace(path), empty=True)


@pytest.fixture
def read_trace(ask_trace: AskTrace, tmp_path: Path) -> Callable[..., Trace]:
    """
    Reads a trace file through the real trace_processor, and checks that it is a valid one.
    """

    def reader(path: str | os.PathLike[str] = tmp_path / "t.json") -> Trace:
        return read(ask_trace, Path(path))

    return reader


@pytest.fixture
def traced(read_trace: Callable[..., Trace], tmp_path: Path) -> Callable[..., Trace]:
    """
    Runs a function or coroutine function under a trace, and reads what was written.
    """

    def run(work: Callable[[], Any], **options: Any) -> Trace:
        dst = tmp_path / "t.json"
        options.setdefault("hz", 200)
        options.setdefault("max_overhead", 1.0)
        with fgtrace.trace(dst, **options):
            if inspect.iscoroutinefunction(work):
                asyncio.run(work())
            else:
                work()
        return read_trace(dst)

    return run
