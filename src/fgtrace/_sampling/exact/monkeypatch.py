"""
Methods of the standard library that a trace exchanges while it runs: put, counted, and taken back.

Somebody else may have wrapped the method before us: that wrapper is called. Somebody may wrap ours:
then it stays where it is after the last trace has ended, and does nothing; and it is not put a second
time, for it could call itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

__all__ = ["Patch", "forget_patches"]

_all: list[Patch] = []


class Patch:
    """
    One method that is exchanged while anybody wants it.

    Args:
        owner: the class.
        name: the method.
        inherits: the class need not define it itself.
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

    def put(self, make: Callable[[Any], Any]) -> bool:
        """
        Exchange it, if that was not done yet.

        Args:
            make: what was there before -> what stands for it.

        Returns:
            False, with nothing done, where somebody's wrapper lies over ours, or the class has no
            such method of its own.
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

    def take_back(self) -> None:
        """
        One that had it put needs it no more; with the last one what was there is put back.
        """
        with self._lock:
            self._wanted -= 1
            if self._wanted == 0:
                self._restore()

    def forget(self) -> None:
        """
        In the child of a fork, where nothing is traced: nobody needs it.
        """
        self._lock = threading.Lock()  # another thread may have held it, and that one is not here
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
    In the child of a fork: all methods are as they were.
    """
    for patch in _all:
        patch.forget()
