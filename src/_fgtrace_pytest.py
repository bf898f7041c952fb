"""
fgtrace's plugin for pytest, as far as pytest always loads it: the options.

It stands outside of the package, for whoever imports a part of a package imports the package: a run
that asks for no trace must not pay for one. (After Hypothesis' ``_hypothesis_pytestplugin``.)
"""

from __future__ import annotations

import pytest

__all__ = ["pytest_addoption", "pytest_configure"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """
    The options.
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
    Load the rest, where traces are asked for.
    """
    if config.getoption("fgtrace") is not None:
        from fgtrace.pytest_plugin import tracer_of

        config.pluginmanager.register(tracer_of(config), "fgtrace-tracer")
