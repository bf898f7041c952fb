"""
Options as words, ``hz=500 awaits=exact``: of pytest's command line and of a notebook's magic.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fgtrace._options.options import CHECKS
from fgtrace._options.parsing import FLAGS, number_or_text
from fgtrace.errors import ConfigError

__all__ = ["options_of"]

#: What no word can say, or the caller says otherwise.
_OTHERS = ("dst", "labels", "rules")
_VALUES = {**FLAGS, "none": None}


def options_of(words: Iterable[str]) -> dict[str, object]:
    """
    Options of `fgtrace.Config`. Values are not checked here.

    Args:
        words: ``NAME=VALUE`` each.

    Raises:
        ConfigError: a word is none, or there is no such option.
    """
    found: dict[str, object] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise ConfigError("option", word, "allowed is NAME=VALUE")
        if name not in CHECKS or name in _OTHERS:
            known = ", ".join(each for each in CHECKS if each not in _OTHERS)
            raise ConfigError("option", name, f"known is {known}")
        allows = CHECKS[name][0]
        found[name] = next((value for value in _meanings(text) if allows(value)), text)
    return found


def _meanings(text: str) -> Iterator[object]:
    """
    What a text may stand for.
    """
    yield text
    yield number_or_text(text)
    if text.lower() in _VALUES:
        yield _VALUES[text.lower()]
