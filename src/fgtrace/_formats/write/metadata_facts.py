"""
The facts of a trace's metadata that some formats have fields for, as far as they are there and valid.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

__all__ = ["pid_of", "rate_of", "start_of"]


def start_of(metadata: Mapping[str, Any]) -> float | None:
    """
    Return when the trace began, in seconds since 1970.
    """
    started = _facts(metadata).get("started")
    if isinstance(started, str):
        with suppress(ValueError, OverflowError):
            return datetime.fromisoformat(started).timestamp()
    return None


def rate_of(metadata: Mapping[str, Any]) -> float | None:
    """
    Return the ticks a second.
    """
    config = _facts(metadata).get("config")
    hz = config.get("hz") if isinstance(config, dict) else None
    return hz if isinstance(hz, (int, float)) and hz > 0 else None


def pid_of(metadata: Mapping[str, Any]) -> int | None:
    """
    Return the traced process's id.
    """
    pid = _facts(metadata).get("pid")
    return pid if isinstance(pid, int) else None


def _facts(metadata: Mapping[str, Any]) -> dict[str, Any]:
    facts = metadata.get("fgtrace")
    return facts if isinstance(facts, dict) else {}
