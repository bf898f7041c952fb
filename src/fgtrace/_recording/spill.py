"""
A temporary file that takes what a recording cannot keep in memory, and gives it back in order.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from typing import Any

__all__ = ["Spill", "in_blocks"]


class Spill:
    """
    Numbers that were moved out of memory; there is no file until the first ones are. A copy reads the same
    file, as far as it was written then.

    Attributes:
        size: bytes that are in the file.
    """

    def __init__(self) -> None:
        self.size = 0
        self._file: Any = None  # a raw file

    def write(self, numbers: array[int]) -> None:
        """
        Put these behind those that are there.

        Raises:
            OSError: no room; nothing was added.
        """
        if not numbers:
            return
        if self._file is None:
            import tempfile  # costs 10 ms to import, and few traces need it

            # not a `with`: it lives as long as the recording
            self._file = tempfile.TemporaryFile(prefix="fgtrace-", buffering=0)  # noqa: SIM115
        self._file.seek(self.size)
        with memoryview(numbers) as whole, whole.cast("B") as view:
            done = 0
            while done < len(view):
                done += self._file.write(view[done:])
        self.size += done  # only now: what was written in part does not count

    def blocks(self, length: int) -> Iterator[bytes]:
        """
        All of it, in blocks of so many bytes; the last may be shorter.
        """
        for start in range(0, self.size, length):
            yield self.read(start, min(start + length, self.size))

    def read(self, start: int, end: int) -> bytes:
        """
        What lies between two places.
        """
        found = b""
        while self._file is not None and start + len(found) < end:
            found += _read_at(self._file, start + len(found), end - start - len(found))
        return found

    def close(self) -> None:
        """
        Give back the file, if there is one.
        """
        if self._file is not None:
            self._file.close()
            self._file = None


def _read_at(file: Any, place: int, length: int) -> bytes:
    """
    Up to so many bytes from a place. Where the system can, without moving where others write.
    """
    if hasattr(os, "pread"):
        return os.pread(file.fileno(), length, place)
    file.seek(place)
    found: bytes = file.read(length)
    return found


def in_blocks(numbers: array[int], length: int) -> Iterator[bytes]:
    """
    The same numbers as they are in memory, in blocks of so many bytes.
    """
    count = length // numbers.itemsize
    for start in range(0, len(numbers), count):
        yield numbers[start : start + count].tobytes()
