"""
The collectors: each looks at one kind of track and notes in the recording what changed.

A collector is hot code (see `fgtrace._recording.recording`): it runs under the GIL while the program
stands still. It calls no user code, builds no strings, and holds no strong reference beyond its
look.
"""

from __future__ import annotations

from types import FrameType
from typing import Protocol

__all__ = ["Collector"]


class Collector(Protocol):
    """
    One kind of track.
    """

    name: str

    def sample(self, now: int, frames: dict[int, FrameType]) -> None:
        """
        Note what changed.

        Args:
            now: the time to note, ns on the trace's clock.
            frames: ``sys._current_frames()`` of this tick.
        """

    def close(self, now: int) -> None:
        """
        The trace ends: read what is wanted of tracks that still live.
        """
