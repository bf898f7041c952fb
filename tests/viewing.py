"""
Real viewers for tests: what `scripts/viewer-tools` made, where `scripts/test --viewers` says it is.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from fgtrace.cli._plans import CannotRun, ViewPlan
from fgtrace.cli._view import serving
from trace_processor import node

__all__ = ["ARTIFACTS", "ROOT", "Viewers", "served"]

ROOT = Path(__file__).parent.parent
#: Pictures of what was seen, kept.
ARTIFACTS = ROOT / "test-artifacts"
VARIABLE = "FGTRACE_VIEWERS"
MINUTES = 2


class Viewers:
    """
    The viewers of this machine; a test that needs one which is missing is skipped, with the reason.
    """

    def __init__(self) -> None:
        if VARIABLE not in os.environ:
            pytest.skip("real viewers are opened by scripts/test --viewers")
        self._tools = Path(os.environ[VARIABLE])
        ARTIFACTS.mkdir(exist_ok=True)

    @property
    def speedscope(self) -> Path:
        """
        The folder with speedscope's app.
        """
        return self._tools / "ui/node_modules/speedscope/dist/release"

    def drive(self, script: str, **job: Any) -> dict[str, Any]:
        """
        Run a script of tests/ui in Chromium.

        Returns:
            What it prints: facts, `complaints` of the page, and all `requests` that it made.
        """
        job["chromium"] = str(self._there("chromium"))
        path = str(self._tools / "ui/node_modules")
        command = [node(), str(ROOT / "tests/ui" / script), json.dumps(job)]
        env = {**os.environ, "NODE_PATH": path}
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, check=True, timeout=MINUTES * 60)
        facts: dict[str, Any] = json.loads(done.stdout)
        return facts

    def pprof(self, *arguments: str) -> str:
        """
        What ``go tool pprof`` prints.
        """
        command = [str(self._there("bin/go")), "tool", "pprof", *arguments]
        env = {**os.environ, "GOCACHE": str(self._tools / "go-cache"), "GOTOOLCHAIN": "local"}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout

    def _there(self, name: str) -> Path:
        path = self._tools / name
        if not path.exists():
            pytest.skip((self._tools / "missing").read_text())
        return path


@contextmanager
def served(plan: ViewPlan) -> Iterator[str]:
    """
    The address that a browser would open, with a server behind it.
    """
    with ExitStack() as stack:
        try:
            address = stack.enter_context(serving(plan))
        except CannotRun as error:
            pytest.skip(f"another run of these tests on this machine, say: {error}")
        yield address
