"""
The bytes of a file in chunks, unpacked where the file is packed.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from typing import IO, TypeAlias

from fgtrace._formats.read.trace_file import BadTrace

__all__ = ["CHUNK", "file_chunks"]

#: Bytes of a chunk.
CHUNK = 1 << 20
#: Bytes beyond which a packed file may not grow.
LARGEST = 16 * 1024**3

#: Called with the bytes that were read and their total.
ReadProgress: TypeAlias = Callable[[int, int], None]


def file_chunks(file: IO[bytes], progress: ReadProgress | None = None) -> Iterator[bytes]:
    """
    Yield the chunks of a file.

    Args:
        file: from its start.
        progress: called with how much of the file, packed as it is, was read.

    Raises:
        OSError: the file cannot be read.
        BadTrace: the gzip data are broken, or too large.
    """
    total = os.fstat(file.fileno()).st_size
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    for chunk in _unpacked(file) if packed else iter(lambda: file.read(CHUNK), b""):
        yield chunk
        if progress is not None:
            progress(min(file.tell(), total), total)


def _unpacked(file: IO[bytes]) -> Iterator[bytes]:
    size = 0
    try:
        with gzip.GzipFile(fileobj=file) as plain:
            while chunk := plain.read(CHUNK):
                yield chunk
                size += len(chunk)
                if size > LARGEST:
                    raise BadTrace(f"the gzip data hold more than {LARGEST >> 30} GiB")
    except (zlib.error, gzip.BadGzipFile) as error:
        raise BadTrace(f"broken gzip data: {error}") from error
    except EOFError as error:
        raise BadTrace("the gzip data end too early") from error
