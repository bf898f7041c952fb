"""
What a text from outside stands for: a query, a command line, the environment; and how a line shows one.

What is allowed is checked where the option is, so a text that is no number is handed on as it is.
"""

from __future__ import annotations

__all__ = ["FLAGS", "number", "printable", "text"]

#: In small letters.
FLAGS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


def text(given: str) -> str:
    """
    The text itself.
    """
    return given


def number(given: str) -> object:
    """
    A number, whole where the text is; else the text.
    """
    for kind in (int, float):
        try:
            return kind(given)
        except ValueError:
            continue
    return given


def printable(given: str) -> str:
    """
    The text, with escapes for what would end a line or command a terminal.
    """
    if given.isprintable():
        return given
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in given)
