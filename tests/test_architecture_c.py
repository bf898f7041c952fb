"""
The C core's part of the house.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

LONGEST_FUNCTION = 40

REPOSITORY = Path(__file__).parent.parent
CORE = REPOSITORY / "src" / "core"
C_FILES = sorted(CORE.rglob("*.[ch]"))


@pytest.mark.parametrize("path", C_FILES, ids=lambda path: path.name)
def test_size_in_c(path: Path) -> None:
    """
    No function is above 40 lines: a function's body stands between two braces that begin their lines.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    first = [number for number, line in enumerate(lines) if line == "{"]
    last = [number for number, line in enumerate(lines) if line == "}"]
    assert len(first) == len(last)
    assert not [lines[a - 1] for a, b in zip(first, last, strict=True) if b - a - 1 > LONGEST_FUNCTION]


def test_architecture_page_names_every_file_in_c() -> None:
    """
    ARCHITECTURE.md has a line for each file of the C core, and for no other.
    """
    page = (REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+\.[ch])`", "\n".join(re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)))
    assert sorted(named) == [path.relative_to(CORE).as_posix() for path in C_FILES]
