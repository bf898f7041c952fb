"""
Sums of time by stack: how long each stack was there by itself, which is what a flame graph shows.

Memory grows with the number of different stacks, not with the trace.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

from fgtrace._model.drawing import BeginEnd
from fgtrace._model.values import Frame, Track

__all__ = ["StackTime", "Stacks"]

#: Begins and ends that are added at once: a millisecond's work.
CHUNK = 1000

F = TypeVar("F", bound=Hashable)
R = TypeVar("R", bound=Hashable)


class StackTime(NamedTuple, Generic[R, F]):
    """
    A stack: its root, its frames from the outermost on, and its own time (ns).
    """

    root: R
    frames: list[F]
    time: int


class Stacks(Generic[R, F]):
    """
    A tree of stacks, with the sum of the time of those that are equal by these two functions.

    Args:
        root: returns the root of a track's stacks; None: the track does not count.
        frame_key: returns what a frame counts as.
    """

    def __init__(self, root: Callable[[Track], R | None], frame_key: Callable[[Frame], F]) -> None:
        self._root = root
        self._frame_key = frame_key
        self._known: dict[int, tuple[int, Frame]] = {}
        self._numbers: dict[F, int] = {}
        self._roots: dict[R, int] = {}
        self._children: dict[tuple[int, int], int] = {}
        self._parents = array("q")
        self._keys = array("q")  # node -> the number of its frame key; of a root -1
        self._times = array("q")
        self._places: dict[int, tuple[int, int]] = {}  # track id -> its node, and since when
        self._left_out: set[int] = set()
        self._added = 0

    def add_all(self, begins_and_ends: Iterator[BeginEnd]) -> Iterator[bytes]:
        """
        Add the begins and ends of a trace; yield an empty chunk after each millisecond's work.
        """
        before = -1
        while before != self._added:
            before = self._added
            self._add(islice(begins_and_ends, CHUNK))
            yield b""

    def _add(self, begins_and_ends: Iterable[BeginEnd]) -> None:
        times, parents, children, known = self._times, self._parents, self._children, self._known
        places, left_out = self._places, self._left_out
        for track, time, frame in begins_and_ends:
            self._added += 1
            number = track.id
            if number in left_out:
                continue
            place = places.get(number)
            if place is None:
                root = self._root(track)
                if root is None:
                    left_out.add(number)
                    continue
                node = self._root_of(root)
            else:
                node, since = place
                times[node] += time - since
            if frame is None:
                node = parents[node]
            else:
                key = (node, (known.get(id(frame)) or self._number_of(frame))[0])
                node = children.get(key, -1)
                if node < 0:
                    node = children[key] = self._new(*key)
            places[number] = node, time

    def _root_of(self, root: R) -> int:
        found = self._roots.get(root)
        if found is None:
            found = self._roots[root] = self._new(-1, -1)
        return found

    def _number_of(self, frame: Frame) -> tuple[int, Frame]:
        number = self._numbers.setdefault(self._frame_key(frame), len(self._numbers))
        found = self._known[id(frame)] = number, frame  # the frame stays, and so its id
        return found

    def _new(self, parent: int, key: int) -> int:
        self._parents.append(parent)
        self._keys.append(key)
        self._times.append(0)
        return len(self._times) - 1

    def times(self) -> Iterator[StackTime[R, F]]:
        """
        Yield all stacks that had time of their own, in the order in which they first came.
        """
        roots = {node: root for root, node in self._roots.items()}
        keys = list(self._numbers)
        for node, time in enumerate(self._times):
            if time <= 0 or node in roots:
                continue
            frames = []
            while node not in roots:
                frames.append(keys[self._keys[node]])
                node = self._parents[node]  # noqa: PLW2901 -- up to the root
            yield StackTime(roots[node], frames[::-1], time)
