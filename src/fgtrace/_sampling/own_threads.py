"""
The threads of fgtrace itself, which no trace shows unless it is asked to, and which take no signals.
"""

from __future__ import annotations

import signal
import threading

__all__ = ["own_threads", "start_without_signals"]

#: Idents of the threads of all traces of this process; each thread adds and discards its own.
own_threads: set[int] = set()

#: Signals that a thread brings upon itself: blocked, they would end the process without a handler's word.
_OWN_FAULTS = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP", "SIGSYS")


def start_without_signals(thread: threading.Thread) -> None:
    """
    Start a thread of fgtrace's with all signals blocked.

    A program that takes signals by ``sigwait`` or ``signalfd`` blocks them in its threads; one that is not
    blocked in a thread of ours would be delivered there, and end the process.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        thread.start()
        return
    faults = {getattr(signal, name) for name in _OWN_FAULTS if hasattr(signal, name)}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        # handlers of the program may run in here, and raise
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - faults)
        thread.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
