"""
Runs CPython's own tests of asyncio, with or without an exact trace.

    python asyncio_suite.py OUT yes|no [MODULE...]

What each test came to is written to OUT as JSON, by its id.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import sys
import unittest
from typing import Any

#: Modules of the package that are for another system.
LEFT_OUT = {"test_windows_events", "test_windows_utils", "test_proactor_events"}


class Outcomes(unittest.TestResult):
    """
    What each test came to.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}

    def _note(self, test: Any, what: str) -> None:
        self.found[test.id()] = what

    def addSuccess(self, test: Any) -> None:  # noqa: N802 - unittest's name
        super().addSuccess(test)
        self.found.setdefault(test.id(), "passed")

    def addError(self, test: Any, err: Any) -> None:  # noqa: N802 - unittest's name
        super().addError(test, err)
        self._note(test, f"error: {err[0].__name__}")
        sys.stderr.write(self.errors[-1][1])

    def addFailure(self, test: Any, err: Any) -> None:  # noqa: N802 - unittest's name
        super().addFailure(test, err)
        self._note(test, "failed")
        sys.stderr.write(self.failures[-1][1])

    def addSkip(self, test: Any, reason: str) -> None:  # noqa: N802 - unittest's name
        super().addSkip(test, reason)
        self._note(test, "skipped")

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:  # noqa: N802 - unittest's name
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._note(test, "failed in a part")


def modules() -> list[str]:
    """
    The test modules that this interpreter ships.
    """
    package = importlib.import_module("test.test_asyncio")
    names = [each.name for each in pkgutil.iter_modules(package.__path__)]
    return [name for name in names if name.startswith("test_") and name not in LEFT_OUT]


def main(out: str, traced: str, *names: str) -> None:
    suite = unittest.TestSuite(
        unittest.defaultTestLoader.loadTestsFromName(f"test.test_asyncio.{name}")
        for name in names or modules()
    )
    found = Outcomes()
    if traced == "yes":
        import fgtrace

        trace = fgtrace.trace(os.devnull, format="json", awaits="exact", hz=1000).start()
        suite.run(found)
        trace.abandon()
        if trace.stats.failed or not trace.stats.steps:
            raise RuntimeError(f"the trace failed: {trace.stats}")
        sys.stderr.write(f"{trace.stats}\n")
    else:
        suite.run(found)
    with open(out, "w", encoding="utf-8") as file:
        json.dump(found.found, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
