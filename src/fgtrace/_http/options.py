"""
The options of the debug endpoints: one frozen value that checks itself once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fgtrace._options.options import Options
from fgtrace._session.trace import Config
from fgtrace.errors import ConfigError

__all__ = ["HttpOptions"]


def _is_positive(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value) and value > 0


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 100


def _is_token(value: Any) -> bool:
    # what a header can carry as it stands
    return value is None or (
        isinstance(value, str) and value.isascii() and value.isprintable() and value != ""
    )


#: The length of a trace unless an option or the query says otherwise.
_SECONDS = 30.0

#: Field -> (is this value allowed?, what is allowed).
CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "token": (_is_token, "allowed is None or printable ASCII text that is not empty"),
    "seconds": (
        lambda value: value is None or _is_positive(value),
        "allowed is a number above 0 (seconds), or None: 30, or max_seconds if that is less",
    ),
    "max_seconds": (_is_positive, "allowed is a number above 0 (seconds)"),
    "max_hz": (lambda value: _is_positive(value) and value <= 10_000, "allowed is a number up to 10000"),
    "max_traces": (_is_count, "allowed is a whole number from 1 to 100"),
    "config": (lambda value: isinstance(value, Options), "allowed is a fgtrace.Config"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """
    What clients may request over HTTP, and which clients may.

    Args:
        token: what a client must send: ``Authorization: Bearer <token>``, or as the password of Basic
            authentication, which browsers and ``go tool pprof`` can send. None: every client may.
        seconds: the length of a trace where the query does not say; None: 30, or ``max_seconds`` if that is
            less.
        max_seconds: the longest trace that a client may request.
        max_hz: the highest rate that a client may request.
        max_traces: how many traces may be made, or be on their way to a client, at once; further requests
            get 429.
        config: the options of a trace that are not in the query: ``labels``, ``rules``, ``hz`` ...; its
            ``dst`` and ``format`` do not matter.

    Raises:
        ConfigError: a value is not allowed.
    """

    token: str | None = None
    seconds: float | None = None
    max_seconds: float = 300
    max_hz: float = 1000
    max_traces: int = 2
    config: Options = field(default_factory=Config)

    def __post_init__(self) -> None:
        for name, (allows, allowed) in CHECKS.items():
            if not allows(getattr(self, name)):
                # a token is a secret: an error goes into logs
                value = "<token>" if name == "token" else getattr(self, name)
                raise ConfigError(name, value, allowed)
        if self.usual_seconds > self.max_seconds:
            raise ConfigError("seconds", self.seconds, f"allowed is up to max_seconds, {self.max_seconds:g}")

    @property
    def usual_seconds(self) -> float:
        """
        The length of a trace where the query does not say (s).
        """
        return min(_SECONDS, self.max_seconds) if self.seconds is None else self.seconds
