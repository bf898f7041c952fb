"""
Formats times, shares, functions and places as text.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from fgtrace.reports import Place

__all__ = ["format_chain", "format_place", "format_share", "format_time"]

#: The units of time from the largest on: nanoseconds and name.
_UNITS = ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"))


def format_time(nanoseconds: int) -> str:
    """
    Format a time in the largest unit that fits: ``1.23 s``, ``50.4 ms``, ``345 ns``, ``0``.
    """
    for size, unit in _UNITS:
        if abs(nanoseconds) >= size:
            value = nanoseconds / size
            digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
            return f"{value:.{digits}f} {unit}"
    return f"{nanoseconds} ns" if nanoseconds else "0"


def format_share(part: int, whole: int) -> str:
    """
    Format a share: ``12.5 %``; ``-`` of nothing.
    """
    return f"{100 * part / whole:.1f} %" if whole else "-"


def format_chain(names: Iterable[str]) -> str:
    """
    Format functions, given from the innermost outwards, by their short names.
    """
    return " <- ".join(_short_name(name) for name in names)


def _short_name(name: str) -> str:
    """
    Return a function's name without its module, which the file shows: ``Pool.acquire``.
    """
    parts = name.rpartition("<locals>.")[2].split(".")
    return ".".join(parts[-2:] if len(parts) > 1 and parts[-2][:1].isupper() else parts[-1:])


def format_place(place: Place) -> str:
    """
    Format a place: ``asyncio.Lock at app/db.py:40 Pool.acquire <- handler``.
    """
    at = f"at {_near(place.file)}:{place.line}" if place.file else ""
    return " ".join(filter(None, (place.on, at, format_chain(place.chain))))


def _near(file: str) -> str:
    """
    Return a file relative to the working directory if it is below it, else its last two names.
    """
    here = os.path.join(os.curdir, "")
    with_here = os.path.abspath(here)
    if file.startswith(os.path.join(with_here, "")):
        return os.path.relpath(file)
    return os.path.join(*file.split(os.sep)[-2:]) if os.path.isabs(file) else file
