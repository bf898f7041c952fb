"""
Where bytes go: a file that becomes whole at once, or somebody else's file object.

A path is written as ``<path>.partial`` beside itself and renamed when it is whole. That file is
made when the trace starts and says so, so a program that is killed leaves the last whole file
untouched and a note that another was under way. A path that is no regular file (a pipe,
``/dev/null``) is written as it is.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, Protocol

from fgtrace._options.options import PACKED, Destination
from fgtrace.errors import SinkError

__all__ = ["FileSink", "Sink", "make_sink", "packing"]

PARTIAL = ".partial"
_NOTE = (
    b'{"traceEvents":[],"metadata":{"fgtrace":'
    b'{"complete":false,"note":"a trace was under way and did not end"}}}\n'
)


class Sink(Protocol):
    """
    Takes a trace's bytes.
    """

    def begin(self) -> SinkError | None:
        """
        The trace starts. Never raises: what stands in the way now is returned, and what still does at the
        trace's end comes out of `write`.
        """

    def write(self, pieces: Iterable[bytes]) -> None:
        """
        Write the whole trace.

        Raises:
            SinkError: with the cause; nothing half-written stands under the final name.
        """

    def abandon(self) -> None:
        """
        There will be no trace; leave nothing behind.
        """


class FileSink:
    """
    A path.
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
                file.write(_NOTE)
        except OSError as error:
            return SinkError(self._given, error)
        return None

    def write(self, pieces: Iterable[bytes]) -> None:
        self.fill(lambda file: _write(file, pieces, compress=self._compress))

    def fill(self, write: Callable[[IO[bytes]], object]) -> None:
        """
        As `write`, by somebody who writes all of the file, and packs it if it is to be.
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
    A binary file object: written, never closed.
    """

    def __init__(self, file: IO[bytes], *, compress: bool) -> None:
        self._file = file
        self._compress = compress

    def begin(self) -> None:
        return None

    def write(self, pieces: Iterable[bytes]) -> None:
        target = _Guarded(self._file)
        _write(target, pieces, compress=self._compress)
        flush = getattr(self._file, "flush", None)
        if callable(flush):
            target.call(flush)

    def abandon(self) -> None:
        pass


class _Guarded(io.RawIOBase):
    """
    Somebody else's file object: whatever it raises is a `SinkError`, and a short write goes on.
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


def _write(file: IO[bytes] | _Guarded, pieces: Iterable[bytes], *, compress: bool) -> None:
    with packing(file, compress=compress) as target:
        for piece in pieces:
            target.write(piece)


@contextmanager
def packing(file: Any, *, compress: bool) -> Iterator[IO[bytes]]:
    """
    What to write to: the file itself, or what packs it into the file.
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
    The sink for a destination.
    """
    compress = format_ in PACKED
    if isinstance(dst, (str, os.PathLike)):
        return FileSink(os.fspath(dst), compress=compress)
    return ObjectSink(dst, compress=compress)
