"""
The ticker: a grid that does not drift, missed ticks that are counted, a budget that is kept.
"""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgtrace._model.values import Gap
from fgtrace._sampling.clock import BURST_NS, SystemClock, Tick, Ticker
from fgtrace.testing import FakeClock

pytestmark = pytest.mark.pure

MS = 1_000_000


def ticks(ticker: Ticker, count: int, cost: int = 0) -> list[Tick]:
    """
    Take so many ticks, each of which costs so much.
    """
    found = []
    for _ in range(count):
        tick = ticker.next()
        assert tick is not None
        ticker.charge(cost)
        found.append(tick)
    return found


def test_grid() -> None:
    """
    Ticks lie on the grid from the start on, whatever small lateness they had.
    """
    clock = FakeClock(late=[300_000, 0, 900_000, 0])
    ticks(Ticker(100, 1.0, clock), 5)
    assert clock.waits == [0, 10 * MS, 20 * MS, 30 * MS, 40 * MS]


def test_late_tick_stands_for_the_missed_ones() -> None:
    """
    A tick that comes periods late counts the missed ones, is a gap, and holds from when it was due.
    """
    ticker = Ticker(100, 1.0, FakeClock(late=[0, 25 * MS]))
    found = ticks(ticker, 3)
    assert found[1] == Tick(35 * MS, 10 * MS, Gap(10 * MS, 35 * MS, "late", 2))
    assert found[2].time == 40 * MS
    assert (ticker.taken, ticker.missed) == (3, 2)


def test_a_little_late_is_no_gap() -> None:
    """
    Within a period a tick is what it is: seen now, and no gap.
    """
    found = ticks(Ticker(100, 1.0, FakeClock(late=[0, 9 * MS])), 2)
    assert found[1] == Tick(19 * MS, 19 * MS, None)


def test_budget_is_kept() -> None:
    """
    Ticks that cost more than the budget are spaced out, and the skipped ones are a gap.
    """
    clock = FakeClock()
    ticker = Ticker(100, 0.05, clock)
    found = ticks(ticker, 50, cost=5 * MS)
    assert ticker.spent <= 0.05 * clock.time + BURST_NS + 5 * MS
    assert {tick.gap.kind for tick in found if tick.gap is not None} == {"skipped"}
    assert ticker.missed == found[-1].time // (10 * MS) + 1 - ticker.taken


def test_within_budget_nothing_is_skipped() -> None:
    """
    Ticks within the budget are all taken.
    """
    ticker = Ticker(100, 0.05, FakeClock())
    assert all(tick.gap is None for tick in ticks(ticker, 100, cost=400_000))
    assert ticker.missed == 0


@given(
    hz=st.floats(0.5, 10_000),
    share=st.floats(0.001, 1),
    late=st.lists(st.integers(0, 200 * MS), max_size=30),
    cost=st.integers(0, 20 * MS),
)
def test_every_tick_is_taken_or_missed(hz: float, share: float, late: list[int], cost: int) -> None:
    """
    Whatever happens, time goes forward, and the grid's ticks up to now are taken or missed.
    """
    ticker = Ticker(hz, share, FakeClock(late=late))
    found = ticks(ticker, 40, cost)
    assert all(before.time < after.time for before, after in pairwise(found))
    assert all(tick.since <= tick.time for tick in found)
    assert ticker.taken + ticker.missed == found[-1].time // ticker.period + 1
    gaps = [tick.gap for tick in found if tick.gap is not None]
    assert sum(gap.ticks for gap in gaps) == ticker.missed
    assert all(before.end <= after.start for before, after in pairwise(gaps))


def test_stop_ends_the_wait() -> None:
    """
    Stopping the system's clock ends a long wait at once, and all later ones.
    """
    clock = SystemClock()
    waited = []
    thread = threading.Thread(target=lambda: waited.append(clock.wait(clock.now() + 60_000 * MS)))
    thread.start()
    clock.stop()
    thread.join(10)
    assert waited == [True]
    assert clock.wait(clock.now() + 60_000 * MS)


def test_stop_twice() -> None:
    """
    A clock may be stopped more than once.
    """
    clock = SystemClock()
    clock.stop()
    clock.stop()
    assert clock.wait(0)


@pytest.mark.parametrize("ago", [0, 1, 10 * MS], ids=["now", "just-past", "past"])
def test_no_wait_for_the_past(ago: int) -> None:
    """
    A time that has come needs no wait.
    """
    clock = SystemClock()
    assert not clock.wait(clock.now() - ago)
