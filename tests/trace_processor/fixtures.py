"""
Fixtures for a conftest: `from trace_processor.fixtures import ask_trace, trace_engine`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from ._engine import Engine
from ._processor import TraceProcessor

__all__ = ["AskTrace", "ask_trace", "trace_engine"]

#: What the fixture `ask_trace` is.
AskTrace = Callable[[str | os.PathLike[str] | bytes], TraceProcessor]


@pytest.fixture(scope="session")
def trace_engine() -> Iterator[Engine]:
    """
    One Perfetto engine for the whole test run: it takes one trace after the other.
    """
    with Engine() as engine:
        yield engine


@pytest.fixture
def ask_trace(trace_engine: Engine) -> AskTrace:
    """
    A function from a trace (path or bytes) to its `TraceProcessor`, on the shared engine.

    The one before it can no longer be asked: for two traces side by side, open `TraceProcessor`s.
    """
    return lambda trace: TraceProcessor(trace, engine=trace_engine)
