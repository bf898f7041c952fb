"""
File formats: what readers and writers of trace files share.

- ``write/``: encoders. ``read/``: decoders. ``conversion/``: a file in another format, or a part of it. Each
  has a module for each format or task, and says how to add one.
- ``destination.py``: files that become whole at once, and file objects of the program's.
- ``rows_by_track.py``: rows of numbers by track, in a temporary file where they are many.
- ``perfetto_fields.py``: the numbers of Perfetto's fields, which its encoder and its decoder share.

Rule: encoders and decoders know slices and tracks, and nothing of how a trace was recorded.
"""
