"""
fgtrace: a wall-clock tracer for Python.

One track for every thread and every asyncio task on one time axis, each task's whole await chain
at every moment, and the reason while it waits. The trace opens in the Perfetto UI.

    async with fgtrace.trace():
        await my_service()

What it is not: it does not count calls (a sampler sees what lasts), and it patches nothing, save some
methods of asyncio: while a trace has ``awaits="exact"`` or more than 2,000 tasks, or `install` watches.

PYTEST_DONT_REWRITE: the pytest plugin needs none of pytest's asserts, and without this word pytest warns
in `fgtrace run -m pytest`.
"""

from __future__ import annotations

from fgtrace._formats.read import load
from fgtrace._model.values import Frame, Slice, Track
from fgtrace._options.options import FORMATS
from fgtrace._sampling.stats import Stats
from fgtrace._session.flight_recorder import FlightRecorder, FlightStats
from fgtrace._session.trace import Config, Trace, trace
from fgtrace._version import __version__
from fgtrace.debug import install, uninstall
from fgtrace.errors import (
    ConfigError,
    FgtraceError,
    SinkError,
    TraceFormatError,
    TraceStateError,
    UnknownOptionError,
)
from fgtrace.jupyter import load_ipython_extension, unload_ipython_extension
from fgtrace.server import Server, serve

__all__ = [
    "FORMATS",
    "Config",
    "ConfigError",
    "FgtraceError",
    "FlightRecorder",
    "FlightStats",
    "Frame",
    "Server",
    "SinkError",
    "Slice",
    "Stats",
    "Trace",
    "TraceFormatError",
    "TraceStateError",
    "Track",
    "UnknownOptionError",
    "__version__",
    "install",
    "load",
    "load_ipython_extension",
    "serve",
    "trace",
    "uninstall",
    "unload_ipython_extension",
]
