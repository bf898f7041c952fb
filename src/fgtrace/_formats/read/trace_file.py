"""
A trace file that was read: a drawing, as an encoder gets it, with its metadata.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator
from typing import Any, Self

from fgtrace._formats.read.slice_store import SliceStore
from fgtrace._model.drawing import BeginEnd, begins_and_ends_by_track
from fgtrace._model.values import Counter, Flow, Instant, Slice, Track
from fgtrace._timeline.identical_tasks import MOST_OBSERVATIONS

__all__ = ["BadTrace", "TraceFile"]


class BadTrace(ValueError):  # noqa: N818 -- it becomes a `TraceFormatError`
    """
    The file is no trace that can be read.

    Args:
        reason: what is wrong.
        pos: where, in bytes from the start of the (unpacked) file; None: not known.
    """

    def __init__(self, reason: str, pos: int | None = None) -> None:
        super().__init__(reason)
        self.pos = pos


class TraceFile:
    """
    The content of a file. It is a `fgtrace._model.drawing.Drawing`, so it can be written again.

    Slices come from a temporary file where they are many, as often as one likes.

    Args:
        store: what was read.
        rows: the rows in display order.
        metadata: as in the file.

    Attributes:
        tracks: in display order.
        metadata: as in the file.
        count: how many slices there are.
        store: as given.
    """

    def __init__(self, store: SliceStore, rows: list[int], metadata: dict[str, Any]) -> None:
        self.tracks: list[Track] = [store.tracks[row] for row in rows]
        self.metadata = metadata
        self.count = store.count
        self.store = store
        self._rows = sorted(rows, key=lambda row: (store.tracks[row].start, store.tracks[row].id))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """
        Delete the temporary files; the slices can no longer be read.
        """
        self.store.close()

    def identical_tasks(self) -> list[list[Track]]:
        """
        Return groups of tasks with equal slices; a task that changed often is in none.
        """
        groups: dict[Hashable, list[Track]] = defaultdict(list)
        rows = {self.store.tracks[row].id: row for row in self._rows}
        for track in self.tracks:
            digest = self.store.digest(rows[track.id], MOST_OBSERVATIONS) if track.kind == "task" else None
            if digest is not None:
                life = (track.pid, track.parent, track.level, track.start, track.end, track.args)
                groups[track.name.rpartition(" ")[2], life, digest].append(track)
        return [group for group in groups.values() if len(group) > 1]

    def slices(self) -> Iterator[Slice]:
        """
        Yield the slices track by track, those that began earlier first; of each by start, the outer ones
        first.
        """
        for row in self._rows:
            yield from self.store.slices(row)

    def begins_and_ends(self) -> Iterator[BeginEnd]:
        return begins_and_ends_by_track(self.slices())

    def flows(self) -> Iterator[Flow]:
        return self.store.flows()

    def counters(self) -> Iterator[Counter]:
        return self.store.counters()

    def instants(self) -> Iterator[Instant]:
        return self.store.instants()
