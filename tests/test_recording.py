"""
The recording: interning, order, and a memory that is bounded.
"""

from __future__ import annotations

import gc
import resource
import weakref
from types import FunctionType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgtrace._model.values import Collection, FrameName
from fgtrace._recording.recording import EMPTY, GONE, MOST_COLLECTIONS, OFFSET_BITS, Recording
from fgtrace._recording.step_records import CALLBACK, NOBODY, SELECTOR, THREAD, loop_and_source

pytestmark = pytest.mark.pure

MIB = 1024 * 1024


def named(recording: Recording, name: str) -> int:
    return recording.intern_name(FrameName("m", name), "m.py")


@given(st.lists(st.lists(st.integers(0, 5), max_size=8), max_size=30))
def test_stacks_come_back(stacks: list[list[int]]) -> None:
    """
    A stack comes back as it was, and equal stacks are one integer.
    """
    recording = Recording()
    codes = [named(recording, str(number)) for number in range(6)]
    nodes = [
        recording.intern_stack([codes[number] << OFFSET_BITS | 2 for number in reversed(stack)])
        for stack in stacks
    ]
    for stack, node in zip(stacks, nodes, strict=True):
        assert recording.elements(node) == [(codes[number], 2) for number in stack]
    assert len(set(nodes)) == len({tuple(stack) for stack in stacks})


def test_offsets_matter() -> None:
    """
    The same function at another instruction is another stack.
    """
    recording = Recording()
    code = named(recording, "f") << OFFSET_BITS
    assert recording.intern_stack([code | 2]) != recording.intern_stack([code | 4])
    assert recording.intern_stack([]) == EMPTY


def test_equal_code_is_not_the_same() -> None:
    """
    Two functions with equal code are two functions.
    """
    recording = Recording()
    first, second = (compile("def f(): pass", "f.py", "exec") for _ in range(2))
    assert first == second
    assert recording.intern_code(first, "a") != recording.intern_code(second, "b")


def test_rows_spill_and_come_back_in_order() -> None:
    """
    Rows beyond the memory go to a temporary file, and are read in order all the same.
    """
    recording = Recording(max_memory=MIB)
    for time in range(50_000):
        recording.observe(time, time % 7, time % 11, 3)
        recording.trim()
    assert recording.spilled > MIB / 2
    assert len(recording.rows) * 8 <= MIB / 2
    assert list(recording.read()) == [(time, time % 7, time % 11, 3) for time in range(50_000)]
    recording.close()


def test_spill_goes_on_after_reading() -> None:
    """
    A recording can be read while it still grows.
    """
    recording = Recording(max_memory=MIB)
    for time in range(40_000):
        recording.observe(time, 0, 0, 0)
        recording.trim()
    assert sum(1 for _ in recording.read()) == 40_000
    for time in range(40_000, 80_000):
        recording.observe(time, 0, 0, 0)
        recording.trim()
    assert [row[0] for row in recording.read()] == list(range(80_000))
    recording.close()


def test_full_disk_loses_nothing() -> None:
    """
    Where the temporary file cannot grow, the rows stay in memory, once.
    """
    recording = Recording(max_memory=MIB)
    for time in range(40_000):
        recording.observe(time, 0, 0, 0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            recording.trim()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(list(recording.read())) == 40_000
    recording.trim()
    assert [row[0] for row in recording.read()] == list(range(40_000))
    recording.close()


STEPS = {
    "task": (5, 9, 3, 7, 6, 12, 4),
    "ended": (5, 9, 3, 7, 6, GONE, 0),
    "unknown-waker": (5, 9, -1, 7, NOBODY, 12, 4),
    "thread": (5, 9, 3, 7, THREAD, 12, 4),
    "callback": (5, 9, -1, CALLBACK | 2, NOBODY, 3, SELECTOR),
    "woken-by-callback": (5, 9, 3, 7, CALLBACK | SELECTOR << 24 | 2, 12, 4),
}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS.keys())
def test_steps_come_back(step: tuple[int, int, int, int, int, int, int]) -> None:
    """
    A step comes back as it was noted, whatever its high bits.
    """
    recording = Recording()
    recording.note_step(*step)
    assert list(recording.read_steps()) == [step]
    assert recording.stepped == 1


