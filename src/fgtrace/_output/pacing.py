"""
Pacing: how a thread that writes beside the program lets it work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

__all__ = ["PATIENCE", "considerate", "paced"]

#: Seconds, besides the trace's own length, that writing may wait for a busy program.
PATIENCE = 10
#: Seconds of writing beside an event loop, and of the pause that follows.
LONGEST_WORK = 0.004
PAUSE = 0.0002
#: Seconds of writing beside a program that is to lose nothing. A thread that waited no longer than this part
#: of its work has the processor to itself.
SHORTEST_WORK = 0.001
FREE = 0.1


def paced(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """
    Yield the chunks with a short sleep now and then.

    A thread that releases the GIL for each write and takes it back at once starves the others: they are woken
    too late each time, and never wait long enough in a row to ask for it. Measured without the sleeps: a loop
    that stood still for 160-560 ms.
    """
    worked_since = time.perf_counter()
    for chunk in chunks:
        yield chunk
        if time.perf_counter() - worked_since > LONGEST_WORK:
            time.sleep(PAUSE)
            worked_since = time.perf_counter()


def considerate(share: float, patience: float) -> Callable[[Iterable[bytes]], Iterator[bytes]]:
    """
    Return a pace for a thread beside a program that is to lose nothing by it.

    Where a chunk took longer than the processor worked on it, the thread waited for the interpreter, or for a
    core. Then others want these, and short sleeps, as of `paced`, would still take half of what they could
    have; besides, a thread that waits for the interpreter slows the one that has it. So a long pause follows
    a chunk that waited.

    Args:
        share: the part of the time that is worked at most while others want to work.
        patience: seconds of such pauses, all in all; then the pace is that of `paced`.
    """

    def pace(chunks: Iterable[bytes]) -> Iterator[bytes]:
        left = patience
        since, worked_since = time.perf_counter(), time.thread_time()
        for chunk in chunks:
            yield chunk
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
