"""
What the real Perfetto makes of a trace, for tests: see `TraceProcessor` and `assert_valid_trace`.
"""

from __future__ import annotations

from ._engine import Engine, EngineError, bundled_ui, node
from ._processor import TraceProcessor
from ._valid import Lives, assert_valid_trace, faults

__all__ = [
    "Engine",
    "EngineError",
    "Lives",
    "TraceProcessor",
    "assert_valid_trace",
    "bundled_ui",
    "faults",
    "node",
]
