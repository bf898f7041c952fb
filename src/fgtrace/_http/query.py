"""
The query of a request, as checked values.

A query is text from anywhere: its length is bounded, each field is known, comes once, and is parsed as a
table says. The options of a trace check themselves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from fgtrace._options.parsing import FLAGS
from fgtrace.errors import ConfigError

__all__ = [
    "LONGEST_QUERY",
    "Field",
    "as_sent",
    "count",
    "flag",
    "number",
    "one_of",
    "read_query",
    "refusal",
    "up_to",
]

#: Characters of a query; the longest that makes sense has a tenth of it.
LONGEST_QUERY = 2048
#: Characters of a bad value that an error quotes.
LONGEST_ECHO = 100
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9}")


class Field(NamedTuple):
    """
    How the text of a field is parsed; ``read`` raises a ValueError where it is not ``allowed``.
    """

    read: Callable[[str], Any]
    allowed: str


def _number(value: str) -> float:
    if _NUMBER.fullmatch(value) is None:  # `float` takes "1_0", "nan" and digits of other scripts, too
        raise ValueError(value)
    return float(value)


def _positive(value: str) -> float:
    found = _number(value)
    if found <= 0:
        raise ValueError(value)
    return found


def _count(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 10 and int(value)):
        raise ValueError(value)
    return int(value)


number = Field(_positive, "allowed is a number above 0")
flag = Field(lambda value: FLAGS[value.lower()], "allowed is 1 or 0, true or false, yes or no, on or off")
count = Field(_count, "allowed is a whole number above 0")


def up_to(limit: float, unit: str) -> Field:
    """
    Return the field of a number above 0 with a limit.
    """

    def read(value: str) -> float:
        found = _positive(value)
        if found > limit:
            raise ValueError(value)
        return found

    return Field(read, f"allowed is a number above 0 and up to {limit:g} ({unit})")


def one_of(*allowed: str) -> Field:
    """
    Return the field of a choice between a few values.
    """
    values = {each: each for each in allowed}
    return Field(values.__getitem__, "allowed is " + " or ".join(values))


def read_query(query: str, fields: Mapping[str, Field]) -> dict[str, Any]:
    """
    Return the fields of a query, in its order.

    Args:
        query: as in the URL, behind the question mark.
        fields: those that are known.

    Raises:
        ConfigError: it is malformed, or a field is unknown, comes twice, or has a value that is not
            allowed. The error carries the text as the client sent it.
    """
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, strict_parsing=bool(query), errors="strict", max_num_fields=20
        )
    except ValueError as error:
        raise ConfigError(
            "query", query, "allowed is name=value&name=value, percent-encoded UTF-8"
        ) from error
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name not in fields:
            raise ConfigError("query", name, "the options are " + ", ".join(fields))
        if name in found:
            raise ConfigError(name, value, "allowed is once")
        try:
            found[name] = fields[name].read(value)
        except (ValueError, KeyError) as error:
            raise ConfigError(name, value, fields[name].allowed) from error
    return found


@contextmanager
def as_sent(query: str) -> Iterator[None]:
    """
    Have errors within quote values as the client sent them, and no value that it did not send.

    Args:
        query: one that `read_query` has accepted.
    """
    try:
        yield
    except ConfigError as error:
        sent = dict(parse_qsl(query, keep_blank_values=True))
        raise ConfigError(error.field, sent.get(error.field), error.allowed) from error


def refusal(error: ConfigError) -> str:
    """
    Return the text of an error for a client: ``bad hz: "x": allowed is ...``.
    """
    if error.value is None:
        return f"bad {error.field}: {error.allowed}"
    given = str(error.value)
    shown = given if len(given) <= LONGEST_ECHO else given[:LONGEST_ECHO] + "..."
    return f"bad {error.field}: {json.dumps(shown)}: {error.allowed}"
