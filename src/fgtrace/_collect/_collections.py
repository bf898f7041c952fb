"""
Notes the garbage collector's runs, so that a pause is not blamed on the code that it fell into.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

from fgtrace._model import Collection
from fgtrace._recording import Recording

__all__ = ["CollectionWatch", "forget_collections"]

_watching: list[CollectionWatch] = []


class CollectionWatch:
    """
    One entry in ``gc.callbacks``, from `start` to `stop`.

    Args:
        recording: where to.
        now: the time, ns on the trace's clock.
        callback: what is called instead of noting it here.
    """

    def __init__(
        self, recording: Recording, now: Callable[[], int], callback: Callable[..., Any] | None = None
    ) -> None:
        self._recording = recording
        self._now = now
        self._began = -1
        self._callback = callback or self._note

    def start(self) -> None:
        """
        Begin.
        """
        gc.callbacks.append(self._callback)
        _watching.append(self)

    def stop(self) -> None:
        """
        Note no more.
        """
        if self in _watching:
            _watching.remove(self)
            gc.callbacks[:] = [each for each in gc.callbacks if each is not self._callback]

    def _note(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._began = self._now()
        elif self._began >= 0:
            generation, collected = info.get("generation", 0), info.get("collected", 0)
            thread = threading.get_native_id()
            self._recording.collection(Collection(self._began, self._now(), thread, generation, collected))
            self._began = -1


def forget_collections() -> None:
    """
    In the child of a fork, where nothing is traced.
    """
    for watch in tuple(_watching):
        watch.stop()
