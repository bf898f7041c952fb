"""
The part of fgtrace's pytest plugin that pytest always loads: the options.

It is outside of the package, since the import of a module imports its package, too: a run without traces
must not pay for that. (After Hypothesis' ``_hypothesis_pytestplugin``.)
"""

from __future__ import annotations

import pytest

__all__ = ["pytest_addoption", "pytest_configure"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """
    Add the options of the plugin.
    """
    group = parser.getgroup("fgtrace", "wall-clock traces of tests")
    group.addoption(
        "--fgtrace", nargs="?", const="fgtrace-traces", metavar="DIR",
        help="write a trace of each test into DIR (fgtrace-traces)",
    )  # fmt: skip
    group.addoption(
        "--fgtrace-when", choices=("all", "failed", "slow"), default="all",
        help="of which tests a trace is kept (all)",
    )  # fmt: skip
    group.addoption(
        "--fgtrace-slow", type=float, default=1.0, metavar="SECONDS",
        help="what is slow: setup, test and teardown together (1.0)",
    )  # fmt: skip
    group.addoption(
        "--fgtrace-set", action="append", default=[], metavar="NAME=VALUE",
        help="an option of fgtrace.Config: hz=500, awaits=exact, format=perfetto",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """
    Load the plugin itself if the run asks for traces.
    """
    if config.getoption("fgtrace") is not None:
        from fgtrace.pytest_plugin import tracer_of

        config.pluginmanager.register(tracer_of(config), "fgtrace-tracer")
