"""
A trace for each test: ``pytest --fgtrace``. Its options: ``_fgtrace_pytest``, beside the package.

A trace goes from a test's setup to its teardown, so it has the fixtures that were made for it. What becomes
of it is decided at the end: written or left. Under pytest-xdist the workers trace and write; where the
file is, they say in the test's report, so that the terminal tells.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from contextlib import suppress
from hashlib import blake2s
from pathlib import Path
from typing import Any

import pytest

from fgtrace._options.assignments import options_of
from fgtrace._options.options import FORMATS
from fgtrace._session.trace import Config, Trace
from fgtrace.errors import ConfigError, SinkError

__all__ = ["Tracer", "file_name", "tracer_of"]

#: Characters of a test's id that its file's name keeps.
LONGEST_NAME = 120
#: Traces that the terminal lists.
MOST_LISTED = 20
#: What a folder of ours holds, so that it is known again, and in no commit by accident.
MARK = ".gitignore"
MARKED = "# traces of tests, by fgtrace\n*\n"
#: The properties by which a report tells of a trace.
WRITTEN, FAILED = "fgtrace", "fgtrace error"
#: By what a worker is told to name its files.
WORKER = "fgtrace worker"


def tracer_of(config: pytest.Config) -> Tracer:
    """
    What traces the tests of a run.

    Raises:
        pytest.UsageError: an option has a value that is not allowed.
    """
    folder = Path(config.invocation_params.dir, config.getoption("fgtrace")).absolute()
    try:
        options = options_of(config.getoption("fgtrace_set"))
        tracer = Tracer(folder, config.getoption("fgtrace_when"), config.getoption("fgtrace_slow"), options)
    except ConfigError as error:
        raise pytest.UsageError(f"--fgtrace-set: {error}") from error
    if not hasattr(config, "workerinput"):  # else a worker of pytest-xdist: the folder is there
        _prepare(folder)
        config.option.fgtrace = str(folder)  # as the workers are told
    return tracer


def _prepare(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        mark = folder / MARK
        if any(folder.iterdir()) and not (mark.is_file() and mark.read_text("utf-8") == MARKED):
            raise pytest.UsageError(
                f"--fgtrace: {folder} holds other files; allowed is a new folder, an empty one, or one of "
                "earlier traces (without a folder, --fgtrace must not stand right before a path)"
            )
        mark.write_text(MARKED, "utf-8")
    except OSError as error:
        raise pytest.UsageError(f"--fgtrace: cannot use {folder}: {error.strerror or error}") from error


def file_name(test: str, suffix: str) -> str:
    """
    The file of a test: safe on every system, not too long, and no other test's.

        >>> file_name("tests/test_a.py::test_b[x/y]", ".json")
        'tests.test_a.py.test_b.x.y-7e5fca90.json'

    Args:
        test: its node id.
        suffix: of the format.
    """
    name = re.sub(r"[^A-Za-z0-9_-]+", ".", test).strip(".")[-LONGEST_NAME:].lstrip(".")
    return f"{name}-{blake2s(test.encode('utf-8', 'replace'), digest_size=4).hexdigest()}{suffix}"


class _Run:
    """
    A test while it is traced.
    """

    def __init__(self, path: Path, trace: Trace) -> None:
        self.path = path
        self.trace = trace
        self.seconds = 0.0
        self.has_failed = False


class Tracer:
    """
    The plugin.

    Args:
        folder: where the traces go.
        when: ``"all"``, ``"failed"`` or ``"slow"``.
        slow: seconds.
        options: of `fgtrace.Config`.

    Raises:
        ConfigError: an option has a value that is not allowed.
    """

    def __init__(self, folder: Path, when: str, slow: float, options: dict[str, Any]) -> None:
        self._folder = folder
        self._when = when
        self._slow = slow
        self._options = options
        format_ = Config(dst="any.json", **{"format": "json", **options}).effective_format
        self._suffix = FORMATS[str(format_)][0]
        self._run: _Run | None = None
        self._tests: set[str] = set()
        self._failed: set[str] = set()
        self._written: list[tuple[str, str]] = []
        self._problems: list[str] = []

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """
        Begin, before any fixture.
        """
        told = getattr(item.config, "workerinput", {})
        path = self._folder / file_name(told.get(WORKER, "") + item.nodeid, self._suffix)
        with suppress(SinkError):  # the folder is gone: the test's end will tell
            self._run = _Run(path, Config(dst=path, **self._options).trace().start())
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, Any, pytest.TestReport]:
        """
        Tell a failed test's report where its trace will be, and write it after the teardown.
        """
        report: pytest.TestReport = yield
        run = self._run
        if run is not None:
            run.seconds += report.duration
            run.has_failed = run.has_failed or report.failed
            if report.failed:
                report.sections.append(("fgtrace", f"the trace is in {run.path}"))
            if report.when == "teardown":
                report.user_properties.extend(self._end(run))
        return report

    def _end(self, run: _Run) -> list[tuple[str, object]]:
        """
        Write the trace of a test, or leave it; what its report shall say.
        """
        self._run = None
        is_kept = {"all": True, "failed": run.has_failed, "slow": run.seconds >= self._slow}
        try:
            if is_kept[self._when]:
                run.trace.stop()
                return [(WRITTEN, str(run.path))]
            run.trace.abandon()
            run.path.unlink(missing_ok=True)  # of an earlier run, in which it failed
        except OSError as error:
            return [(FAILED, str(error))]
        return []

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """
        Under pytest-xdist's ``--dist=each`` every worker runs every test: each names its files.
        """
        if node.config.option.dist == "each":
            node.workerinput[WORKER] = f"{node.gateway.id}."

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """
        Remember what a report says, also one that comes from a worker.
        """
        self._tests.add(report.nodeid)
        if report.failed:
            self._failed.add(report.nodeid)
        for name, value in report.user_properties:
            if name == WRITTEN and report.when == "teardown":
                self._written.append((report.nodeid, str(value)))
            elif name == FAILED and report.when == "teardown":
                self._problems.append(str(value))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """
        A test that was interrupted has a trace, too: of what it hung in.
        """
        run = self._run
        if run is not None:
            run.has_failed, run.seconds = True, self._slow
            told = dict(self._end(run))
            if WRITTEN in told:
                self._written.append(("interrupted", str(told[WRITTEN])))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """
        Say where the traces are: those of failed tests, and how many there are.
        """
        if not self._tests:
            return
        count = len(self._written)
        traces = f"{count} trace{'' if count == 1 else 's'}"
        told = [f"{traces} in {os.path.relpath(self._folder)}: fgtrace view FILE"]
        first = [each for each in self._written if each[0] in self._failed or each[0] == "interrupted"]
        listed = first or (self._written if self._when == "slow" else [])
        told.extend(f"{test}: {os.path.relpath(path)}" for test, path in listed[:MOST_LISTED])
        if len(listed) > MOST_LISTED:
            told.append(f"... and {len(listed) - MOST_LISTED} more")
        told.extend(f"not written: {problem}" for problem in self._problems[:MOST_LISTED])
        terminalreporter.section("fgtrace")
        for line in told:
            terminalreporter.write_line(line)
