"""
How much a run of the tests tries: an ordinary one, or the nightly one (``FGTRACE_NIGHTLY=yes``), which may
take its time.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import settings

__all__ = ["NIGHTLY", "SERVING", "times", "whole_programs"]

NIGHTLY = bool(os.environ.get("FGTRACE_NIGHTLY"))
#: The core that serves where none is asked for: a parameter of the fixture `core`.
SERVING = "serving"

EXAMPLES = 1000 if NIGHTLY else 50

settings.register_profile("fgtrace", deadline=None, max_examples=EXAMPLES)  # a deadline would be in seconds
settings.load_profile("fgtrace")

#: For modules with programs that run for seconds: with the core that serves, every night with both.
whole_programs = [
    pytest.mark.usefixtures("core"),
    pytest.mark.parametrize("core", ["c", "python"] if NIGHTLY else [SERVING], indirect=True),
    pytest.mark.once,
]


def times(factor: float, **others: Any) -> settings:
    """
    Return settings for a multiple of the examples that Hypothesis draws of other tests in this run.
    """
    return settings(max_examples=int(factor * EXAMPLES), **others)
