"""
A recording that several threads fill: the sampler's thread, and the threads whose loops note their own steps.

A row is appended by one call of C and needs no lock. A table that grows does need one, since two threads may
meet the same new stack at once. Tables grow rarely, so the lock is taken only there.
"""

from __future__ import annotations

import threading

from fgtrace._model.values import Waiter
from fgtrace._recording.recording import CallbackEntry, CodeEntry, LoopEntry, Recording, TrackEntry

__all__ = ["LockedRecording"]


class LockedRecording(Recording):
    """
    Hold the observations of one trace that several threads make.

    A thread that holds the lock must not run code that wants the lock as well: a finalizer or a signal
    handler that notes something would wait for itself. `fgtrace._sampling.exact.collector` sees to that.

    Args:
        max_memory: bytes, see `Recording`.
    """

    def __init__(self, max_memory: int) -> None:
        super().__init__(max_memory)
        self._lock = threading.Lock()

    def intern_waiter(self, waiter: Waiter) -> int:
        with self._lock:
            return super().intern_waiter(waiter)

    def add_track(self, entry: TrackEntry) -> int:
        with self._lock:
            return super().add_track(entry)

    def add_callback(self, entry: CallbackEntry) -> int:
        with self._lock:
            return super().add_callback(entry)

    def add_loop(self, entry: LoopEntry) -> int:
        with self._lock:
            return super().add_loop(entry)

    def _add_code(self, key: object, entry: CodeEntry) -> int:
        with self._lock:
            found = self._code_ids.get(key)
            return super()._add_code(key, entry) if found is None else found

    def _add_node(self, key: int, parent: int, element: int) -> int:
        with self._lock:
            found = self._nodes.get(key)
            return super()._add_node(key, parent, element) if found is None else found
