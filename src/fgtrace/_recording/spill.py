"""
A temporary file for the numbers of a recording that memory cannot keep; they come back in order.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from typing import Any

__all__ = ["Spill", "in_blocks"]


class Spill:
    """
    Append numbers to a temporary file, which is made when the first ones come. A copy of a `Spill` reads the
    same file, as far as it was written when the copy was made.

    Attributes:
        size: the bytes that are in the file.
    """

    def __init__(self) -> None:
        self.size = 0
        self._file: Any = None  # a raw file

    def write(self, numbers: array[int]) -> None:
        """
        Append numbers, 8 bytes each.

        Raises:
            OSError: there is no room; nothing counts as appended.
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
        Yield all that was written, in blocks of ``length`` bytes; the last one may be shorter.
        """
        for start in range(0, self.size, length):
            yield self.read(start, min(start + length, self.size))

    def read(self, start: int, end: int) -> bytes:
        """
        Return the bytes between two offsets; fewer where the file ends before.
        """
        found = b""
        while self._file is not None and start + len(found) < end:
            found += _read_at(self._file, start + len(found), end - start - len(found))
        return found

    def close(self) -> None:
        """
        Delete the temporary file, if there is one.
        """
        if self._file is not None:
            self._file.close()
            self._file = None


def _read_at(file: Any, place: int, length: int) -> bytes:
    """
    Return up to ``length`` bytes from an offset. Where the system has ``pread``, the place at which other
    copies write does not move.
    """
    if hasattr(os, "pread"):
        return os.pread(file.fileno(), length, place)
    file.seek(place)
    found: bytes = file.read(length)
    return found


def in_blocks(numbers: array[int], length: int) -> Iterator[bytes]:
    """
    Yield numbers as the bytes that they are in memory, in blocks of ``length`` bytes; the last one may be
    shorter.
    """
    count = length // numbers.itemsize
    for start in range(0, len(numbers), count):
        yield numbers[start : start + count].tobytes()
