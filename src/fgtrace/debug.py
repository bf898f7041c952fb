"""
The asyncio debug hook: one line in a program, and when something goes wrong, what went before is in a file.

    import fgtrace

    fgtrace.install("dumps")

It keeps a `FlightRecorder` running and watches for an event loop that is blocked, a task that is stuck,
an exception that reaches a loop's exception handler, and a signal. Each dumps the last seconds into a
folder, and logs one line (logger ``fgtrace``) with the file, the culprit and what it was doing.
`uninstall` leaves nothing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from fgtrace.errors import TraceStateError

if TYPE_CHECKING:
    from fgtrace._watchdog.hook import DebugHook

__all__ = ["install", "installed", "uninstall"]

_installed: list[DebugHook] = []


def install(folder: str | os.PathLike[str] | None = None, **options: Any) -> DebugHook:
    """
    Watch this process, and dump what went before when something goes wrong.

        fgtrace.install("dumps", stuck=60, hz=200)

    Args:
        folder: where the dumps go; None: ``fgtrace-dumps``.
        options: what to watch, and options of the flight recorder: docs/debug-hook.md has them all. What is
            not given here may be in an environment variable, ``FGTRACE_STUCK=60``.

    Returns:
        The hook, whose `DebugHook.trigger` dumps for reasons of your own.

    Raises:
        ConfigError: a value is not allowed, here or in the environment.
        UnknownOptionError: there is no such option.
        TraceStateError: it is installed already.
    """
    import logging  # 10 ms, and only the hook needs it

    from fgtrace._watchdog.hook import DebugHook
    from fgtrace._watchdog.hook_options import from_environment, strangers

    if installed() is not None:
        raise TraceStateError("the debug hook is installed already: fgtrace.uninstall() takes it away")
    if folder is not None:
        options["folder"] = folder
    for said in strangers():
        logging.getLogger("fgtrace").warning("%s", said)
    hook = DebugHook(from_environment(options))
    hook.start()
    _installed[:] = [hook]
    return hook


def uninstall() -> None:
    """
    Watch no more; everything is as it was before `install`. What has gone wrong by then is still dumped.

    Raises:
        TraceStateError: it is not installed; or it took a signal, and this is not the main thread, which
            alone can give that back.
    """
    hook = installed()
    if hook is None:
        raise TraceStateError("the debug hook is not installed")
    hook.stop()
    _installed.clear()


def installed() -> DebugHook | None:
    """
    The hook of this process, if there is one.
    """
    return next((hook for hook in _installed if hook.pid == os.getpid()), None)
