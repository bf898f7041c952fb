"""
Runs of the garbage collector, noted so that a pause is not blamed on the code in which it fell.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

from fgtrace._model.values import Collection
from fgtrace._recording.recording import Recording

__all__ = ["GcCallback", "GcNotes", "forget_gc_callbacks"]

_watching: list[GcCallback] = []


class GcCallback:
    """
    Keep a callback in ``gc.callbacks``, from `start` to `stop`.

    Args:
        callback: is called as the module `gc` says.
    """

    def __init__(self, callback: Callable[[str, dict[str, Any]], object]) -> None:
        self._callback = callback

    def start(self) -> None:
        """
        Begin to call it.
        """
        gc.callbacks.append(self._callback)
        _watching.append(self)

    def stop(self) -> None:
        """
        Call it no more.
        """
        if self in _watching:
            _watching.remove(self)
            gc.callbacks[:] = [each for each in gc.callbacks if each is not self._callback]


class GcNotes:
    """
    Note each run of the garbage collector, as a callback of `gc`; the C core has one of its own.

    Args:
        recording: is filled.
        now: returns the time, ns on the trace's clock.
    """

    def __init__(self, recording: Recording, now: Callable[[], int]) -> None:
        self._recording = recording
        self._now = now
        self._began = -1

    def __call__(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._began = self._now()
        elif self._began >= 0:
            generation, collected = info.get("generation", 0), info.get("collected", 0)
            thread = threading.get_native_id()
            self._recording.note_collection(
                Collection(self._began, self._now(), thread, generation, collected)
            )
            self._began = -1


def forget_gc_callbacks() -> None:
    """
    Remove all callbacks in the child of a fork, which is not traced.
    """
    for watch in tuple(_watching):
        watch.stop()
