"""
Begins and ends added up: for how long each stack was there by itself, which is what a flame graph shows.

What is kept grows with the number of different stacks, not with the trace.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

from fgtrace._model.drawing import BeginEnd
from fgtrace._model.values import Frame, Track

__all__ = ["StackTime", "Stacks"]

#: Begins and ends that are added in one go.
CHUNK = 1000

F = TypeVar("F", bound=Hashable)
R = TypeVar("R", bound=Hashable)


class StackTime(NamedTuple, Generic[R, F]):
    """
    A stack: under which root, its frames from the outermost on, and its own time (ns).
    """

    root: R
    frames: list[F]
    time: int


class Stacks(Generic[R, F]):
    """
    A tree of stacks; what is the same by these two functions is added up.

    Args:
        root: what a track counts under; None: it does not count.
        face: what a frame counts as.
    """

    def __init__(self, root: Callable[[Track], R | None], face: Callable[[Frame], F]) -> None:
        self._root = root
        self._face = face
        self._faces: dict[int, tuple[int, Frame]] = {}
        self._numbers: dict[F, int] = {}
        self._roots: dict[R, int] = {}
        self._children: dict[tuple[int, int], int] = {}
        self._parents = array("q")
        self._kinds = array("q")  # of a root -1, else the number of its face
        self._times = array("q")
        self._places: dict[int, tuple[int, int]] = {}  # track id -> its node, and since when
        self._left_out: set[int] = set()
        self._added = 0

    def add_all(self, begins_and_ends: Iterator[BeginEnd]) -> Iterator[bytes]:
        """
        Add the begins and ends of a trace; after each millisecond's work there is an empty piece.
        """
        before = -1
        while before != self._added:
            before = self._added
            self._add(islice(begins_and_ends, CHUNK))
            yield b""

    def _add(self, begins_and_ends: Iterable[BeginEnd]) -> None:
        times, parents, children, faces = self._times, self._parents, self._children, self._faces
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
                face = (faces.get(id(frame)) or self._face_of(frame))[0]
                key = (node, face)
                node = children.get(key, -1)
                if node < 0:
                    node = children[key] = self._new(key[0], face)
            places[number] = node, time

    def _root_of(self, root: R) -> int:
        found = self._roots.get(root)
        if found is None:
            found = self._roots[root] = self._new(-1, -1)
        return found

    def _face_of(self, frame: Frame) -> tuple[int, Frame]:
        number = self._numbers.setdefault(self._face(frame), len(self._numbers))
        found = self._faces[id(frame)] = number, frame  # the frame stays, and so its id
        return found

    def _new(self, parent: int, kind: int) -> int:
        self._parents.append(parent)
        self._kinds.append(kind)
        self._times.append(0)
        return len(self._times) - 1

    def rows(self) -> Iterator[StackTime[R, F]]:
        """
        All stacks that had time of their own, in the order in which they were first seen.
        """
        roots = {node: root for root, node in self._roots.items()}
        faces = list(self._numbers)
        for node, time in enumerate(self._times):
            if time <= 0 or node in roots:
                continue
            frames = []
            while node not in roots:
                frames.append(faces[self._kinds[node]])
                node = self._parents[node]  # noqa: PLW2901 -- up to the root
            yield StackTime(roots[node], frames[::-1], time)
