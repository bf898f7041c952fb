"""
The values that all other rooms exchange: tracks, frames, slices, waiters, states.

The rule of this room: a value is frozen and knows neither a clock, a file nor the interpreter.

- `values`: what a sample found (`Waiter`, `ThreadSample`) and what a viewer shows (`Track`, `Frame`,
  `Slice`).
- `states`: the table `STATES`. A new state is a constant (also in ``__all__``) and a row of the table. Then
  `fgtrace._classify.rules` says which functions mean it, ``_formats/write/firefox_tables.py`` and
  ``src/page/colors.js`` give it a colour, and ``reports/_state_history.WAITS`` counts it as a wait unless it
  is left out there. `scripts/docs-states` writes states and rules into docs/states.md.
- `drawing`: what an encoder may ask a trace for (`Drawing`), and slices as begins and ends.
"""
