"""
The C core's hooks: ``Handle._run``, and for exact awaits ``BaseEventLoop.call_soon``, ``_call_soon`` and
``call_at``, in C while wanted.

They are the only attributes of the standard library that a trace may exchange, and only with very many tasks
(then the steps of tasks are marked) or with exact awaits. With the last core that asks they are taken back.
"""

from __future__ import annotations

import sys
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from fgtrace._sampling.exact.monkeypatch import Patch

__all__ = ["Hooks", "end_of_step", "forget_hooks", "hook_steps", "is_stock", "report_error", "unhook_steps"]

_patches: dict[str, Patch] = {}


class Hooks(NamedTuple):
    """
    What was put for one that asked: for exact awaits four methods, else one; where loops may be compiled,
    switches of contexts are watched, too.
    """

    core: Any
    patches: tuple[Patch, ...]
    is_watching: bool


def hook_steps(core: Any, step: type, *, exact: bool = False) -> Hooks | None:
    """
    Have the core told of the steps of tasks.

    Args:
        core: the extension module.
        step: the type of asyncio's wrapper of a task's step.
        exact: also of what is scheduled.

    Returns:
        What to give back with `unhook_steps`; None where it could not be done.
    """
    events = sys.modules["asyncio.events"]
    try:
        core.handles_learn(events.Handle, events.TimerHandle, step, report_error, end_of_step)
    except (TypeError, AttributeError):  # a Handle that is not asyncio's own
        return None
    patches = [_patch("_run", events.Handle)]
    if not patches[0].put(lambda before: _run(core, before)):
        return None
    if exact and not _put_scheduling(core, patches):
        patches[0].take_back()
        return None
    return Hooks(core, tuple(patches), "uvloop" in sys.modules and core.watch_contexts(True))


def _run(core: Any, before: Any) -> Any:
    events = sys.modules["asyncio.events"]
    return core.handles_run(events.Handle, before, is_stock(before, events), *_place(before))


def _put_scheduling(core: Any, patches: list[Patch]) -> bool:
    """
    Have the core told of what is scheduled, by ``_call_soon``; the others in C save time, no more.
    """
    base, events = sys.modules["asyncio.base_events"], sys.modules["asyncio.events"]
    loop, deque = base.BaseEventLoop, sys.modules["collections"].deque

    def inner(before: Any) -> Any:
        plain = is_stock(before, base) and is_stock(events.Handle.__init__, events) and base.events is events
        return core.schedule_inner(loop, before, plain, deque)

    def outer(before: Any) -> Any:
        return core.schedule_outer(
            loop, before, is_stock(before, base) and is_stock(loop._check_closed, base)
        )

    def timers(before: Any) -> Any:
        plain = is_stock(before, base) and is_stock(loop._check_closed, base) and base.events is events
        plain = plain and all(is_stock(each.__init__, events) for each in (events.Handle, events.TimerHandle))
        return core.schedule_timers(loop, before, before if plain else None, base.heapq.heappush)

    try:
        for name, make in (("_call_soon", inner), ("call_soon", outer), ("call_at", timers)):
            patch = _patch(name, loop)
            if not patch.put(make):
                break
            patches.append(patch)
    except AttributeError:  # a loop that is not asyncio's own
        pass
    return len(patches) > 1


def unhook_steps(hooks: Hooks) -> None:
    """
    One that asked for it needs them no more.
    """
    if hooks.is_watching:
        hooks.core.watch_contexts(False)
    for patch in hooks.patches:
        patch.take_back()


def forget_hooks() -> None:
    """
    In the child of a fork nothing is traced.
    """
    core = sys.modules.get("fgtrace._core")
    if core is not None:
        core.forget()


def _place(run: Any) -> tuple[str, int]:
    """
    The file and the line from which ``Handle._run`` calls, as tracebacks show it.
    """
    code = getattr(run, "__code__", None)
    return (code.co_filename, code.co_firstlineno + 2) if code is not None else ("", 0)


def _patch(name: str, owner: type) -> Patch:
    return _patches.setdefault(name, Patch(owner, name))


def is_stock(function: object, module: ModuleType) -> bool:
    """
    Whether a function is of its own module of asyncio, so that C may do what it does.
    """
    return type(function) is FunctionType and function.__code__.co_filename == module.__file__


def end_of_step() -> None:
    """
    A callback that does nothing: what runs right after the step in which a trace begins.
    """


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
