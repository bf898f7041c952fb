"""
Runs a function in a thread beside an event loop, which goes on meanwhile; the loop is told when it ends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from fgtrace._sampling.own_threads import own_threads, start_without_signals

__all__ = ["in_thread", "start_thread"]


async def in_thread(do: Callable[[], None]) -> BaseException | None:
    """
    Call a function in a thread of its own, while the event loop goes on.

    ``anyio.to_thread`` would not do: its worker would stay behind, idle, and its limit is the program's. When
    this is cancelled, it returns at once; the thread goes on to the end.

    Returns:
        What the function raised, or None.
    """
    import anyio.lowlevel  # 40 ms, and only `async with` needs it

    done = anyio.Event()
    failed: list[BaseException] = []

    def guarded() -> None:
        try:
            do()
        except BaseException as error:  # the task that waits gets it
            failed.append(error)

    thread = start_thread(guarded, done.set)
    await done.wait()
    thread.join()
    return failed[0] if failed else None


def start_thread(do: Callable[[], None], done: Callable[[], None]) -> threading.Thread:
    """
    Call a function in a thread of the tracer's, and tell the event loop that runs here when it has returned.

    Args:
        do: the function; it raises nothing.
        done: called in the loop.
    """
    import anyio.lowlevel  # as above

    native: Any = anyio.lowlevel.current_token().native_token
    wake = getattr(native, "call_soon_threadsafe", None) or native.run_sync_soon

    def run() -> None:
        own_threads.add(threading.get_ident())
        try:
            do()
        finally:
            own_threads.discard(threading.get_ident())
            with suppress(RuntimeError):  # the loop was closed: nobody waits
                wake(done)

    thread = threading.Thread(target=run, name="fgtrace writer", daemon=True)
    start_without_signals(thread)
    return thread
