"""
The C core: loading it, and finding out what it must know of asyncio.

No header says at which offsets a task and a future have their fields. So they are looked for in a live task
whose fields are known: the first step of a coroutine of ours, driven by a loop that only keeps what it was
asked to call. What is found is checked; if anything is not as expected, the twin in Python serves.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Callable, Iterator
from types import CodeType, ModuleType
from typing import Any

from fgtrace._sampling.collect.waiters import plain_codes
from fgtrace._sampling.own_threads import start_without_signals

__all__ = ["CoreError", "calibrate", "end_types", "fields_of", "load_core", "marked_codes", "opaque_types"]

#: Flags of a function, by the C core's numbers (`tables/tables.h`).
PLAIN, HOLDS_FUTURES, CHAIN, SHIELD = 1, 2, 4, 8
WORD = 8
#: Field -> offset, and the type of asyncio's wrapper of a task's step.
Fields = tuple[dict[str, int], type]


class CoreError(Exception):
    """
    The C core cannot serve here; the message says why.
    """


def load_core() -> Any:
    """
    Return the extension module.

    Raises:
        CoreError: it was not built, or it was built for another version of Python.
    """
    try:
        core = importlib.import_module("fgtrace._core")  # type checkers see the Python twin
    except ImportError as error:
        raise CoreError(f"it cannot be imported: {error}") from error
    if core.version_hex >> 16 != sys.hexversion >> 16:
        raise CoreError("it was built for another version of Python")
    return core


class _StubLoop:
    """
    Be as much of an event loop as a task needs for its first step.
    """

    def __init__(self) -> None:
        self.callbacks: list[Callable[..., object]] = []
        self._args: list[tuple[object, ...]] = []

    def run(self) -> None:
        """
        Make the calls that were scheduled.
        """
        while self.callbacks:
            self.callbacks.pop(0)(*self._args.pop(0))

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return False

    def call_soon(self, callback: Callable[..., object], *args: object, context: Any = None) -> None:
        self.callbacks.append(callback)
        self._args.append(args)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        raise CoreError(f"a task failed while its fields were looked for: {context}")


def calibrate(core: Any, tasks: ModuleType) -> Fields:
    """
    Return the offsets, in bytes, of a task's and a future's fields, and the type of asyncio's wrapper of a
    step. It must run in a thread that runs no loop.

    Args:
        core: the extension module.
        tasks: the module ``asyncio.tasks``.

    Raises:
        CoreError: a field was not found exactly once, or asyncio's tasks are made in Python.
    """
    future_type = tasks.futures.Future
    if "_asyncio" not in (tasks.Task.__module__, future_type.__module__):
        raise CoreError("asyncio's own tasks are of Python")
    loop = _StubLoop()
    events = tasks.events
    events._set_running_loop(loop)
    try:
        return _measure(core, tasks, loop, future_type)
    finally:
        events._set_running_loop(None)


def _measure(core: Any, tasks: ModuleType, loop: _StubLoop, future_type: Any) -> Fields:
    pending, done, cancelled = (future_type(loop=loop) for _ in range(3))
    done.set_result(None)
    cancelled.cancel()

    async def wait() -> None:
        await pending

    name = "fgtrace looks where a task has its fields"
    coro = wait()
    task = tasks.Task(coro, loop=loop, name=name)
    newest = core.newest_task()
    first = loop.callbacks[0]
    loop.run()
    try:
        if _place(core.memory_words(first), task) != 2 * WORD:
            raise CoreError("what steps a task does not hold it first")
        memory = core.memory_words(task)
        found = {
            "waiter": _place(memory, pending),
            "coro": _place(memory, coro),
            "loop": _place(memory, loop),
            "name": _place(memory, name),
            "state": _state(core, pending, cancelled, done),
            "node": newest - id(task) if newest else 0,
            "context": _place(memory, task.get_context()) if newest else 0,  # wanted from 3.14 on
            **_callbacks(core, future_type(loop=loop)),
        }
        if newest and not 0 < found["node"] < WORD * len(memory):
            raise CoreError("the newest task in the interpreter's list is another")
    finally:
        pending.set_result(None)
        loop.run()
    if core.memory_words(task)[found["waiter"] // WORD] or not task.done():
        raise CoreError("a task that has ended still waits")
    return found, type(first)


def _place(memory: tuple[int, ...], value: object) -> int:
    """
    Return the offset, in bytes, of the one word of an object's memory that is the address of a value.

    Raises:
        CoreError: no word is, or several are.
    """
    places = [place for place, word in enumerate(memory) if word == id(value)]
    if len(places) != 1:
        raise CoreError(f"a field of {type(value).__name__} was found {len(places)} times")
    return WORD * places[0]


def _state(core: Any, pending: object, cancelled: object, done: object) -> int:
    """
    Return the offset, in bytes, of the 32 bits that are 0, 1 and 2 for a future that is pending, cancelled
    and done.
    """
    halves = [
        [word >> shift & 0xFFFFFFFF for word in core.memory_words(future) for shift in (0, 32)]
        for future in (pending, cancelled, done)
    ]
    places = [place for place, values in enumerate(zip(*halves, strict=True)) if values == (0, 1, 2)]
    if len(places) != 1:
        raise CoreError(f"a future's state was found {len(places)} times")
    return 4 * places[0]


def _callbacks(core: Any, future: Any) -> dict[str, int]:
    def first(_: object) -> None:
        """Stand for a callback."""

    def second(_: object) -> None:
        """Stand for another one."""

    future.add_done_callback(first)
    future.add_done_callback(second)
    memory = core.memory_words(future)
    lists = [held for held in gc.get_referents(future) if type(held) is list and held[0][0] is second]
    if len(lists) != 1:
        raise CoreError(f"a future's list of callbacks was found {len(lists)} times")
    found = {"callback": _place(memory, first), "callbacks": _place(memory, lists[0])}
    future.remove_done_callback(first)
    future.remove_done_callback(second)
    return found


_found: dict[int, Fields] = {}


def fields_of(core: Any, tasks: ModuleType) -> Fields:
    """
    Return what `calibrate` finds; it runs once a process, in a thread of its own.

    Raises:
        CoreError: as `calibrate`, or anything else went wrong.
    """
    import threading

    failed: list[BaseException] = []

    def run() -> None:
        try:
            _found[id(tasks)] = calibrate(core, tasks)
        except BaseException as error:  # it is raised where it was asked for
            failed.append(error)

    if id(tasks) not in _found:
        thread = threading.Thread(target=run, name="fgtrace calibration", daemon=True)
        start_without_signals(thread)
        thread.join()
    if failed:
        raise CoreError(str(failed[0])) from failed[0]
    return _found[id(tasks)]


def marked_codes(tasks: ModuleType) -> Iterator[tuple[CodeType, int]]:
    """
    Yield the functions that tell what kind of future a task waits for, each with the flag that says what it
    tells.
    """
    for code in plain_codes(tasks):
        yield code, PLAIN
    for name in ("wait_for", "_wait"):
        if (function := getattr(tasks, name, None)) is not None:
            yield function.__code__, HOLDS_FUTURES
    for code in _inner(tasks.futures._chain_future.__code__, "_call_check_cancel"):
        yield code, CHAIN
    for code in _inner(tasks.shield.__code__, "_outer_done_callback"):
        yield code, SHIELD


def _inner(code: CodeType, name: str) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType) and constant.co_name == name:
            yield constant


def opaque_types() -> tuple[type, ...]:
    """
    Return the types of CPython's own awaitables whose first field is the next link of a chain.

    The thread's hooks for asynchronous generators are set aside meanwhile: a running loop would count ours
    among its own, and close it in a task.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return _opaque_types()
    finally:
        sys.set_asyncgen_hooks(*hooks)


def _opaque_types() -> tuple[type, ...]:

    async def numbers() -> Any:
        yield 1

    async def nothing() -> None:
        """Stand for a coroutine."""

    coro, generator = nothing(), numbers()
    wrapper, send, close = coro.__await__(), generator.asend(None), generator.aclose()
    following = anext(generator, None)
    found = tuple(type(each) for each in (wrapper, send, close, following))
    for each in (following, send, close, coro):
        each.close()
    return found


def end_types(tasks: ModuleType) -> tuple[type, ...]:
    """
    Return the types in which a chain ends where a future is awaited.
    """
    kind = type(tasks.futures.Future(loop=_StubLoop()).__await__())
    return (kind,) if kind.__name__ == "FutureIter" else ()
