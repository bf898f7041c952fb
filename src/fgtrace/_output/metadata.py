"""
The metadata of a trace: what its file says of it.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from fgtrace._options.options import Options
from fgtrace._sampling.sampler import Sampler
from fgtrace._sampling.stats import Stats
from fgtrace._version import __version__

__all__ = ["metadata"]


def metadata(options: Options, sampler: Sampler, pid: int, began: float, **more: object) -> dict[str, Any]:
    """
    Return the metadata of a trace.

    Args:
        options: the effective ones.
        sampler: what made it; its ``stats`` are up to date.
        pid: the process.
        began: the time of day at which the trace began, seconds since 1970.
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
