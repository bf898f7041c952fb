"""
The threads of fgtrace itself, which no trace shows unless it is asked to.
"""

from __future__ import annotations

__all__ = ["own_threads"]

#: Idents of the threads of all traces of this process; each thread adds and discards its own.
own_threads: set[int] = set()
