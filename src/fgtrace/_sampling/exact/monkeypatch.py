"""
Methods of the standard library that are exchanged while a trace runs.

Another tool may have wrapped the method before us: that wrapper is called. Another tool may wrap ours: then
ours stays where it is after the last trace has ended, and does nothing. It is not put there a second time,
for it could call itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

__all__ = ["Patch", "forget_patches"]

_all: list[Patch] = []


class Patch:
    """
    Exchange one method while it is wanted, and count by how many.

    Args:
        owner: the class.
        name: the method.
        inherits: whether the class may inherit the method; else it must define it.
    """

    def __init__(self, owner: type, name: str, *, inherits: bool = False) -> None:
        self._owner = owner
        self._name = name
        self._inherited = getattr(owner, name, None) if inherits and name not in owner.__dict__ else None
        self._lock = threading.Lock()
        self._wanted = 0
        self._before: Any = None
        self._ours: Any = None
        _all.append(self)

    def apply(self, make: Callable[[Any], Any]) -> bool:
        """
        Exchange the method, unless it is exchanged already.

        Args:
            make: is given the method that was there, and returns the one that takes its place.

        Returns:
            False, with nothing done, where another tool's wrapper lies over ours, or the class has no such
            method.
        """
        with self._lock:
            there = self._owner.__dict__.get(self._name, self._inherited)
            if there is None or (
                self._ours is not None and there is not self._ours and there is not self._before
            ):
                return False
            if self._ours is None:
                self._before, self._ours = there, make(there)
            if there is not self._ours:
                setattr(self._owner, self._name, self._ours)
            self._wanted += 1
        return True

    def revert(self) -> None:
        """
        Undo one `apply`; with the last one the method is put back that was there.
        """
        with self._lock:
            self._wanted -= 1
            if self._wanted == 0:
                self._restore()

    def forget(self) -> None:
        """
        Put the method back in the child of a fork, which is not traced.
        """
        self._lock = threading.Lock()  # a thread that is not in this process may hold the old one
        if self._wanted:
            self._wanted = 0
            self._restore()

    def _restore(self) -> None:
        there = self._owner.__dict__.get(self._name, self._inherited)
        if there is self._ours and self._before is self._inherited:
            delattr(self._owner, self._name)
        elif there is self._ours:
            setattr(self._owner, self._name, self._before)
        if there is self._ours or there is self._before:
            self._before = self._ours = None


def forget_patches() -> None:
    """
    Put all methods back in the child of a fork.
    """
    for patch in _all:
        patch.forget()
