"""
A folder of dumps: so many files and bytes at the most, the oldest go first.
"""

from __future__ import annotations

import errno
import os
import re
import time
from contextlib import suppress

from fgtrace._options.options import FORMATS

__all__ = ["Dumps"]

#: ``20261124T221500.123Z-blocked.pftrace``; what a killed process left behind counts as well.
_NAME = re.compile(r"\d{8}T\d{6}\.\d{3}Z-[a-z]+(-\d+)?\.[a-z.]+")


class Dumps:
    """
    The folder. Files that are not of our making are left alone.

    Args:
        folder: it need not be there yet.
        max_files, max_bytes: what may be in it.
        format: of the files.
    """

    def __init__(self, folder: str, *, max_files: int, max_bytes: int, format_: str) -> None:
        self.folder = os.path.abspath(folder)  # the program may change directory meanwhile
        self._max_files = max_files
        self._max_bytes = max_bytes
        self._suffix = FORMATS[format_][0]

    def obstacle(self) -> OSError | None:
        """
        Why no dump could be written here now, as far as that can be told without making anything.
        """
        place = self.folder
        while not os.path.lexists(place):
            place = os.path.dirname(place)
        is_folder = os.path.isdir(place)
        if is_folder and os.access(place, os.W_OK | os.X_OK):
            return None
        code = errno.EACCES if is_folder else errno.ENOTDIR
        return OSError(code, os.strerror(code), place)

    def new(self, reason: str, now: float) -> str:
        """
        The path of a dump that is to be written; the folder is there then.

        Args:
            reason: a word.
            now: the time of day, seconds since 1970.

        Raises:
            OSError: the folder cannot be made.
        """
        os.makedirs(self.folder, exist_ok=True)
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
        path = os.path.join(self.folder, f"{stamp}-{reason}")
        number = 2
        end = ""
        while os.path.exists(path + end + self._suffix):
            end, number = f"-{number}", number + 1
        return path + end + self._suffix

    def prune(self) -> list[str]:
        """
        Delete what is too much, the oldest first; the names of those are returned.
        """
        sizes = {}
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if _NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    sizes[entry.name] = entry.stat().st_size
        gone = []
        for name in sorted(sizes):  # that is by time
            if len(sizes) <= self._max_files and sum(sizes.values()) <= self._max_bytes:
                break
            with suppress(FileNotFoundError):  # another process keeps the same folder
                os.unlink(os.path.join(self.folder, name))
            del sizes[name]
            gone.append(name)
        return gone
