"""
The values that all other rooms exchange: tracks, frames, slices, waiters, states.

The rule of this room: a value is frozen and knows neither a clock, a file nor the interpreter.

- `values`: what a sample found (`Waiter`, `ThreadSample`) and what a viewer shows (`Track`, `Frame`,
  `Slice`).
- `states`: the table `STATES`. A new state is a row of it; `fgtrace._classify.rules` then says which
  functions mean it, and `scripts/docs-states` writes both into docs/states.md.
- `drawing`: what an encoder may ask a trace for (`Drawing`), and slices as begins and ends.
"""
