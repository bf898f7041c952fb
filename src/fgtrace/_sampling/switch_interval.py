"""
The switch interval of the interpreter, which is how long the sampler's thread waits for the GIL.

A Python thread that wants the GIL asks for it only after the switch interval (5 ms by default). Until then it
waits, and each time the program gives the GIL away for a moment (an event loop does so at every turn), the
system wakes the waiting thread in vain. At 99 ticks a second a thread waited for half of the time: a
saturated event loop ran 1.2 times slower, while the ticks themselves took 5 %. With an interval of 1 ms it
was not slower by more than the noise, and ticks come 1 ms late at the worst, not 5.

So while the sampler in Python runs the interval is 1 ms, unless it was shorter. (The C core needs no such
thread, and leaves it alone.) It is the only setting of the interpreter that a trace changes. The last trace
to end sets it back, unless the program has set it meanwhile: then the program's value stays.
"""

from __future__ import annotations

import sys
import threading

__all__ = ["SWITCH_INTERVAL", "forget_interval", "restore_switch_interval", "shorten_switch_interval"]

SWITCH_INTERVAL = 0.001


class _Setting:
    """
    Hold how many samplers want the short interval, and what it was before.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.wanted = 0
        self.before = 0.0


_setting = _Setting()


def shorten_switch_interval() -> None:
    """
    Shorten the interval, for one sampler more.
    """
    with _setting.lock:
        _setting.wanted += 1
        if _setting.wanted == 1:
            _setting.before = sys.getswitchinterval()
            if _setting.before > SWITCH_INTERVAL:
                sys.setswitchinterval(SWITCH_INTERVAL)


def restore_switch_interval() -> None:
    """
    Set the interval back, if this was the last sampler.
    """
    with _setting.lock:
        _setting.wanted -= 1
        if _setting.wanted == 0:
            _restore()


def forget_interval() -> None:
    """
    Set the interval back in the child of a fork, which has no sampler.
    """
    if _setting.wanted:
        _restore()
    _setting.wanted = 0
    _setting.lock = threading.Lock()  # a thread that is not in this process may hold the old one


def _restore() -> None:
    ours = abs(sys.getswitchinterval() - SWITCH_INTERVAL) < 1e-9
    if ours and _setting.before > SWITCH_INTERVAL:
        sys.setswitchinterval(_setting.before)
