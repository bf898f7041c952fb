"""
A captured trace: a recording that is complete, with all else that a file of it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from fgtrace._formats.write import encoder_of
from fgtrace._options.options import Options
from fgtrace._recording.recording import Recording
from fgtrace._timeline.timeline import Timeline

__all__ = ["CapturedTrace"]


class CapturedTrace(NamedTuple):
    """
    What was captured, and how it is to be shown.

    ``end``: of the recording, ns on its clock. ``pid``: the process that was traced. ``about``: what the
    file says of the trace.
    """

    recording: Recording
    options: Options
    end: int
    pid: int
    about: dict[str, Any]

    @property
    def format(self) -> str:
        """
        The format that is wanted.
        """
        return str(self.options.effective_format)

    def timeline(self) -> Timeline:
        """
        What a viewer draws of it.
        """
        return Timeline(self.recording, self.options, self.end, self.pid)

    def pieces(self, progress: Callable[[int, int], None] | None = None) -> Iterator[bytes]:
        """
        The file, piece by piece.

        Args:
            progress: called with the observations drawn and their total, now and then.
        """
        timeline = self.timeline()
        if progress is not None:
            timeline.on_progress(progress)
        yield from encoder_of(self.format, self.options.tracks)(timeline, self.about)
