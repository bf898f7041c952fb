"""
The recording: what collectors append to while the program runs, and windows and rings of it.

The rule of this room: what is called while the program runs compares and appends integers. It makes no object
for each event, builds no text, runs no code of the program, and keeps no object of the program alive but code
objects. Every list has a bound, or spills to a temporary file.

- `recording`: `Recording`, the tables (functions, stacks, waiters, tracks, loops), the rows and the steps.
  A new kind of fact is noted there. It also needs its place in `core_recording` (how it is fetched from the
  C core), `ring` and `window` (what the flight recorder keeps of it), and ``_output/transfer`` (how it gets
  to the writer process).
- `table_entries`: what an entry of a table holds.
- `step_records`: the packed format of a step of exact awaits.
- `locked_recording`: the recording that several threads fill, for exact awaits in Python.
- `core_recording`: the recording whose rows and tables are in the C core while the program runs.
- `ring`, `window`: the last seconds of a recording, for the flight recorder; a part of them as a recording.
- `spill`: a temporary file for what memory cannot keep.
- `wrappers`: which functions of fgtrace stand on the program's stack and call the program's.
"""
