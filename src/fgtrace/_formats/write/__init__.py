"""
Encoders: slices in, bytes out, one format a module.

Rules: an encoder belongs to one trace and is pure (no clock, no file, no thread). It streams: it yields the
file in chunks of at most a millisecond's work, and an empty chunk where it has worked without a result.
Memory does not grow with the trace; what must wait goes into `fgtrace._formats.rows_by_track`.

To add a format:

1. Add its name and its suffixes to `FORMATS` in ``_options/options.py``, its name to `PACKED` there if it is
   compressed, and to `PROFILES` in ``_http/endpoints.py`` if ``/fgprof`` offers it.
2. Add a module with ``encode(drawing, metadata)``, an `Encoder`: it reads the slices of a `Drawing`, or their
   begins and ends, once, and then whatever else the format has a field for.
3. Add it to `MODULES`, with a description to `VIEWERS`, and to `SUMS` if it adds up times.
4. Pass every name of the program's through ``safe_text.py``. ``stacks.py`` has sums of time by stack,
   ``wire.py`` Protocol Buffers, ``metadata_facts.py`` the trace's start and rate.
5. Add a section to ``docs/formats.md``, and a test that has a real reader of the format read a file.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fgtrace._model.drawing import Drawing
from fgtrace._timeline.lanes import with_lanes

__all__ = ["MODULES", "VIEWERS", "Encoder", "encoder_of"]

#: (what to write, metadata) -> the chunks of the file.
Encoder = Callable[[Drawing, Mapping[str, Any]], Iterator[bytes]]

#: Format name -> the module that writes it. The sink compresses.
MODULES: dict[str, str] = {
    "json": "trace_event",
    "json.gz": "trace_event",
    "perfetto": "perfetto",
    "perfetto.gz": "perfetto",
    "speedscope": "speedscope",
    "folded": "folded",
    "pprof": "pprof",
    "firefox": "firefox",
    "firefox.gz": "firefox",
    "html": "html",
}

#: Format name -> what it is, and who reads it: docs/formats.md.
VIEWERS: dict[str, str] = {
    "json": "Trace Event Format: Perfetto UI, Chrome DevTools, speedscope; `fgtrace.load`",
    "perfetto": "Perfetto protobuf: Perfetto UI and trace_processor, tasks as a tree; a third of the size",
    "speedscope": "speedscope's own, a profile for each track: speedscope",
    "folded": "Collapsed stacks, ns of each stack's own time: flamegraph.pl, inferno, speedscope",
    "pprof": "pprof, wall-clock ns by stack with labels: `go tool pprof`, Pyroscope, Parca, speedscope",
    "firefox": "Firefox Profiler's own, a thread for each track, states as categories: profiler.firefox.com",
    "html": "A page with the viewer in it, one file that needs no network: any browser",
}


#: Formats that add up times, whatever the track: their tasks stay on tracks of their own.
SUMS = frozenset({"folded", "pprof"})


def encoder_of(format_: str, tracks: str = "task") -> Encoder:
    """
    Return the encoder of a format; it is imported now, since a trace needs one of them.

    Args:
        format_: its name.
        tracks: whether tasks share tracks: see `fgtrace.Config`.
    """
    encode: Encoder = importlib.import_module(f"{__name__}.{MODULES[format_]}").encode
    if tracks == "task" or format_ in SUMS:
        return encode
    return lambda drawing, metadata: encode(with_lanes(drawing, tracks), metadata)
