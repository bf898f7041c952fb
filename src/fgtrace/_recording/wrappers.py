"""
Wrappers: the functions of fgtrace that call the program's, and so stand in the midst of the program's stack.

A trace shows neither fgtrace's own functions nor what they call, but what a wrapper calls is the program's
again. So a wrapper is registered where it is defined, by its code object. A recording notes of each function
whether it is one, and that goes along to another process, where the wrappers need not have been imported.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType
from typing import Any, Literal, TypeVar

__all__ = ["Wraps", "wrapper", "wraps_of"]

#: What a function of fgtrace wraps: ``call``, any call of the program's; ``request``, the handling of a
#: request that it names; ``""``, nothing.
Wraps = Literal["", "call", "request"]
F = TypeVar("F", bound=Callable[..., Any])

_registered: dict[int, tuple[CodeType, Wraps]] = {}  # the code objects are kept, and so their ids stay theirs


def wrapper(wraps: Wraps) -> Callable[[F], F]:
    """
    Return a decorator that registers a function of fgtrace as a wrapper, and returns it as it is.

    Args:
        wraps: see `Wraps`.
    """

    def register(function: F) -> F:
        code: CodeType = function.__code__
        _registered[id(code)] = (code, wraps)
        return function

    return register


def wraps_of(code: CodeType) -> Wraps:
    """
    Return what the function of a code object wraps; ``""`` if it is no wrapper of fgtrace.
    """
    found = _registered.get(id(code))
    return "" if found is None else found[1]
