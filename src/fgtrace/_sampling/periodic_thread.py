"""
A thread of fgtrace that does a small thing again and again, and is ended while the program forks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from fgtrace._sampling.forks import ignore_forks, pause_at_forks, wait_for_end
from fgtrace._sampling.own_threads import own_threads, start_without_signals

if TYPE_CHECKING:
    from queue import SimpleQueue

__all__ = ["PeriodicThread"]


class PeriodicThread:
    """
    Call a function once a period, from `start` to `stop`.

    Args:
        name: the thread's name.
        period: seconds.
        do: the function.
        failed: is called with the exception that the function raises; after that the thread ends.

    Attributes:
        period: may be changed while the thread runs.
    """

    def __init__(
        self, name: str, period: float, do: Callable[[], object], failed: Callable[[Exception], object]
    ) -> None:
        self._name = name
        self.period = period
        self._do = do
        self._failed = failed
        self._is_over = False
        from queue import Empty, SimpleQueue  # costs 1 ms to import, and few processes need it

        self._calls: SimpleQueue[None] = SimpleQueue()  # a signal handler may call `put` within a `put`
        self._or_period = suppress(Empty)
        self._switch = threading.Lock()  # between the program's forks and `stop`
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """
        Begin the thread.
        """
        self._begin()
        pause_at_forks(self)

    def wake(self) -> None:
        """
        Have the function called soon. A signal handler may do this, too.
        """
        if self._calls.empty():
            self._calls.put(None)

    def stop(self) -> None:
        """
        End the thread, and return when it is gone; at once if the thread itself asks.
        """
        with self._switch:
            ignore_forks(self)
            self._end()

    def pause(self) -> None:
        """
        End the thread for a while, since the program forks.
        """
        self._switch.acquire()
        thread = self._end()
        if thread is not None:
            wait_for_end(thread.native_id)

    def resume(self) -> None:
        """
        Begin the thread again after `pause`.
        """
        with suppress(RuntimeError):  # the interpreter ends, and allows no new thread
            self._begin()
        self._switch.release()

    def _begin(self) -> None:
        self._is_over = False
        hidden = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(hidden,), name=self._name, daemon=True)
        start_without_signals(self._thread)
        hidden.wait()  # else a tick could show this thread among the program's

    def _end(self) -> threading.Thread | None:
        self._is_over = True
        self._calls.put(None)
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return None
        thread.join()
        return thread

    def _run(self, hidden: threading.Event) -> None:
        ident = threading.get_ident()
        own_threads.add(ident)
        hidden.set()
        try:
            while not self._is_over:
                with self._or_period:
                    self._calls.get(timeout=self.period)
                if not self._is_over:
                    self._do()
        except Exception as error:  # the observer is a guest
            self._failed(error)
        finally:
            own_threads.discard(ident)
