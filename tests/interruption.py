"""
A run of the tests that is interrupted says what had failed until then.

pytest leaves the fixtures of the test that was interrupted to the end of the session, and what they raise
there ends it before its summary. So checks that cannot hold any more ask `was_interrupted`, and what the rest
raises is a line above the summary.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

__all__ = ["pytest_sessionfinish", "was_interrupted"]

_INTERRUPTED = pytest.StashKey[bool]()


def was_interrupted(config: pytest.Config) -> bool:
    """
    Return whether the session ends because of Ctrl-C.
    """
    return config.stash.get(_INTERRUPTED, False)


@pytest.hookimpl(wrapper=True, trylast=True)  # within the wrapper that prints the summary
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Generator[None, object, object]:
    """
    Keep what fixtures raise after an interruption from hiding the summary.
    """
    if exitstatus != pytest.ExitCode.INTERRUPTED:
        return (yield)
    session.config.stash[_INTERRUPTED] = True
    try:
        return (yield)
    except (Exception, pytest.fail.Exception) as error:
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:  # a worker has none
            reporter.write_line(f"\nleft behind by the interruption: {error!r}")
        return None
