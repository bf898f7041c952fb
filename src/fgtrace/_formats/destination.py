"""
The destination of a trace: a file that becomes whole at once, or a file object of the program's.

A file is written as ``<path>.partial`` beside its path, and renamed when it is whole. The partial file is
made when the trace starts, as a placeholder that says so. So a program that is killed leaves the last whole
file untouched, and a note that another trace was under way. A path that is no regular file (a pipe,
``/dev/null``) is written directly.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, Protocol

from fgtrace._options.options import GZIPPED, Destination
from fgtrace.errors import SinkError

__all__ = ["FileSink", "Sink", "make_sink", "packing"]

PARTIAL = ".partial"
_PLACEHOLDER = (
    b'{"traceEvents":[],"metadata":{"fgtrace":'
    b'{"complete":false,"note":"a trace was under way and did not end"}}}\n'
)


class Sink(Protocol):
    """
    Writes a trace's bytes to its destination.
    """

    def begin(self) -> SinkError | None:
        """
        Prepare for a trace that starts. An error is returned, not raised; if the obstacle is still there when
        the trace ends, `write` raises.
        """

    def write(self, chunks: Iterable[bytes]) -> None:
        """
        Write the whole trace.

        Raises:
            SinkError: with the cause; no half-written file is left under the final name.
        """

    def abandon(self) -> None:
        """
        Leave nothing behind, as there will be no trace.
        """


class FileSink:
    """
    Writes to a path.
    """

    def __init__(self, path: str, *, compress: bool = False) -> None:
        self._given = path
        self._path = os.path.abspath(path)  # the program may change directory meanwhile
        self._compress = compress
        self._direct = _is_special(self._path)
        self._partial = self._path if self._direct else self._path + PARTIAL

    def begin(self) -> SinkError | None:
        if self._direct:
            return None
        try:
            if os.path.isdir(self._path):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self._path)
            with open(self._partial, "wb") as file:
                file.write(_PLACEHOLDER)
        except OSError as error:
            return SinkError(self._given, error)
        return None

    def write(self, chunks: Iterable[bytes]) -> None:
        self.write_with(lambda file: _write(file, chunks, compress=self._compress))

    def write_with(self, write: Callable[[IO[bytes]], object]) -> None:
        """
        Write the whole trace, like `write`; the function does it, and compresses the bytes if that is wanted.
        """
        try:
            with open(self._partial, "wb") as file:
                write(file)
            if not self._direct:
                os.replace(self._partial, self._path)
        except OSError as error:
            self.abandon()
            raise SinkError(self._given, error) from error
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        if not self._direct:
            with suppress(OSError):
                os.unlink(self._partial)


class ObjectSink:
    """
    Writes to a binary file object, and never closes it.
    """

    def __init__(self, file: IO[bytes], *, compress: bool) -> None:
        self._file = file
        self._compress = compress

    def begin(self) -> None:
        return None

    def write(self, chunks: Iterable[bytes]) -> None:
        target = _Guarded(self._file)
        _write(target, chunks, compress=self._compress)
        flush = getattr(self._file, "flush", None)
        if callable(flush):
            target.call(flush)

    def abandon(self) -> None:
        pass


class _Guarded(io.RawIOBase):
    """
    A file object of the program's: whatever it raises becomes a `SinkError`, and a short write is continued.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        rest = memoryview(data)
        while rest:
            written = self.call(self._file.write, bytes(rest))
            rest = rest[written if isinstance(written, int) and written > 0 else len(rest) :]
        return len(data)

    def call(self, function: object, *args: object) -> object:
        try:
            return function(*args)  # type: ignore[operator]
        except Exception as error:
            raise SinkError(getattr(self._file, "name", self._file), error) from error


def _write(file: IO[bytes] | _Guarded, chunks: Iterable[bytes], *, compress: bool) -> None:
    with packing(file, compress=compress) as target:
        for chunk in chunks:
            target.write(chunk)


@contextmanager
def packing(file: Any, *, compress: bool) -> Iterator[IO[bytes]]:
    """
    Yield the file to write to: the given one, or a file that packs into it.
    """
    if not compress:
        yield file
        return
    import gzip  # costs 5 ms to import

    # no time and no name inside: the same trace gives the same bytes
    with gzip.GzipFile(filename="", mode="wb", compresslevel=3, fileobj=file, mtime=0) as packed:
        yield packed  # type: ignore[misc]  # it is one in all but name


def _is_special(path: str) -> bool:
    try:
        return not stat.S_ISREG(os.stat(path).st_mode) and not os.path.isdir(path)
    except OSError:
        return False


def make_sink(dst: Destination, format_: str) -> Sink:
    """
    Return the sink for a destination.
    """
    compress = format_ in GZIPPED
    if isinstance(dst, (str, os.PathLike)):
        return FileSink(os.fspath(dst), compress=compress)
    return ObjectSink(dst, compress=compress)
