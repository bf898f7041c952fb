"""
Our own annotations of tracks, which a file has besides their names, checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fgtrace._model.values import Track

__all__ = ["KINDS", "OF_LOOPS", "track_of", "whole"]

OF_LOOPS = ("task", "lane", "loop", "callbacks")
KINDS = ("thread", *OF_LOOPS, "tracer")


def whole(value: Any) -> int:
    """
    Return a value that must be a whole number.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"{value!r} where a whole number was expected")


def track_of(facts: Mapping[str, Any]) -> Track:
    """
    Return the track of an annotation.

    Raises:
        ValueError: a value is missing or wrong.
    """
    life, args = facts.get("life"), facts.get("args")
    if not (isinstance(life, list) and len(life) == 2):
        raise ValueError(f"{life!r} where a track's start and end were expected")
    if not (isinstance(args, list) and all(isinstance(arg, list) and len(arg) == 2 for arg in args)):
        raise ValueError(f"{args!r} where a track's arguments were expected")
    kind = facts.get("kind")
    if kind not in KINDS:
        raise ValueError(f"{kind!r} where a kind of track was expected")
    numbers = {name: whole(facts.get(name)) for name in ("id", "tid", "pid", "parent", "level")}
    return Track(
        kind, name=str(facts.get("name")), group=str(facts.get("group")),
        start=whole(life[0]), end=whole(life[1]), args=tuple((str(key), value) for key, value in args),
        **numbers,
    )  # fmt: skip
