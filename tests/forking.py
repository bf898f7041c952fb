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
    As `os.fork`. Python warns where there are other threads; those of libuv, which stay once a test has
    used uvloop, are not ours.
    """
    with warnings.catch_warnings():
        if any(name.read_text() == "libuv-worker\n" for name in Path("/proc/self/task").glob("*/comm")):
            warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()
