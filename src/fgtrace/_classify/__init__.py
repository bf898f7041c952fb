"""
Which state a stack is in, and what a native call at its leaf is called.

The rule of this room: it judges what a recording has, after the trace. It asks neither a clock, the
interpreter nor a live object.

- `rules`: the tables, from functions, native calls and kinds of waiters to states. A new rule is a row there,
  with a test against the real library (or a record of it in tests/data), and `scripts/docs-states` after it.
- `decision`: the walk over a stack that reads these tables and decides the state. A new state is a row of
  `fgtrace._model.states.STATES`, and rules that name it.
- `native_call`: where in the source an instruction is, and the text of the function that a call instruction
  calls.
"""
