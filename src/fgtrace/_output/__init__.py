"""
Output: from a captured trace to the bytes of its file, in this process or in a writer process.

- ``captured_trace.py``: a recording that is complete, with the options and the metadata of its file.
- ``metadata.py``: what the file says of the trace. A new fact goes in there, and into ``docs/formats.md``.
- ``writer_process.py`` writes the file in a process of its own, to which ``transfer.py`` moves the recording.
- ``pacing.py``, ``side_threads.py``: a thread that writes in the program's own process, and lets the program
  work.
- ``live_report.py``: the report of a trace without its file.

Rules: a captured trace is never changed, and may be written several times; the program's priorities, signals
and sockets are left alone.
"""
