"""
Which sampler serves: the one over the C core, or its Python twin.
"""

from __future__ import annotations

import os
import sys
import threading

from fgtrace._options.options import Options
from fgtrace._sampling.core_calibration import CoreError
from fgtrace._sampling.core_sampler import CoreSampler
from fgtrace._sampling.python_sampler import PythonSampler
from fgtrace._sampling.sampler import Sampler
from fgtrace.errors import ConfigError

__all__ = ["VARIABLE", "make_sampler", "tell_running_loop"]

#: The environment variable that forces one.
VARIABLE = "FGTRACE_CORE"

_told: list[str] = []


def make_sampler(options: Options) -> Sampler:
    """
    A sampler with these options, not yet started.

    Raises:
        ConfigError: the environment asks for a core that there is not.
    """
    wanted = os.environ.get(VARIABLE, "")
    if wanted not in ("", "c", "python"):
        raise ConfigError(VARIABLE, wanted, "allowed is 'c' or 'python'")
    if wanted == "python":
        return PythonSampler(options)
    try:
        return CoreSampler(options)
    except CoreError as error:
        if wanted == "c":
            raise ConfigError(VARIABLE, wanted, f"the C core cannot serve: {error}") from error
        _tell(str(error))
        return PythonSampler(options)


def tell_running_loop(sampler: Sampler) -> None:
    """
    Name the loop that runs here: a compiled one leaves no trace in the frames.
    """
    events = sys.modules.get("asyncio.events")
    loop = events._get_running_loop() if events is not None else None
    if loop is not None:
        sampler.finder.add(threading.get_ident(), loop)


def _tell(reason: str) -> None:
    """
    One log line a process, where anybody listens.
    """
    if reason not in _told and "logging" in sys.modules:
        _told.append(reason)
        sys.modules["logging"].getLogger("fgtrace").info(
            "the C core cannot serve, its Python twin does: %s", reason
        )
