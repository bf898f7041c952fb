"""
Texts from outside (a query, a command line, the environment): what they stand for, how a line shows one, and
what was probably meant by a name that nobody knows.

What is allowed is checked where the option is, so a text that is no number is handed on as it is.
"""

from __future__ import annotations

from collections.abc import Iterable

from fgtrace.errors import UnknownOptionError

__all__ = ["FLAGS", "escaped", "nearest", "number_or_text", "refuse_unknown", "verbatim"]

#: In small letters.
FLAGS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


def verbatim(given: str) -> str:
    """
    The text itself.
    """
    return given


def number_or_text(given: str) -> object:
    """
    A number, whole where the text is; else the text.
    """
    for kind in (int, float):
        try:
            return kind(given)
        except ValueError:
            continue
    return given


def escaped(given: str) -> str:
    """
    The text, with escapes for what would end a line or command a terminal.
    """
    if given.isprintable():
        return given
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in given)


def nearest(given: str, known: Iterable[str]) -> str:
    """
    The name that was probably meant; ``""`` where none is near.
    """
    from difflib import get_close_matches  # only a mistake needs it

    return next(iter(get_close_matches(given, list(known), 1)), "")


def refuse_unknown(function: str, given: Iterable[str], known: Iterable[str]) -> None:
    """
    Check the names of options.

    Args:
        function: what the user called, as ``"fgtrace.serve"``.
        given: names of options.
        known: all that there are.

    Raises:
        UnknownOptionError: there is no such option.
    """
    names = tuple(known)
    for name in given:
        if name not in names:
            raise UnknownOptionError(function, name, names, nearest(name, names))
