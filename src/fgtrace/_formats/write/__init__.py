"""
The encoders: slices in, bytes out, one format a module.

An encoder belongs to one trace, is pure, and streams: it yields the file piece by piece.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fgtrace._model.drawing import Drawing
from fgtrace._timeline.lanes import with_lanes

__all__ = ["MODULES", "VIEWERS", "Encoder", "encoder_of"]

#: (what to write, metadata) -> the pieces of the file.
Encoder = Callable[[Drawing, Mapping[str, Any]], Iterator[bytes]]

#: Format name -> the module that writes it. Compression is the sink's.
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


#: Formats that add up what they are given, whatever the track: lanes would only be in the way.
SUMS = frozenset({"folded", "pprof"})


def encoder_of(format_: str, tracks: str = "task") -> Encoder:
    """
    The encoder of a format; imported now, for a trace needs one of them.

    Args:
        format_: its name.
        tracks: whether tasks share tracks: see `fgtrace.Config`.
    """
    encode: Encoder = importlib.import_module(f"{__name__}.{MODULES[format_]}").encode
    if tracks == "task" or format_ in SUMS:
        return encode
    return lambda drawing, metadata: encode(with_lanes(drawing, tracks), metadata)
