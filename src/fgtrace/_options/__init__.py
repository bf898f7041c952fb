"""
The options of a trace, and how a text (a query, a command line, the environment) becomes options.

The rule of this room: a value is checked once, in `Options`; whoever reads texts hands on what they stand
for.

- `options`: `Options`, and the table `CHECKS`. A new option is a field of `Options` with its docstring, and a
  row of `CHECKS`; the command line, the query and the environment offer it in their own tables.
- `parsing`: texts to numbers, flags and names, and errors for names that do not exist.
- `assignments`: options as ``hz=500 awaits=exact``, for pytest and the notebook.
"""
