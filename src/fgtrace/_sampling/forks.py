"""
Forks of the program: the threads of fgtrace are ended while one happens.

From Python 3.12 on a process with several threads is warned when it forks, a program whose warnings are
errors would fail, and a lock that one of our threads held would stay locked in the child. So every owner of a
thread is paused before a fork and resumed in the parent. In the child it is forgotten: the child is not
traced.

The hooks are set when the first trace starts, and stay, since ``os.register_at_fork`` has no counterpart.
While no trace runs they do nothing.
"""

from __future__ import annotations

import os
import time
import weakref
from typing import Protocol

from fgtrace._sampling.collect.garbage_collections import forget_gc_callbacks
from fgtrace._sampling.exact.core_hooks import forget_hooks
from fgtrace._sampling.exact.monkeypatch import forget_patches
from fgtrace._sampling.exact.python_hooks import forget_listeners
from fgtrace._sampling.switch_interval import forget_interval

__all__ = ["Pausable", "ignore_forks", "pause_at_forks", "wait_for_end"]


class Pausable(Protocol):
    """
    Own a thread that can be ended for a while.
    """

    def pause(self) -> None:
        """
        End the thread for a while.
        """

    def resume(self) -> None:
        """
        Begin the thread again after `pause`.
        """


#: In the order in which they began: an owner that starts and stops others is paused before them.
_at_work: weakref.WeakKeyDictionary[Pausable, None] = weakref.WeakKeyDictionary()
_paused: list[Pausable] = []
_hooked: list[bool] = []


def pause_at_forks(one: Pausable) -> None:
    """
    Have an owner of a thread paused while the program forks, from now on.
    """
    if not _hooked and hasattr(os, "register_at_fork"):
        _hooked.append(True)
        os.register_at_fork(before=_pause_all, after_in_parent=_resume_all, after_in_child=_forget_all)
    _at_work[one] = None


def ignore_forks(one: Pausable) -> None:
    """
    Have an owner paused no more: its thread has ended for good.
    """
    _at_work.pop(one, None)


def wait_for_end(native_id: int | None) -> None:
    """
    Wait until a joined thread is gone for the system, too, which Python asks before it warns of a fork.

    The thread is at its last instructions. If it is not gone after 10 ms, a warning is the lesser evil.

    Args:
        native_id: the thread's.
    """
    path = f"/proc/self/task/{native_id}"
    for _ in range(100):
        if not os.path.exists(path):
            return
        time.sleep(0.0001)


def _pause_all() -> None:
    for one in list(_at_work):
        one.pause()
        _paused.append(one)


def _resume_all() -> None:
    while _paused:
        _paused.pop().resume()


def _forget_all() -> None:
    forget_interval()
    forget_hooks()
    forget_listeners()
    forget_patches()
    forget_gc_callbacks()
    _paused.clear()
    _at_work.clear()
