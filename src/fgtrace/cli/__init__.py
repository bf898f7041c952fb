"""
The command line: ``fgtrace run script.py`` and its kin.

The only place of the package that prints or exits, and the only one that needs click and rich.
No function lives in this module itself: what is on the stack while a program runs must be in a
module *below* ``fgtrace.cli``, for that is how a trace tells the launcher from the program.
"""

from __future__ import annotations

from fgtrace.cli._main import main

__all__ = ["main"]
