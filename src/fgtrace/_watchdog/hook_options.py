"""
The options of the debug hook: their checks, their defaults, and the environment variables that set them.

A new option is a field of `HookOptions`, a row of `_CHECKS` and a row of `VARIABLES`; docs/debug-hook.md
lists it. Nothing reads the environment before `from_environment` or `unknown_variables` is called.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from signal import Signals
from typing import Any, Literal

from fgtrace._options.options import CHECKS, FORMATS, MIB, RECORDER_OPTIONS
from fgtrace._options.parsing import FLAGS, nearest, number_or_text, refuse_unknown, verbatim
from fgtrace.errors import ConfigError

__all__ = ["PREFIX", "VARIABLES", "HookOptions", "from_environment", "unknown_variables"]

#: The prefix of the environment variables.
PREFIX = "FGTRACE_"
_NOTHING = ("", "no", "off", "none")
#: The signal that asks for a dump unless an option says otherwise; Windows has none of this name.
USUAL_SIGNAL = "SIGUSR2"
#: Signals that no program can handle.
_UNHANDLED = ("SIGKILL", "SIGSTOP")


@dataclass(frozen=True, slots=True, kw_only=True)
class HookOptions:
    """
    Which triggers `fgtrace.install` watches for, and where its dumps go.

    Args:
        folder: where the dumps go; it is made for the first one.
        seconds: the length of a dump: the seconds before the trigger that it has.
        blocked: dump when an event loop is blocked for ``slow_callback_duration``.
        slow_callback_duration: seconds; None: each loop's own, which is 0.1 in asyncio.
        stuck: dump when a task is in one await for longer than this many seconds; None: never.
        exceptions: dump when an exception reaches an event loop's exception handler.
        signal: dump at this signal; None: at none. The program's handler is called, too.
        when: ``"always"``, or ``"debug"``: only if asyncio's debug mode is on.
        max_files: how many dumps are kept; the oldest are deleted first.
        max_bytes: the size of the kept dumps together.
        interval: seconds between two dumps; earlier triggers are only counted.
        format: of the dumps, as of `Config`.
        recorder: options of the `FlightRecorder`: ``hz``, ``awaits``, ``max_memory`` and so on.

    Raises:
        ConfigError: a value is not allowed.
    """

    folder: str | os.PathLike[str] = "fgtrace-dumps"
    seconds: float = 30
    blocked: bool = True
    slow_callback_duration: float | None = None
    stuck: float | None = None
    exceptions: bool = True
    signal: str | None = USUAL_SIGNAL
    when: Literal["always", "debug"] = "always"
    max_files: int = 20
    max_bytes: int = 256 * MIB
    interval: float = 10
    format: str = "perfetto"
    recorder: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, (allows, allowed) in _CHECKS.items():
            value = getattr(self, name)
            if not allows(value):
                raise ConfigError(name, value, allowed)

    @property
    def signal_number(self) -> Signals | None:
        """
        Return the signal; None: no signal, or the system has none of this name.
        """
        return Signals.__members__.get(self.signal) if self.signal is not None else None


def _is_seconds(value: Any) -> bool:
    return CHECKS["slow_callback_duration"][0](value)


def _or_none(allows: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or allows(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_folder(value: Any) -> bool:
    return isinstance(value, (str, os.PathLike)) and os.fspath(value) not in ("", b"")


def _is_signal(value: Any) -> bool:
    is_known = isinstance(value, str) and value in Signals.__members__ and value not in _UNHANDLED
    return is_known or value == USUAL_SIGNAL  # the default stands on systems without it, too


_SECONDS = "a number above 0 (seconds)"
_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "folder": (_is_folder, "allowed is a path"),
    "seconds": (_is_seconds, f"allowed is {_SECONDS}"),
    "blocked": (_is_flag, "allowed is True or False"),
    "slow_callback_duration": (_or_none(_is_seconds), f"allowed is {_SECONDS}, or None: each loop's own"),
    "stuck": (_or_none(_is_seconds), f"allowed is {_SECONDS}, or None: never"),
    "exceptions": (_is_flag, "allowed is True or False"),
    "signal": (
        _or_none(_is_signal),
        "allowed is the name of a signal that can be handled, such as 'SIGUSR2', or None",
    ),
    "when": (lambda value: value in ("always", "debug"), "allowed is 'always' or 'debug'"),
    "max_files": (_is_count, "allowed is a whole number above 0"),
    "max_bytes": (_is_count, "allowed is a whole number of bytes above 0"),
    "interval": (lambda value: value == 0 or _is_seconds(value), f"allowed is 0, or {_SECONDS}"),
    "format": (lambda value: value in FORMATS, "allowed is " + " or ".join(map(repr, FORMATS))),
}


def _maybe(given: str) -> object:
    return None if given.lower() in _NOTHING else given


def _maybe_number(given: str) -> object:
    return None if given.lower() in _NOTHING else number_or_text(given)


def _flag(given: str) -> object:
    return FLAGS.get(given.lower(), given)


#: Option -> the function that makes its value of the text in ``FGTRACE_<OPTION>``; the last four are the
#: recorder's.
VARIABLES: dict[str, Callable[[str], object]] = {
    "folder": verbatim,
    "seconds": number_or_text,
    "blocked": _flag,
    "slow_callback_duration": _maybe_number,
    "stuck": _maybe_number,
    "exceptions": _flag,
    "signal": _maybe,
    "when": verbatim,
    "max_files": number_or_text,
    "max_bytes": number_or_text,
    "interval": number_or_text,
    "format": verbatim,
    "hz": number_or_text,
    "awaits": verbatim,
    "max_memory": number_or_text,
    "max_overhead": number_or_text,
}


#: Variables that other code reads: to choose the core, to build and to test this project.
_OTHERS = ("CORE", "BUILD", "CFLAGS", "NIGHTLY", "STRESS_SECONDS", "VIEWERS")
_reported: set[str] = set()


def unknown_variables(environment: Mapping[str, str] = os.environ) -> list[str]:
    """
    Return a warning for each ``FGTRACE_`` variable that fgtrace does not know, such as a misspelt one; once a
    process.
    """
    known = [name.upper() for name in (*VARIABLES, *_OTHERS)]
    ours = {name.removeprefix(PREFIX) for name in environment if name.startswith(PREFIX)}
    found = []
    for name in sorted(ours.difference(known, _reported)):
        meant = nearest(name, known)
        _reported.add(name)
        warning = f"the environment variable {PREFIX}{name} is unknown"
        found.append(f"{warning}: did you mean {PREFIX}{meant}?" if meant else warning)
    return found


def from_environment(given: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> HookOptions:
    """
    Return the options: as given, or else from the environment, or else their defaults.

    Args:
        given: options of the hook and of the recorder.
        environment: the variables.

    Raises:
        ConfigError: a value is not allowed; for one of the environment the error names the variable.
        UnknownOptionError: there is no such option.
    """
    known = (*_CHECKS, *(name for name in RECORDER_OPTIONS if name not in _CHECKS))
    refuse_unknown("fgtrace.install", given, known)
    found: dict[str, Any] = {}
    for name, read in VARIABLES.items():
        value = environment.get(PREFIX + name.upper())
        if value is not None and name not in given:
            found[name] = read(value)
            _check(name, found[name])
    found.update(given)
    own = {name: found.pop(name) for name in _CHECKS if name in found}
    return HookOptions(**own, recorder=found)


def _check(name: str, value: object) -> None:
    allows, allowed = _CHECKS.get(name) or CHECKS[name]
    if not allows(value):
        raise ConfigError(PREFIX + name.upper(), value, allowed)
