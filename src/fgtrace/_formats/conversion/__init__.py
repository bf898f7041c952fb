"""
Conversion: an existing trace in another format, whole (``convert.py``) or a part of it (``selection.py``).

Rules: a conversion streams, and holds no slice longer than its encoder does; a selection by state reads all
slices once before. A further way to select goes into `Selection`, with an option of ``fgtrace convert``.
"""
