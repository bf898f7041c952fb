"""
What exact awaits exchange in asyncio while they are at work, and what they read of its handles.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from fgtrace._recording.recording import Recording
from fgtrace._sampling.exact.callback_names import CallbackTable, StepCallbacks
from fgtrace._sampling.exact.monkeypatch import Patch, _all, forget_patches


class Owner:
    """
    A class of the standard library, as it were.
    """

    def method(self) -> str:
        return "stock"


Method = Callable[[Owner], str]
stock: Method = Owner.__dict__["method"]


def make(before: Method) -> Method:
    return lambda self: f"ours({before(self)})"


@pytest.fixture
def patch() -> Iterator[Patch]:
    """
    A patch of a method that is stock again afterwards.
    """
    found = Patch(Owner, "method")
    yield found
    _all.remove(found)
    Owner.method = stock  # type: ignore[method-assign, assignment]


def test_counted(patch: Patch) -> None:
    """
    It is put once, and taken back with the last that wanted it.
    """
    assert [patch.apply(make), patch.apply(make)] == [True, True]
    assert Owner().method() == "ours(stock)"
    patch.revert()
    assert Owner().method() == "ours(stock)"
    patch.revert()
    assert Owner.__dict__["method"] is stock


def test_wrapped_before(patch: Patch) -> None:
    """
    What was there before is called, and comes back.
    """

    def theirs(self: Owner) -> str:
        return f"theirs({stock(self)})"

    Owner.method = theirs  # type: ignore[method-assign]
    assert patch.apply(make)
    assert Owner().method() == "ours(theirs(stock))"
    patch.revert()
    assert Owner.__dict__["method"] is theirs


def test_wrapped_meanwhile(patch: Patch) -> None:
    """
    What lies over ours stays, and as long as it does ours is not put again.
    """
    patch.apply(make)
    ours = Owner.__dict__["method"]

    def theirs(self: Owner) -> str:
        return f"theirs({ours(self)})"

    Owner.method = theirs  # type: ignore[method-assign]
    patch.revert()
    assert Owner.__dict__["method"] is theirs
    assert patch.apply(make) is False
    assert Owner().method() == "theirs(ours(stock))"
    Owner.method = ours  # type: ignore[method-assign]
    assert patch.apply(make)
    assert Owner().method() == "ours(stock)"
    patch.revert()
    assert Owner.__dict__["method"] is stock


def test_put_back_by_somebody(patch: Patch) -> None:
    """
    Where somebody puts the stock method over ours, it can be put again.
    """
    patch.apply(make)
    Owner.method = stock  # type: ignore[method-assign, assignment]
    patch.revert()
    assert Owner.__dict__["method"] is stock
    assert patch.apply(make)
    assert Owner().method() == "ours(stock)"
    patch.revert()


def test_forgotten(patch: Patch) -> None:
    """
    In the child of a fork all is as before at once.
    """
    patch.apply(make)
    patch.apply(make)
    forget_patches()
    assert Owner.__dict__["method"] is stock
    assert patch.apply(make)
    patch.revert()
    assert Owner.__dict__["method"] is stock


def test_no_such_method(patch: Patch) -> None:
    """
    A method that the class does not define is not put.
    """
    assert Patch(type("Heir", (Owner,), {}), "method").apply(make) is False
    _all.pop()
    assert patch.apply(make)
    patch.revert()


class Proxy:
    """
    Says of itself whatever is asked, and must not be asked.
    """

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"{name} was asked for")

    def __call__(self) -> None:
        pass


def function() -> None:
    pass


NAMES = {
    "function": (function, "test_hooks.function", True),
    "method": (Owner().method, "test_hooks.Owner.method", True),
    "partial": (partial(partial(function)), "test_hooks.function", True),
    "partial-of-method": (partial(Owner().method), "test_hooks.Owner.method", True),
    "builtin": (print, "builtins.print", False),
    "method-of-c": ([].append, "builtins.list.append", False),
    "type": (dict, "builtins.type", False),
    "object": (Proxy(), "test_hooks.Proxy", False),
}


@pytest.mark.parametrize(("callback", "name", "has_line"), NAMES.values(), ids=NAMES.keys())
def test_names_of_callbacks(callback: Any, name: str, has_line: bool) -> None:
    """
    A callback is named after its function, or its type, without asking the program's code.
    """
    recording = Recording()
    callbacks = CallbackTable(recording)
    assert callbacks.number(callback) == callbacks.number(callback) == 0
    (entry,) = recording.callbacks
    assert f"{entry.name.module}.{entry.name.qualname}".removeprefix("tests.") == name
    assert (entry.line > 0) == has_line


@pytest.mark.parametrize("kind", [asyncio.Task, asyncio.tasks._PyTask], ids=["c", "python"])  # type: ignore[attr-defined]
def test_steps_of_tasks(kind: Any) -> None:
    """
    A step and a wakeup tell their task, of C or of Python; other methods of a task do not.
    """
    steps = StepCallbacks(asyncio.tasks)
    seen: list[tuple[Any, bool]] = []
    stock_call = asyncio.BaseEventLoop._call_soon  # type: ignore[attr-defined]

    def note(self: Any, callback: Any, args: Any, context: Any) -> Any:
        seen.append((steps.task_of(callback), steps.is_step(callback)))
        return stock_call(self, callback, args, context)

    async def child() -> None:
        await asyncio.sleep(0.001)

    async def main() -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(asyncio.BaseEventLoop, "_call_soon", note)
            task = kind(child(), loop=asyncio.get_running_loop())
            assert seen == [(task, True)]
            await task
            assert (task, False) in seen
        assert steps.task_of(task.cancel) is None
        assert steps.task_of(Proxy()) is None

    asyncio.run(main())
