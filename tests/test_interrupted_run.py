"""
A run of these tests that is interrupted says what had failed until then.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.pure

ROOT = Path(__file__).parent.parent
TESTS = """
import time

def test_broken():
    assert "six" == "seven"

def test_long(tmp_path):
    (tmp_path / "t.pftrace").write_bytes(b"the rest is missing")  # what every test's traces are checked for
    print("interrupt me", flush=True)
    for _ in range(600):  # 3.15 sleeps on if the signal came just before a sleep
        time.sleep(0.1)
"""


@pytest.mark.parametrize(
    ("workers", "interrupt"),
    [
        pytest.param("0", os.killpg, id="ctrl-c"),
        pytest.param("1", os.kill, id="limit-with-workers"),
    ],
)
def test_failures_are_told(tmp_path: Path, workers: str, interrupt: Callable[[int, int], None]) -> None:
    """
    Ctrl-C reaches all processes of the terminal, the end of ``--limit`` the first one alone.
    """
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_some.py").write_text(TESTS)
    words = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path), "--verbose", "--color=no", "-s"]
    words += ["-o", f"pythonpath={ROOT / 'tests'}", "-p", "no:cacheprovider", "-n", workers, str(tmp_path)]
    command = [sys.executable, "-m", "pytest", *words]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        seen = ""
        while not ("FAILED" in seen and ("interrupt me" in seen or workers == "1")):
            line = process.stdout.readline()
            assert line, seen
            seen += line
        interrupt(process.pid, signal.SIGINT)
        told, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED, seen + told
    assert "FAILED test_some.py::test_broken - AssertionError: assert 'six' == 'seven'" in told, told
    assert "KeyboardInterrupt" in told, told
