"""
What the writers of traces share: what is said of a trace in its file, and a pace that lets others work.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

from fgtrace._config import Options
from fgtrace._cores import AnySampler
from fgtrace._sampler import Stats
from fgtrace._version import __version__

__all__ = ["metadata", "paced"]

#: Seconds of writing beside an event loop, and of the pause thereafter.
LONGEST_WORK = 0.004
PAUSE = 0.0002


def metadata(options: Options, sampler: AnySampler, pid: int, began: float, **more: object) -> dict[str, Any]:
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
