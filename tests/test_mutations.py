"""
The mutations that scripts/mutate tries: each has its text where it says.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.pure

SCRIPT = Path(__file__).parent.parent / "scripts" / "mutate"


def test_table() -> None:
    """
    Every mutation's text is in its file exactly once, and the tests that should notice it are there.
    """
    found = subprocess.run(
        [sys.executable, SCRIPT, "--check"], capture_output=True, text=True, timeout=60, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_word_that_is_nobody_s() -> None:
    """
    A run that would try nothing is an error.
    """
    found = subprocess.run(
        [sys.executable, SCRIPT, "--only", "no such name"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 2, found.stdout + found.stderr
    assert "no mutation has such a name" in found.stderr
