"""
What a user starts and stops: one trace, or the flight recorder, which keeps the last seconds.

The rule of this room: it connects a sampler, a recording and a destination. It takes no sample and writes no
format itself.

- `trace`: `trace()`, `Config` and `Trace`, from start to stop, also at the interpreter's end and in a fork.
- `flight_recorder`: `FlightRecorder`, its samplers that follow one another, and dumps.
"""
