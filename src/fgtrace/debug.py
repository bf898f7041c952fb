"""
The asyncio debug hook: writes the last seconds to a file when something goes wrong.

    import fgtrace

    fgtrace.install("dumps")

The hook keeps a `FlightRecorder` running and watches for an event loop that is blocked, a task that is stuck,
an exception that reaches a loop's exception handler, and a signal. Each of these dumps the last seconds into
a folder, and logs one line (logger ``fgtrace``) with the file, the culprit and what the culprit was doing.
`uninstall` leaves nothing behind.
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
    Install the debug hook in this process: it dumps the last seconds when something goes wrong.

        fgtrace.install("dumps", stuck=60, hz=200)

    Args:
        folder: where the dumps go; None: ``fgtrace-dumps``.
        options: what to watch for, and options of the flight recorder: docs/debug-hook.md lists all. An
            option that is not given here may be set by an environment variable, ``FGTRACE_STUCK=60``.

    Returns:
        The hook, whose `DebugHook.trigger` dumps for reasons of your own.

    Raises:
        ConfigError: a value is not allowed, here or in the environment.
        UnknownOptionError: there is no such option.
        TraceStateError: the hook is installed already.
    """
    import logging  # 10 ms, and only the hook needs it

    from fgtrace._watchdog.hook import DebugHook
    from fgtrace._watchdog.hook_options import from_environment, unknown_variables

    if installed() is not None:
        raise TraceStateError("the debug hook is installed already: fgtrace.uninstall() removes it")
    if folder is not None:
        options["folder"] = folder
    for warning in unknown_variables():
        logging.getLogger("fgtrace").warning("%s", warning)
    hook = DebugHook(from_environment(options))
    hook.start()
    _installed[:] = [hook]
    return hook


def uninstall() -> None:
    """
    Remove the debug hook, and restore everything to what it was before `install`.

    What has gone wrong until then is still dumped.

    Raises:
        TraceStateError: the hook is not installed; or it took a signal, and this is not the main thread, the
            only one that can give a signal back.
    """
    hook = installed()
    if hook is None:
        raise TraceStateError("the debug hook is not installed")
    hook.stop()
    _installed.clear()


def installed() -> DebugHook | None:
    """
    Return the hook of this process, if there is one.
    """
    return next((hook for hook in _installed if hook.pid == os.getpid()), None)
