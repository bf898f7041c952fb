"""
SQL over one trace.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from ._engine import Engine, EngineError, Row

__all__ = ["TraceProcessor"]

#: What Perfetto could not make sense of, or dropped. A damaged trace loads without any other sign.
_ERRORS = (
    "select name, idx, severity, value from stats where value != 0 and severity != 'info' order by name, idx"
)


class TraceProcessor:
    """
    SQL over one trace, by the real Perfetto.

        with TraceProcessor("trace.json") as tp:
            tp.rows("select name, ts, dur from slice")

    Args:
        trace: a path, or the bytes themselves; any format that Perfetto reads, gzip included.
        engine: an engine to use instead of a new one. It forgets the trace that it held, and it
            is not closed.

    Raises:
        EngineError: the trace is of no format that Perfetto knows.
    """

    def __init__(self, trace: str | os.PathLike[str] | bytes, *, engine: Engine | None = None) -> None:
        data = trace if isinstance(trace, bytes) else Path(trace).read_bytes()
        self._engine = engine or Engine()
        self._is_own = engine is None
        try:
            self._engine.load(data)
        except BaseException:
            self.close()
            raise
        self._turn = self._engine.turn

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def rows(self, sql: str) -> list[Row]:
        """
        The rows of a query: column name -> value.

        Raises:
            EngineError: the query is wrong, or a shared engine holds another trace by now.
        """
        if self._engine.turn != self._turn:
            raise EngineError("the engine was given another trace since")
        return self._engine.query(sql)

    def errors(self) -> list[Row]:
        """
        Every import error and data loss that Perfetto counted: empty for a valid trace.
        """
        return self.rows(_ERRORS)

    def close(self) -> None:
        """
        End the process, unless it belongs to somebody else.
        """
        if self._is_own:
            self._engine.close()
