"""
Names the files of dumps in a folder, and deletes the oldest where they are too many or too large.
"""

from __future__ import annotations

import errno
import os
import re
import time
from contextlib import suppress

from fgtrace._options.options import FORMATS

__all__ = ["DumpFolder"]

#: ``20261124T221500.123Z-blocked.pftrace``; a partial file that a killed process left counts as well.
_NAME = re.compile(r"\d{8}T\d{6}\.\d{3}Z-[a-z]+(-\d+)?\.[a-z.]+")


class DumpFolder:
    """
    A folder of dumps, in which other files are left alone.

    Args:
        folder: its path; the folder need not exist.
        max_files, max_bytes: how many dumps are kept, and their size together.
        format: of the files.
    """

    def __init__(self, folder: str, *, max_files: int, max_bytes: int, format_: str) -> None:
        self.folder = os.path.abspath(folder)  # the program may change directory meanwhile
        self._max_files = max_files
        self._max_bytes = max_bytes
        self._suffix = FORMATS[format_][0]

    def obstacle(self) -> OSError | None:
        """
        Return why no dump could be written now, as far as that shows without making a file; None: unknown.
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
        Return the path for a new dump, and make the folder if it does not exist.

        Args:
            reason: the word for the file's name.
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
        Delete the oldest dumps until the rest is within the limits, and return the names of the deleted.
        """
        sizes = {}
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if _NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    sizes[entry.name] = entry.stat().st_size
        gone = []
        for name in sorted(sizes):  # which is by time
            if len(sizes) <= self._max_files and sum(sizes.values()) <= self._max_bytes:
                break
            with suppress(FileNotFoundError):  # another process keeps the same folder
                os.unlink(os.path.join(self.folder, name))
            del sizes[name]
            gone.append(name)
        return gone
