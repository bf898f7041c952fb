"""
Options as assignments, ``hz=500 awaits=exact``: on pytest's command line and in a notebook's magic.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fgtrace._options.options import CHECKS
from fgtrace._options.parsing import FLAGS, number_or_text
from fgtrace.errors import ConfigError

__all__ = ["options_of"]

#: Options whose value no text can stand for, or which the caller takes from elsewhere.
_OTHERS = ("dst", "labels", "rules")
_VALUES = {**FLAGS, "none": None}


def options_of(assignments: Iterable[str]) -> dict[str, object]:
    """
    Return the options of `fgtrace.Config` that assignments give. The values are not checked here.

    Args:
        assignments: each as ``NAME=VALUE``.

    Raises:
        ConfigError: a text is no assignment, or the option does not exist.
    """
    found: dict[str, object] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError("option", assignment, "allowed is NAME=VALUE")
        if name not in CHECKS or name in _OTHERS:
            known = ", ".join(each for each in CHECKS if each not in _OTHERS)
            raise ConfigError("option", name, f"the options are {known}")
        allows = CHECKS[name][0]
        found[name] = next((value for value in _meanings(text) if allows(value)), text)
    return found


def _meanings(text: str) -> Iterator[object]:
    """
    Yield the values that a text may stand for, the text itself first.
    """
    yield text
    yield number_or_text(text)
    if text.lower() in _VALUES:
        yield _VALUES[text.lower()]
