"""
Sampling: the clock, the two samplers that take a tick, and what keeps their threads out of the program's way.

The rule of this room: the tracer is a guest. What a tick runs costs the program time, so it compares and
appends; it raises nothing into the program, prints nothing, and keeps nothing of the program alive. What
fails is left out from then on, and noted in the trace.

- `sampler`: the life of a sampler, from start to stop, around forks and snapshots, and its figures.
- `python_sampler`: a tick as one round through the collectors. A new collector is plugged in there
  (`PythonSampler._plug_in`); `collect` says what a collector is, and what the C core needs besides.
- `core_sampler`: the sampler whose ticks the C core takes; `core_calibration` finds out whether the core fits
  this interpreter, and `core_answers` answers the questions that the core leaves to Python.
- `choose`: which of the two serves.
- `clock`: the time, the grid of ticks, and the budget of a tick.
- `collect`: what one tick reads of threads and tasks. `exact`: the steps between ticks, for exact awaits.
- `forks`, `own_threads`, `periodic_thread`, `switch_interval`: threads of fgtrace, and how they give way.
- `stats`: what a sampler says of itself.
"""
