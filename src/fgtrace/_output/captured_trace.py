"""
A captured trace: a recording that is complete, with all that a file of it needs.
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
    A captured trace.

    Attributes:
        recording: what was recorded.
        options: those of the trace.
        end: the recording's end, ns on its clock.
        pid: the process that was traced.
        about: the metadata of the file.
    """

    recording: Recording
    options: Options
    end: int
    pid: int
    about: dict[str, Any]

    @property
    def format(self) -> str:
        """
        The format of the file.
        """
        return str(self.options.effective_format)

    def timeline(self) -> Timeline:
        """
        Return the timeline: what a viewer draws.
        """
        return Timeline(self.recording, self.options, self.end, self.pid)

    def chunks(self, progress: Callable[[int, int], None] | None = None) -> Iterator[bytes]:
        """
        Yield the file in chunks.

        Args:
            progress: called now and then with the observations that were drawn and their total.
        """
        timeline = self.timeline()
        if progress is not None:
            timeline.on_progress(progress)
        yield from encoder_of(self.format, self.options.tracks)(timeline, self.about)
