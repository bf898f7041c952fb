"""
Listens for exceptions that reach the exception handler of any event loop.

Every loop calls its ``call_exception_handler`` for them, whatever handler the program set. That method is
wrapped in the class of asyncio's own loops and in uvloop's, and the wrapper calls the method that was there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from fgtrace._sampling.exact.monkeypatch import Patch

__all__ = ["ExceptionListener", "LoopExceptions"]

_NAME = "call_exception_handler"
#: Is called with the loop's context; it must not raise.
ExceptionListener = Callable[[dict[str, Any]], object]

_patches: dict[type, Patch] = {}
_listeners: list[ExceptionListener] = []


class LoopExceptions:
    """
    Calls a listener for each exception, from `start` to `stop`.

    Args:
        listener: called in the loop's thread.
    """

    def __init__(self, listener: ExceptionListener) -> None:
        self._listener = listener
        self._owners: list[type] = []

    def start(self) -> None:
        """
        Start listening.
        """
        _listeners.append(self._listener)
        self.wrap_new_loops()

    def wrap_new_loops(self) -> None:
        """
        Wrap the method in classes of loops that were imported since the last call.
        """
        for module, name in (("asyncio.base_events", "BaseEventLoop"), ("uvloop", "Loop")):
            owner = getattr(sys.modules.get(module), name, None)
            if isinstance(owner, type) and owner not in self._owners:
                patch = _patches.setdefault(owner, Patch(owner, _NAME, inherits=True))
                if patch.apply(_wrap):
                    self._owners.append(owner)

    def stop(self) -> None:
        """
        Stop listening, and unwrap the method where no other listener needs the wrapper.
        """
        _listeners.remove(self._listener)
        while self._owners:
            _patches[self._owners.pop()].revert()


def _wrap(before: Callable[..., Any]) -> Callable[..., Any]:
    def call_exception_handler(self: Any, context: dict[str, Any]) -> Any:
        for listener in tuple(_listeners):
            listener(context)
        return before(self, context)

    return call_exception_handler
