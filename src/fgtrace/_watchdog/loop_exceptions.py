"""
Exceptions that reach an event loop's exception handler, of all loops, while somebody listens.

``call_exception_handler`` is what every loop calls for them, whatever handler it has. It is wrapped in the
class of asyncio's own loops and in uvloop's, and calls what was there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from fgtrace._sampling.exact.monkeypatch import Patch

__all__ = ["ErrorListener", "ErrorWatch"]

_NAME = "call_exception_handler"
#: Is told of the loop's context; it must not raise.
ErrorListener = Callable[[dict[str, Any]], object]

_patches: dict[type, Patch] = {}
_listeners: list[ErrorListener] = []


class ErrorWatch:
    """
    Has one listener told.

    Args:
        listener: called in the loop's thread.
    """

    def __init__(self, listener: ErrorListener) -> None:
        self._listener = listener
        self._owners: list[type] = []

    def start(self) -> None:
        """
        Begin.
        """
        _listeners.append(self._listener)
        self.look()

    def look(self) -> None:
        """
        Find classes of loops that were imported since.
        """
        for module, name in (("asyncio.base_events", "BaseEventLoop"), ("uvloop", "Loop")):
            owner = getattr(sys.modules.get(module), name, None)
            if isinstance(owner, type) and owner not in self._owners:
                patch = _patches.setdefault(owner, Patch(owner, _NAME, inherits=True))
                if patch.put(_wrap):
                    self._owners.append(owner)

    def stop(self) -> None:
        """
        Tell it no more.
        """
        _listeners.remove(self._listener)
        while self._owners:
            _patches[self._owners.pop()].take_back()


def _wrap(before: Callable[..., Any]) -> Callable[..., Any]:
    def call_exception_handler(self: Any, context: dict[str, Any]) -> Any:
        for listener in tuple(_listeners):
            listener(context)
        return before(self, context)

    return call_exception_handler
