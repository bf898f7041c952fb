"""
A fork in a test's own process.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

__all__ = ["fork"]


def fork() -> int:
    """
    As `os.fork`. Python warns where there are other threads. Those of libuv, which stay once a test has used
    uvloop, are not ours, nor is the one through which a worker of the tests is told what to do.
    """
    with warnings.catch_warnings():
        names = [name.read_text() for name in Path("/proc/self/task").glob("*/comm")]
        if "PYTEST_XDIST_WORKER" in os.environ or "libuv-worker\n" in names:
            warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()
