"""
The pytest plugin of ``pytest --fgtrace``: traces each test. ``_fgtrace_pytest``, beside the package, has its
options.

A trace goes from a test's setup to its teardown, so it has the fixtures that were made for the test. At the
end the plugin writes it or drops it. Under pytest-xdist the workers trace and write; they put the file's name
into the test's report, from which the terminal gets it.
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

#: How many characters of a test's id are in its file's name.
LONGEST_NAME = 120
#: How many traces the terminal lists.
MOST_LISTED = 20
#: The file that marks a folder of traces, and keeps it out of commits.
MARK = ".gitignore"
MARKED = "# traces of tests, by fgtrace\n*\n"
#: The properties of a test's report that name its trace, or say why there is none.
WRITTEN, FAILED = "fgtrace", "fgtrace error"
#: The key of the prefix that a worker of pytest-xdist gives its files.
WORKER = "fgtrace worker"


def tracer_of(config: pytest.Config) -> Tracer:
    """
    Return the tracer of a test run.

    Raises:
        pytest.UsageError: an option has a value that is not allowed.
    """
    folder = Path(config.invocation_params.dir, config.getoption("fgtrace")).absolute()
    try:
        options = options_of(config.getoption("fgtrace_set"))
        tracer = Tracer(folder, config.getoption("fgtrace_when"), config.getoption("fgtrace_slow"), options)
    except ConfigError as error:
        raise pytest.UsageError(f"--fgtrace-set: {error}") from error
    if not hasattr(config, "workerinput"):  # a worker of pytest-xdist has its folder already
        _prepare(folder)
        config.option.fgtrace = str(folder)  # from which the workers get it
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
    Return the name of a test's file: safe on every system, not too long, and unique.

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
    A test that is being traced.
    """

    def __init__(self, path: Path, trace: Trace) -> None:
        self.path = path
        self.trace = trace
        self.seconds = 0.0
        self.has_failed = False


class Tracer:
    """
    The plugin that traces tests.

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
        Start the trace, before any fixture.
        """
        given = getattr(item.config, "workerinput", {})
        path = self._folder / file_name(given.get(WORKER, "") + item.nodeid, self._suffix)
        with suppress(SinkError):  # the folder is gone: the end of the test reports it
            self._run = _Run(path, Config(dst=path, **self._options).trace().start())
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, Any, pytest.TestReport]:
        """
        Put the trace's path into a failed test's report, and write the trace after the teardown.
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
        Write the trace of a test, or drop it, and return the properties for the test's report.
        """
        self._run = None
        is_kept = {"all": True, "failed": run.has_failed, "slow": run.seconds >= self._slow}
        try:
            if is_kept[self._when]:
                run.trace.stop()
                return [(WRITTEN, str(run.path))]
            run.trace.abandon()
            run.path.unlink(missing_ok=True)  # the trace of an earlier run, in which the test failed
        except OSError as error:
            return [(FAILED, str(error))]
        return []

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """
        Give each worker a prefix for its files under ``--dist=each``, where every worker runs every test.
        """
        if node.config.option.dist == "each":
            node.workerinput[WORKER] = f"{node.gateway.id}."

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """
        Collect the traces and failures from the reports of tests, also those of workers.
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
        Write the trace of a test that was interrupted: it shows where the test hung.
        """
        run = self._run
        if run is not None:
            run.has_failed, run.seconds = True, self._slow
            properties = dict(self._end(run))
            if WRITTEN in properties:
                self._written.append(("interrupted", str(properties[WRITTEN])))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """
        Print how many traces there are, and the paths of those of failed tests.
        """
        if not self._tests:
            return
        count = len(self._written)
        traces = f"{count} trace{'' if count == 1 else 's'}"
        lines = [f"{traces} in {os.path.relpath(self._folder)}: fgtrace view FILE"]
        first = [each for each in self._written if each[0] in self._failed or each[0] == "interrupted"]
        listed = first or (self._written if self._when == "slow" else [])
        lines.extend(f"{test}: {os.path.relpath(path)}" for test, path in listed[:MOST_LISTED])
        if len(listed) > MOST_LISTED:
            lines.append(f"... and {len(listed) - MOST_LISTED} more")
        lines.extend(f"not written: {problem}" for problem in self._problems[:MOST_LISTED])
        terminalreporter.section("fgtrace")
        for line in lines:
            terminalreporter.write_line(line)
