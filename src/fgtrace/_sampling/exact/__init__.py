"""
Exact awaits: every step of a task is noted as it begins and ends, by hooks in asyncio.

The rule of this room: its code runs in the program's threads, in the midst of their steps. It raises nothing
into them; what fails is unplugged. It may be interrupted by a finalizer or a signal handler that schedules
something, so it never waits for a lock that the same thread may hold.

- `collector`: `ExactTaskCollector`, the collector that notes steps in Python.
- `python_hooks`: the two methods of asyncio that are wrapped in Python. `core_hooks`: those that the C core
  replaces.
- `monkeypatch`: a method that is exchanged while it is wanted.
- `open_steps`: a step between its begin and its end. `callback_names`: what a callback of a loop is: a step
  of a task, or a function with a name.
"""
