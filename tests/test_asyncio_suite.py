"""
CPython's own tests of asyncio come to the same under an exact trace as without one.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from amount import NIGHTLY, whole_programs

pytestmark = [
    *whole_programs,
    pytest.mark.xdist_group("asyncio suite"),
    pytest.mark.skipif(
        importlib.util.find_spec("test.test_asyncio") is None,
        reason="this interpreter does not ship the tests of its standard library",
    ),
]

PROGRAM = Path(__file__).parent / "asyncio_suite.py"
SECONDS = 400
#: Those that run callbacks, tasks and contexts; every night it is the whole package.
MODULES = (
    "test_base_events", "test_buffered_proto", "test_context", "test_futures", "test_futures2", "test_locks",
    "test_pep492", "test_protocols", "test_queues", "test_runners", "test_selector_events", "test_streams",
    "test_taskgroups", "test_tasks", "test_threads", "test_timeouts", "test_transports", "test_waitfor",
)  # fmt: skip


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """
    What the tests come to without a trace.
    """
    return outcomes(tmp_path_factory.mktemp("suite") / "without.json", traced=False)


def outcomes(path: Path, *, traced: bool) -> dict[str, str]:
    """
    Run them in a process of their own.
    """
    modules = () if NIGHTLY else MODULES
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(PROGRAM), str(path), "yes" if traced else "no", *modules],
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, str] = json.loads(path.read_text())
    return found


@pytest.mark.timeout(2 * SECONDS)
def test_same_results(without: dict[str, str], tmp_path: Path) -> None:
    """
    Each test passes, fails or is skipped as before.
    """
    found = outcomes(tmp_path / "traced.json", traced=True)
    assert Counter(without.values())["passed"] > 1000
    assert {name: what for name, what in found.items() if without.get(name) != what} == {}
    assert found.keys() == without.keys()
