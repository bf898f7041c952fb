"""
The timeline: a recording in, slices out.

The rule of this room: it computes what a viewer shows from a recording that is complete. It knows no clock,
no thread and no file format.

- `timeline`: `Timeline`, what an encoder reads. Start here.
- `slice_builder`: where a slice is made: the stacks of one track, by time, become slices.
- `stack_resolver`: the names, lines and state of a stack, and which of the tracer's own frames are left out.
- `tracks`: the tracks in display order, and what they are called.
- `request_slices`: the slices of requests around those of the tasks that serve them.
- `exact_timeline`, `exact_builders`, `step_stacks`, `wakers`: the same with exact awaits, from steps instead
  of samples: the merge by time; what each kind of track shows; what a step shows; what woke a task.
- `identical_tasks`, `lanes`: what makes very many tasks few tracks in a file.

A new kind of slice: of a track that exists, in the builder of that track; with a track of its own, in
`tracks` and `timeline`, too.
"""
