"""
The debug hook: watches event loops and tasks, and dumps the flight recorder when something goes wrong.

The rule: a trigger costs the program an append to a list, no more; the hook's own thread does the rest.

- `hook` is the hook itself: its thread, its signal, and the way from a trigger to a dump.
- `blocked_loops`, `stuck_tasks` and `loop_exceptions` each notice one kind of trouble. A further kind is a
  further module: `DebugHook._check` asks it, or it calls a listener in the program's thread, as
  `loop_exceptions` does, which only appends a trigger (`DebugHook._put`).
- `culprit` finds which task or callback did it, and where.
- `hook_options` has the options, their checks and their environment variables.
- `dump_folder` names the files, and deletes the oldest.
"""
