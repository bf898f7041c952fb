"""
The command line: ``fgtrace run script.py`` and the other commands.

The rule: this is the only room that prints or exits, and the only one that needs click and rich.

- `_commands` declares the commands and their options with click, and makes a plan of the command line: a
  value of `_plans`. A new command is a function there, a plan, and in `_main` the plan in the union of
  `_carry_out` and a branch.
- `_main` parses and carries out. `_convert`, `_report` (with ``diff``) and `_view` each carry out one
  command.
- ``run``: `_program` finds the program and runs it, `_until_exit` traces it and writes the trace when the
  interpreter exits, `_excepthook` keeps fgtrace's frames out of its tracebacks.
- `_formatting`, `_report_tables` and `_progress` say how times, tables and a progress bar look. `_serve`
  serves files to a viewer.

No function is defined in this module itself: a trace tells the launcher from the program by modules *below*
``fgtrace.cli``, so what is on the stack while a program runs must be in one of those.
"""

from __future__ import annotations

from fgtrace.cli._main import main

__all__ = ["main"]
