"""
The tracer's own functions are hidden with what they call; its wrappers only by themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import fgtrace.aiohttp
import fgtrace.asgi
import fgtrace.wsgi
from fgtrace._options.options import Options
from fgtrace._output.captured_trace import CapturedTrace
from fgtrace._output.transfer import pack_trace, unpack_trace
from fgtrace._recording.recording import OFFSET_BITS, Recording
from fgtrace._recording.wrappers import wrapper, wraps_of
from fgtrace._timeline.stack_resolver import StackResolver


def function(name: str) -> Any:
    """
    A function of its own code object.
    """
    found: dict[str, Any] = {}
    exec(f"def {name}(): pass", found)  # noqa: S102 - a name of the test's own
    return found[name]


def seen(recording: Recording, *functions: tuple[str, Any]) -> int:
    """
    The stack of functions, each with its module, outermost first.
    """
    codes = [recording.intern_code(function.__code__, module) for module, function in functions]
    return recording.intern_stack([code << OFFSET_BITS for code in reversed(codes)])


def shown(recording: Recording, stack: int) -> list[str]:
    """
    The functions of a stack that a trace shows.
    """
    located = StackResolver(recording, Options()).visible(recording.elements(stack))
    return [recording.codes[code].name.qualname for code, _ in located]


def test_wrapper_of_any_name() -> None:
    """
    A wrapper is hidden and what it calls is shown, whatever the wrapper is called.
    """
    recording = Recording()
    ours = wrapper("call")(function("renamed"))
    stack = seen(recording, ("app", function("main")), ("fgtrace.new", ours), ("app", function("handler")))
    assert shown(recording, stack) == ["main", "handler"]


@pytest.mark.parametrize("name", ["wrapped", "request_middleware", "start"])
def test_no_wrapper(name: str) -> None:
    """
    What another function of fgtrace calls is hidden with it, also where it is called like a wrapper.
    """
    recording = Recording()
    stack = seen(
        recording, ("app", function("main")), ("fgtrace.new", function(name)), ("anyio", function("run"))
    )
    assert shown(recording, stack) == ["main"]


@pytest.mark.parametrize("module", ["fgtrace_tools", "fgtrace_tools.web", "app.fgtrace", "fgtracer"])
def test_function_of_the_program(module: str) -> None:
    """
    A function of the program is shown, also where it and its package are called like ours.
    """
    recording = Recording()
    names = ["wrapped", "request_middleware", "wrapped_run"]
    stack = seen(recording, *((module, function(name)) for name in names))
    assert shown(recording, stack) == names


def test_equal_code() -> None:
    """
    A function is a wrapper by its identity: one with equal code is none.
    """
    ours, other = function("wrapped"), function("wrapped")
    assert ours.__code__ == other.__code__
    wrapper("request")(ours)
    assert (wraps_of(ours.__code__), wraps_of(other.__code__)) == ("request", "")


@pytest.mark.parametrize(
    ("own", "wraps"),
    [
        (fgtrace.asgi.DebugMiddleware.__call__, "call"),
        (fgtrace.wsgi.DebugMiddleware.__call__, "call"),
        (fgtrace.asgi.RequestMiddleware.__call__, "request"),
        (fgtrace.aiohttp.request_middleware, "request"),
        (fgtrace.trace()(lambda: None), "call"),
        (fgtrace.asgi.DebugApp.__call__, ""),
    ],
    ids=["asgi", "wsgi", "asgi requests", "aiohttp requests", "decorator", "app"],
)
def test_registered(own: Callable[..., Any], wraps: str) -> None:
    """
    Each wrapper of fgtrace is registered as what it is.
    """
    assert wraps_of(own.__code__) == wraps


def test_another_process() -> None:
    """
    In the process that writes a trace a wrapper is one, though nothing was imported there.
    """
    recording = Recording()
    ours = wrapper("request")(function("serve"))
    stack = seen(recording, ("fgtrace.new", ours), ("app", function("handler")))
    copy = unpack_trace(pack_trace(CapturedTrace(recording, Options(), 1, 1, {}))).recording
    assert shown(copy, stack) == ["handler"]
    assert [entry.wraps for entry in copy.codes] == ["request", ""]
