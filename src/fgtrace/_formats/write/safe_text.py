"""
Text that every viewer can show: without control characters and without lone surrogates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

__all__ = ["safe_json", "safe_name", "safe_value"]


def safe_name(name: str) -> str:
    """
    Return a name without control characters, whose escapes trace_processor shows as they stand.
    """
    return name if name.isprintable() else "".join(each if each.isprintable() else " " for each in name)


def safe_value(value: Any) -> Any:
    """
    Return a value without lone surrogates, which UTF-8 cannot encode: they become ``?``.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {safe_value(key): safe_value(item) for key, item in value.items()}
    return [safe_value(item) for item in value] if isinstance(value, (list, tuple)) else value


def safe_json(value: Any) -> bytes:
    """
    Return a value as JSON, whatever is in it.
    """
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return orjson.dumps(safe_value(value), default=str)
