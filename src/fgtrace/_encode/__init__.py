"""
The encoders: slices in, bytes out, one format a module.

An encoder belongs to one trace, is pure, and streams: it yields the file piece by piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fgtrace._encode.trace_event import encode as trace_event
from fgtrace._timeline import Timeline

__all__ = ["ENCODERS", "Encoder"]

#: (timeline, metadata) -> the pieces of the file.
Encoder = Callable[[Timeline, Mapping[str, Any]], Iterator[bytes]]

#: Format name -> its encoder. Compression is the sink's.
ENCODERS: dict[str, Encoder] = {
    "json": trace_event,
    "json.gz": trace_event,
}
