"""
Makes plain values and a JSON schema of dataclasses: both from the fields, so that they cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

__all__ = ["plain", "schema_of"]

_SIMPLE = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}


def plain(value: Any) -> Any:
    """
    Return a value of dataclasses and tuples as dicts and lists.
    """
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    return dict(value) if isinstance(value, dict) else value


def schema_of(kind: type, title: str, version: int) -> dict[str, Any]:
    """
    Return the JSON schema (draft 2020-12) of `plain` values of a dataclass, with ``schema`` and ``version``.
    """
    found = _object(kind)
    head = {"schema": {"const": title}, "version": {"const": version}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{title} {version}",
        **found,
        "required": [*head, *found["required"]],
        "properties": {**head, **found["properties"]},
        "$defs": {
            each.__name__: _object(each) for each in sorted(_behind(kind), key=lambda each: each.__name__)
        },
    }


def _object(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    return {
        "type": "object",
        "required": names,
        "properties": {name: _schema(hints[name]) for name in names},
        "additionalProperties": False,
    }


def _schema(hint: Any) -> dict[str, Any]:
    if hint in _SIMPLE:
        return {"type": _SIMPLE[hint]}
    if is_dataclass(hint):
        return {"$ref": f"#/$defs/{hint.__name__}"}  # type: ignore[union-attr]
    args = get_args(hint)
    if isinstance(hint, UnionType):
        return {"anyOf": [_schema(each) for each in args]}
    if get_origin(hint) is dict:
        return {"type": "object", "additionalProperties": _schema(args[1])}
    return {"type": "array", "items": _schema(args[0])}


def _behind(kind: Any) -> set[type]:
    """
    Return the dataclasses that occur in a type's fields, at any depth.
    """
    found: set[type] = set()
    line = [kind]
    while line:
        for each in _named(line.pop()):
            if each not in found:
                found.add(each)
                line.append(each)
    return found


def _named(kind: type) -> Iterator[type]:
    for hint in get_type_hints(kind).values():
        for each in (hint, *get_args(hint)):
            if is_dataclass(each) and isinstance(each, type):
                yield each
