"""
The methods of asyncio that the C core replaces while it is wanted: ``Handle._run``, and for exact awaits
``BaseEventLoop.call_soon``, ``_call_soon`` and ``call_at``.

They are the only attributes of the standard library that a trace with the C core may exchange, and it does so
only with very many tasks, where it marks those that ran, or with exact awaits. With the last core that wants
them they are put back.
"""

from __future__ import annotations

import sys
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from fgtrace._sampling.exact.monkeypatch import Patch
from fgtrace._sampling.exact.open_steps import mark_of_first_step

__all__ = ["Hooks", "forget_hooks", "hook_steps", "is_stock", "report_error", "unhook_steps"]

_patches: dict[str, Patch] = {}


class Hooks(NamedTuple):
    """
    Hold what was exchanged for one core: two to four methods for exact awaits, else one. ``is_watching``
    tells whether switches of contexts are watched, too, since loops may be compiled.
    """

    module: Any
    patches: tuple[Patch, ...]
    is_watching: bool


def hook_steps(module: Any, step: type, *, exact: bool = False) -> Hooks | None:
    """
    Have the core told of the steps of tasks.

    Args:
        module: the extension module.
        step: the type of asyncio's wrapper of a task's step.
        exact: whether it is also told of what is scheduled.

    Returns:
        What `unhook_steps` takes; None, with nothing exchanged, where another tool's wrapper or Handle is
        in the way.
    """
    events = sys.modules["asyncio.events"]
    try:
        module.learn_handles(events.Handle, events.TimerHandle, step, report_error, mark_of_first_step)
    except (TypeError, AttributeError):  # a Handle that is not asyncio's own
        return None
    patches = [_patch("_run", events.Handle)]
    if not patches[0].apply(lambda before: _make_run(module, before)):
        return None
    if exact and not _hook_scheduling(module, patches):
        patches[0].revert()
        return None
    return Hooks(module, tuple(patches), "uvloop" in sys.modules and module.watch_contexts(True))


def _make_run(module: Any, before: Any) -> Any:
    events = sys.modules["asyncio.events"]
    return module.make_handle_run(events.Handle, before, is_stock(before, events), *_line_of_call(before))


def _hook_scheduling(module: Any, patches: list[Patch]) -> bool:
    """
    Have the core told of what is scheduled, by ``_call_soon``; the other two methods only save time in C.
    """
    base, events = sys.modules["asyncio.base_events"], sys.modules["asyncio.events"]
    loop, deque = base.BaseEventLoop, sys.modules["collections"].deque

    def inner(before: Any) -> Any:
        plain = is_stock(before, base) and is_stock(events.Handle.__init__, events) and base.events is events
        return module.make_call_soon_inner(loop, before, plain, deque)

    def outer(before: Any) -> Any:
        return module.make_call_soon(
            loop, before, is_stock(before, base) and is_stock(loop._check_closed, base)
        )

    def timers(before: Any) -> Any:
        plain = is_stock(before, base) and is_stock(loop._check_closed, base) and base.events is events
        plain = plain and all(is_stock(each.__init__, events) for each in (events.Handle, events.TimerHandle))
        return module.make_call_at(loop, before, before if plain else None, base.heapq.heappush)

    try:
        for name, make in (("_call_soon", inner), ("call_soon", outer), ("call_at", timers)):
            patch = _patch(name, loop)
            if not patch.apply(make):
                break
            patches.append(patch)
    except AttributeError:  # a loop that is not asyncio's own
        pass
    return len(patches) > 1


def unhook_steps(hooks: Hooks) -> None:
    """
    Undo one `hook_steps`.
    """
    if hooks.is_watching:
        hooks.module.watch_contexts(False)
    for patch in hooks.patches:
        patch.revert()


def forget_hooks() -> None:
    """
    Have the core forget its hooks in the child of a fork, which is not traced.
    """
    module = sys.modules.get("fgtrace._core")
    if module is not None:
        module.forget()


def _line_of_call(run: Any) -> tuple[str, int]:
    """
    Return the file and the line from which ``Handle._run`` calls, as tracebacks show them.

    The call is the first statement of a ``try`` right below the ``def``: two lines further on.
    """
    code = getattr(run, "__code__", None)
    return (code.co_filename, code.co_firstlineno + 2) if code is not None else ("", 0)


def _patch(name: str, owner: type) -> Patch:
    return _patches.setdefault(name, Patch(owner, name))


def is_stock(function: object, module: ModuleType) -> bool:
    """
    Return whether a function is of its own module of asyncio, so that C may do what it does.
    """
    return type(function) is FunctionType and function.__code__.co_filename == module.__file__


def report_error(handle: Any, error: BaseException) -> None:
    """
    Tell a loop that a callback failed, as ``Handle._run`` does.
    """
    helpers = sys.modules["asyncio.format_helpers"]
    more = {"debug": handle._loop.get_debug()} if sys.version_info >= (3, 13) else {}
    source = helpers._format_callback_source(handle._callback, handle._args, **more)
    context = {"message": f"Exception in callback {source}", "exception": error, "handle": handle}
    if handle._source_traceback:
        context["source_traceback"] = handle._source_traceback
    handle._loop.call_exception_handler(context)
