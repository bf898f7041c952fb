"""
A thousand tasks at once.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import pytest

from kinds import corpus
from situations import UNBLOCKED, check, read_file, runner, stay, trace_all
from trace_processor import Engine

pytestmark = pytest.mark.usefixtures("core")

EACH = 50
KINDS = list(corpus)[:20]
TASKS = [each._replace(name=f"{each.name} {number}") for number in range(EACH) for each in KINDS]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_thousand(loop: str, trace_engine: Engine, tmp_path: Path) -> None:
    """
    Each of 1,000 tasks of 20 kinds has one track with its name, its states and its whole chain.
    """
    assert len(TASKS) == 1000
    path = tmp_path / "t.json"
    trace_all(path, lambda: stay(TASKS, 1.0), runner(loop))
    trace = read_file(trace_engine, path)
    for each in TASKS:
        check(trace, each)
        (track,) = trace.tracks[each.title]
        waits = [state for state in track.states() if state not in UNBLOCKED]
        assert [state for state, _ in groupby(waits)] == ["sleep", each.state]
    assert {len(found) for name, found in trace.tracks.items() if not name.startswith("Task-")} == {1}
