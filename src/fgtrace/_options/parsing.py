"""
Finds what a text from a query, a command line or the environment stands for (`FLAGS`, `number_or_text`),
makes a text safe for a log line (`escaped`), and refuses names of options that do not exist
(`refuse_unknown`).

`Options` checks which values are allowed, so a text that is no number is handed on unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable

from fgtrace.errors import UnknownOptionError

__all__ = ["FLAGS", "escaped", "nearest", "number_or_text", "refuse_unknown", "verbatim"]

#: Text in small letters -> the flag that it stands for.
FLAGS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


def verbatim(given: str) -> str:
    """
    Return the text itself, for an option whose value is a text.
    """
    return given


def number_or_text(given: str) -> object:
    """
    Return the number that a text stands for (an int where the text is one), or the text if it is no number.
    """
    for kind in (int, float):
        try:
            return kind(given)
        except ValueError:
            continue
    return given


def escaped(given: str) -> str:
    """
    Return the text with escapes for what would end a line or control a terminal.
    """
    if given.isprintable():
        return given
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in given)


def nearest(given: str, known: Iterable[str]) -> str:
    """
    Return the known name that was probably meant, or ``""`` if none is near.
    """
    from difflib import get_close_matches  # only a wrong name needs the import

    return next(iter(get_close_matches(given, list(known), 1)), "")


def refuse_unknown(function: str, given: Iterable[str], known: Iterable[str]) -> None:
    """
    Raise an error for the first name that is no option.

    Args:
        function: the function that the user called, such as ``"fgtrace.serve"``.
        given: the names that the user gave.
        known: the names of all options.

    Raises:
        UnknownOptionError: an option does not exist.
    """
    names = tuple(known)
    for name in given:
        if name not in names:
            raise UnknownOptionError(function, name, names, nearest(name, names))
