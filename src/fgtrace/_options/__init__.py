"""
The options of a trace, and how a text (a query, a command line, the environment) becomes options.

The rule of this room: a value is checked once, in `Options`; whoever reads texts hands on what they stand
for.

- `options`: `Options`, and the table `CHECKS`. A new option is a field of `Options` with its docstring, and a
  row of `CHECKS`. The command line offers it in ``cli/_commands._OPTIONS``, the query in
  ``_http/endpoints._trace_fields``, the environment in ``_watchdog/hook_options.VARIABLES``.
- `parsing`: what a text stands for, how a log line shows it, and errors for names that do not exist.
- `assignments`: options as ``hz=500 awaits=exact``, for pytest and the notebook.
"""
