"""
What C and Python both define is the same on both sides: the core exports it, and each has a partner here.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

import fgtrace
from fgtrace._model.values import Collection
from fgtrace._recording import core_recording, recording, step_records
from fgtrace._sampling import clock, core_answers, core_calibration
from fgtrace._sampling.collect import await_chain, threads
from fgtrace._sampling.exact import callback_names, collector

core = pytest.importorskip("fgtrace._core", reason="there is no C core here")

CONSTANTS: dict[str, Any] = core.constants

#: Name in C -> the value in Python.
PARTNERS: dict[str, Any] = {
    "GONE": recording.GONE,
    "EMPTY": recording.EMPTY,
    "OFFSET_BITS": recording.OFFSET_BITS,
    "MOST_COLLECTIONS": recording.MOST_COLLECTIONS,
    "COLLECTION_NUMBERS": len(Collection._fields),
    "AS_IT_IS": core_answers.AS_IT_IS,
    "RUNNING": core_answers.RUNNING,
    "RUNNABLE": core_answers.RUNNABLE,
    "FIRST_WAITER": max(core_answers.RUNNING, core_answers.RUNNABLE) + 1,
    "QUESTION_WAIT": core_answers.WAIT,
    "QUESTION_CHAIN": core_answers.CHAIN,
    "QUESTION_OWNER": core_answers.OWNER,
    "QUESTION_LABELS": core_answers.LABELS,
    "NOTE_THREAD": core_recording.NOTE_THREAD,
    "NOTE_TASK": core_recording.NOTE_TASK,
    "NOTE_NAME": core_recording.NOTE_NAME,
    "NOTE_END": core_recording.NOTE_END,
    "NOTE_PARENT": core_recording.NOTE_PARENT,
    "NOTE_LOOP": core_recording.NOTE_LOOP,
    "NOTE_LOOP_THREAD": core_recording.NOTE_LOOP_THREAD,
    "NOTE_WAITER": core_recording.NOTE_WAITER,
    "NOTE_GAP": core_recording.NOTE_GAP,
    "NOTE_EXACT": core_recording.NOTE_EXACT,
    "NOTE_CALLBACK": core_recording.NOTE_CALLBACK,
    "GAP_LATE": core_recording.GAPS.index("late"),
    "GAP_SKIPPED": core_recording.GAPS.index("skipped"),
    "KIND_TASK": core_recording.WAITER_KINDS.index("task"),
    "KIND_THREAD": core_recording.WAITER_KINDS.index("thread"),
    "KIND_IO": core_recording.WAITER_KINDS.index("io"),
    "KIND_FUTURE": core_recording.WAITER_KINDS.index("future"),
    "CODE_PLAIN": core_calibration.PLAIN,
    "CODE_HOLDS_FUTURES": core_calibration.HOLDS_FUTURES,
    "CODE_CHAIN": core_calibration.CHAIN,
    "CODE_SHIELD": core_calibration.SHIELD,
    "LONGEST_CHAIN": await_chain.LONGEST_CHAIN,
    "UNKNOWN": threads.UNKNOWN,
    "RAN": threads.RAN,
    "SOME": threads.SOME,
    "STOOD_STILL": threads.STOOD_STILL,
    "STARVED": threads.STARVED,
    "TOO_SOON": threads.TOO_SOON,
    "FROZEN": threads.FROZEN,
    "FROZEN_AFTER": threads.FROZEN_AFTER,
    "SOONEST": threads.SOONEST,
    "STILL": threads.STILL,
    "BUSY": threads.BUSY,
    "SEARCH_SHARE": collector.SEARCH_SHARE,
    "DEEPEST_PARTIAL": callback_names.DEEPEST,
    "CALLBACK": step_records.CALLBACK,
    "THREAD": step_records.THREAD,
    "NOBODY": step_records.NOBODY,
    "SOURCE_SHIFT": step_records.SOURCE_SHIFT,
    "SOON": step_records.SOON,
    "TIMER": step_records.TIMER,
    "SELECTOR": step_records.SELECTOR,
    "THREADSAFE": step_records.THREADSAFE,
    "BURST": clock.BURST_NS,
}
#: Layouts of what Python fetches as bytes: see their tests.
FORMATS = {"ROW_FORMAT", "STEP_FORMAT"}
#: What only the core defines: Python reads it there.
READ = {"MANY_TASKS", "MOST_ROWS"}


def test_every_constant_has_a_partner() -> None:
    """
    Whatever C says is shared is compared here, or read from C.
    """
    assert set(CONSTANTS) == set(PARTNERS) | FORMATS | READ


@pytest.mark.parametrize("name", PARTNERS)
def test_value(name: str) -> None:
    """
    A constant has the same value on both sides.
    """
    assert CONSTANTS[name] == PARTNERS[name]


@pytest.mark.parametrize("name", sorted(READ))
def test_read_from_the_core(name: str) -> None:
    """
    A constant of the core alone is read there, and defined nowhere in Python.
    """
    texts = [path.read_text(encoding="utf-8") for path in Path(fgtrace.__file__).parent.rglob("*.py")]
    assert any(f'constants["{name}"]' in text for text in texts)
    assert not [text for text in texts if f"\n{name} =" in text]


def test_row() -> None:
    """
    A row is four numbers in the order in which Python reads them.
    """
    layout = "=" + CONSTANTS["ROW_FORMAT"]
    assert struct.calcsize(layout) == recording.ROW_BYTES
    found = recording.Recording()
    found.add_rows(struct.pack(layout, 1, 2, -1, 4) + struct.pack(layout, 5, 6, 7, 8))
    assert list(found.read()) == [(1, 2, -1, 4), (5, 6, 7, 8)]


def test_step() -> None:
    """
    A step is three times and four numbers in the order in which Python reads and writes them.
    """
    layout = "=" + CONSTANTS["STEP_FORMAT"]
    assert struct.calcsize(layout) == step_records.STEP_BYTES
    track, waker, most = step_records.CALLBACK | 3, step_records.NOBODY, 0xFFFFFFFF
    block = struct.pack(layout, 1, 2, -1, track, waker, CONSTANTS["GONE"] & most, most)
    assert list(step_records.unpack_steps(block)) == [(1, 2, -1, track, waker, recording.GONE, most)]
    words = step_records.pack_step(1, 2, -1, 4, 5, 6, 7)
    assert struct.pack("=5q", *words) == struct.pack(layout, 1, 2, -1, 4, 5, 6, 7)


def test_numbers_of_thread_samples() -> None:
    """
    What a thread's clock did is noted by the number of a `ThreadSample`.
    """
    names = ("UNKNOWN", "RAN", "SOME", "STOOD_STILL", "STARVED")
    found = [threads.THREAD_SAMPLES[CONSTANTS[name]].cpu for name in names]
    assert found == ["unknown", "busy", "some", "still", "starved"]
