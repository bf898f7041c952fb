"""
What the writers of traces share: what is said of a trace in its file, a pace that lets others work, and a
thread beside an event loop.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from fgtrace._options.options import Options
from fgtrace._sampling.own_threads import own_threads
from fgtrace._sampling.sampler import Sampler
from fgtrace._sampling.stats import Stats
from fgtrace._version import __version__

__all__ = ["PATIENCE", "considerate", "in_thread", "metadata", "paced", "start_thread"]

#: Seconds, besides the trace's own length, that writing may wait for a busy program.
PATIENCE = 10
#: Seconds of writing beside an event loop, and of the pause thereafter.
LONGEST_WORK = 0.004
PAUSE = 0.0002
#: The same where it is to lose nothing; who waits no longer than this part of its work is alone.
SHORTEST_WORK = 0.001
FREE = 0.1


def metadata(options: Options, sampler: Sampler, pid: int, began: float, **more: object) -> dict[str, Any]:
    """
    What a file says of its trace.

    Args:
        options: the effective ones.
        sampler: what made it; its ``stats`` are up to date.
        pid: the process.
        began: the time of day of the trace's start, seconds since 1970.
        more: further facts.
    """
    import platform  # costs 5 ms to import

    return {
        "fgtrace": {
            "complete": True,
            "version": __version__,
            "config": options.as_dict(),
            "stats": {name: getattr(sampler.stats, name) for name in Stats.__slots__},
            "awaits": getattr(sampler, "awaits", "sampled"),
            "python": platform.python_version(),
            "implementation": sys.implementation.name,
            "platform": sys.platform,
            "pid": pid,
            "argv": list(getattr(sys, "argv", [])),
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
            "uvloop": getattr(sys.modules.get("uvloop"), "__version__", None),
            **more,
        }
    }


def paced(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """
    The same pieces, with a short sleep now and then.

    A thread that gives the GIL away for each write and takes it back at once starves the others:
    they are woken too late each time, and never wait long enough in a row to ask for it. Measured
    without: a loop that stood still for 160-560 ms.
    """
    worked_since = time.perf_counter()
    for piece in pieces:
        yield piece
        if time.perf_counter() - worked_since > LONGEST_WORK:
            time.sleep(PAUSE)
            worked_since = time.perf_counter()


def considerate(share: float, patience: float) -> Callable[[Iterable[bytes]], Iterator[bytes]]:
    """
    A pace for a thread beside a program that is to lose nothing by it.

    Where a piece took longer than the processor worked on it, it waited for the interpreter, or for a core.
    Others want these, and to give way for a moment, as `paced` does, still takes half of what they would
    have; and to wait for the interpreter slows who has it. So behind a piece that waited is a long pause.

    Args:
        share: of the time, at most so much is worked while others want it.
        patience: seconds of such pauses, all in all; then it is `paced`.
    """

    def pace(pieces: Iterable[bytes]) -> Iterator[bytes]:
        left = patience
        since, worked_since = time.perf_counter(), time.thread_time()
        for piece in pieces:
            yield piece
            worked = time.thread_time() - worked_since
            waited = time.perf_counter() - since - worked
            if left > 0 and worked + waited > SHORTEST_WORK:
                pause = PAUSE if waited < worked * FREE else worked * (1 / share - 1)
                left -= pause
            elif worked + waited > LONGEST_WORK:
                pause = PAUSE
            else:
                continue
            time.sleep(pause)
            since, worked_since = time.perf_counter(), time.thread_time()

    return pace


async def in_thread(do: Callable[[], None]) -> BaseException | None:
    """
    Do it in a thread that ends with it, while the event loop goes on.

    Not ``anyio.to_thread``: its worker would stay behind, idle, and its limit is the program's.
    Cancelled, it returns at once; the thread goes on to the end.

    Returns:
        What it raised, or None.
    """
    import anyio.lowlevel  # 40 ms, and only `async with` needs it

    done = anyio.Event()
    failed: list[BaseException] = []

    def guarded() -> None:
        try:
            do()
        except BaseException as error:  # it is handed to the task that waits
            failed.append(error)

    thread = start_thread(guarded, done.set)
    await done.wait()
    thread.join()
    return failed[0] if failed else None


def start_thread(do: Callable[[], None], done: Callable[[], None]) -> threading.Thread:
    """
    Do it in a thread of ours that ends with it; the event loop that runs here is then told.

    Args:
        do: raises nothing.
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
    thread.start()
    return thread