def test_waker_that_is_a_callback() -> None:
    """
    A waker tells its loop and source where it is a callback.
    """
    assert loop_and_source(CALLBACK | SELECTOR << 24 | 5) == (5, SELECTOR)
    assert [loop_and_source(waker) for waker in (3, THREAD, NOBODY)] == [None] * 3


def test_steps_spill_beside_rows() -> None:
    """
    Steps and rows share their half of the memory, and both come back in order.
    """
    recording = Recording(max_memory=MIB)
    for time in range(40_000):
        recording.note_step(time, time + 1, -1, time % 7, NOBODY, GONE, 0)
        recording.observe(time, 0, 0, 0)
        recording.trim()
    assert (len(recording.rows) + len(recording.steps)) * 8 <= MIB / 2
    assert [step[0] for step in recording.read_steps()] == list(range(40_000))
    assert [row[0] for row in recording.read()] == list(range(40_000))
    assert recording.stepped == 40_000
    recording.close()


def test_steps_stay_where_the_disk_is_full() -> None:
    """
    Where the temporary file cannot grow, the steps stay in memory, once.
    """
    recording = Recording(max_memory=MIB)
    for time in range(40_000):
        recording.note_step(time, time + 1, -1, 0, 0, 0, 0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            recording.trim()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [step[0] for step in recording.read_steps()] == list(range(40_000))
    recording.trim()
    assert [step[0] for step in recording.read_steps()] == list(range(40_000))
    recording.close()


def test_collections_are_bounded() -> None:
    """
    More runs of the garbage collector than can be kept are counted.
    """
    recording = Recording()
    for time in range(MOST_COLLECTIONS + 3):
        recording.note_collection(Collection(time, time, 1, 0, 0))
    assert len(recording.collections) == MOST_COLLECTIONS
    assert recording.collections_dropped == 3


def test_full_tables_cut_stacks() -> None:
    """
    When the tables are full, a new stack is cut to what is known of it, and the cut is counted.
    """
    recording = Recording(max_memory=MIB)
    known = named(recording, "known") << OFFSET_BITS
    nodes = [recording.intern_stack([offset, known]) for offset in range(0, 20_000, 2)]
    assert recording.cut == len(nodes) - (len(set(nodes)) - 1)
    assert 0.9 * MIB / 2 < recording.held < 1.1 * MIB / 2  # the other half is for rows
    assert recording.elements(nodes[0]) == [(0, 0), (0, 0)]
    assert recording.elements(nodes[-1]) == [(0, 0)]


def test_only_code_is_kept() -> None:
    """
    A recording keeps code objects alive, and not the functions they belong to.
    """
    recording = Recording()
    scope: dict[str, FunctionType] = {}
    exec("def f(): pass", scope)  # noqa: S102 - a function of its own
    function = weakref.ref(scope["f"])
    recording.intern_code(scope["f"].__code__, "m")
    del scope
    gc.collect()
    assert function() is None
    assert recording.codes[0].name == FrameName("m", "f")


def test_a_snapshot_stays_as_it_is() -> None:
    """
    What was noted so far can be read while more is noted, and moved to a file, and a track ends.
    """
    recording = Recording(max_memory=MIB)
    for time in range(20_000):
        recording.observe(time, 0, 1, 2)
        recording.note_step(time, time + 1, -1, 0, 0, 0, 0)
    recording.trim()
    for time in range(20_000, 20_010):
        recording.observe(time, 0, 1, 2)
        recording.note_step(time, time + 1, -1, 0, 0, 0, 0)
    snapshot = recording.snapshot()
    rows, steps = snapshot.read(), snapshot.read_steps()
    assert [next(rows)[0] for _ in range(10)] == [next(steps)[0] for _ in range(10)] == list(range(10))
    for time in range(20_010, 60_000):
        recording.observe(time, 0, 1, 2)
        recording.note_step(time, time + 1, -1, 0, 0, 0, 0)
    recording.trim()
    assert [row[0] for row in rows] == [step[0] for step in steps] == list(range(10, 20_010))
    assert [row[0] for row in recording.read()] == list(range(60_000))
    recording.close()
