"""
The choice of a sampler: the C core's, or its twin in Python where the core cannot serve.
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

#: The environment variable that forces one of the two: ``c`` or ``python``.
VARIABLE = "FGTRACE_CORE"

_logged: list[str] = []


def make_sampler(options: Options) -> Sampler:
    """
    Return a sampler that is not yet started: the C core's if there is one that fits, else the one in Python.

    Args:
        options: see `Options`.

    Raises:
        ConfigError: the environment variable `VARIABLE` asks for a core that cannot serve, or has another
            value than ``c`` and ``python``.
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
        _log_once(str(error))
        return PythonSampler(options)


def tell_running_loop(sampler: Sampler) -> None:
    """
    Tell a sampler of the loop that runs in this thread: a compiled loop leaves no frame by which to find it.
    """
    events = sys.modules.get("asyncio.events")
    loop = events._get_running_loop() if events is not None else None
    if loop is not None:
        sampler.finder.add(threading.get_ident(), loop)


def _log_once(reason: str) -> None:
    """
    Log a reason once a process, if the program has imported logging.
    """
    if reason not in _logged and "logging" in sys.modules:
        _logged.append(reason)
        sys.modules["logging"].getLogger("fgtrace").info(
            "the C core cannot serve, its Python twin does: %s", reason
        )
