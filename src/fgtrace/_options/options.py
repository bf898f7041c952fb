"""
The options of a trace: one frozen value for Python, the query string and the command line.

`Options` checks its values once, when it is made, so that all code behind it can trust them. No option is
needed for a good trace: `Options()` is valid. The trace's metadata has the effective values.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, fields
from typing import IO, Any, Literal, Self

from fgtrace._model.states import TASK_STATES, THREAD_STATES
from fgtrace._options.parsing import refuse_unknown
from fgtrace.errors import ConfigError

__all__ = ["FORMATS", "GZIPPED", "READABLE", "RECORDER_OPTIONS", "Destination", "Options", "format_of"]

#: Where a trace goes: a path, or a binary file object, which fgtrace writes to and never closes.
Destination = str | os.PathLike[str] | IO[bytes]

#: Format name -> the suffixes that choose it.
FORMATS: dict[str, tuple[str, ...]] = {
    "json": (".json",),
    "json.gz": (".json.gz",),
    "perfetto": (".pftrace",),
    "perfetto.gz": (".pftrace.gz",),
    "speedscope": (".speedscope.json",),
    "folded": (".folded",),
    "pprof": (".pb.gz",),
    "firefox": (".firefox.json",),
    "firefox.gz": (".firefox.json.gz",),
    "html": (".html",),
}

#: The formats that are packed with gzip.
GZIPPED = frozenset({"json.gz", "perfetto.gz", "pprof", "firefox.gz"})

#: The formats that `fgtrace.load` and the reports can read back.
READABLE = frozenset({"json", "json.gz", "perfetto", "perfetto.gz"})

MIB = 1024 * 1024


def format_of(path: str) -> str | None:
    """
    Return the format that a path's suffix asks for, or None if the suffix is of no known format.

    A path without any suffix means ``json``.
    """
    name = os.path.basename(path).lower()
    fitting = [
        (len(suffix), format_)
        for format_, suffixes in FORMATS.items()
        for suffix in suffixes
        if name.endswith(suffix)
    ]
    if fitting:
        return max(fitting)[1]  # the longest suffix counts: .speedscope.json is no .json
    return None if os.path.splitext(name)[1] else "json"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_hz(value: Any) -> bool:
    return _is_number(value) and 0 < value <= 10_000


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 < value <= 1


def _is_seconds(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_memory(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= MIB


def _is_destination(value: object) -> bool:
    if isinstance(value, (str, os.PathLike)):
        path = os.fspath(value)
        return isinstance(path, str) and path != "" and "\0" not in path
    return callable(getattr(value, "write", None))


def _is_labels(value: object) -> bool:
    return isinstance(value, (tuple, list)) and all(isinstance(item, ContextVar) for item in value)


def _is_rules(value: object) -> bool:
    if isinstance(value, Mapping):
        value = tuple(value.items())
    return isinstance(value, tuple) and all(_is_rule(item) for item in value)


def _is_rule(item: object) -> bool:
    match item:
        case (str() as prefix, str() as state):
            return ":" in prefix and state in (*TASK_STATES, *THREAD_STATES)
    return False


def _one_of(*allowed: object) -> tuple[Callable[[Any], bool], str]:
    def check(value: Any) -> bool:
        return any(value is item or (type(value) is type(item) and value == item) for item in allowed)

    return check, "allowed is " + " or ".join(repr(item) for item in allowed)


#: Option -> (whether a value is allowed, which values are allowed in words).
CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "hz": (_is_hz, "allowed is a number above 0 and up to 10000 (ticks a second)"),
    "dst": (_is_destination, "allowed is a path or a binary file object"),
    "format": _one_of(None, *FORMATS),
    "include_self": _one_of(True, False),
    "state_frames": _one_of("root", "leaf", "no"),
    "threads": _one_of(True, False),
    "tasks": _one_of(True, False),
    "tracks": _one_of("auto", "task", "lane"),
    "awaits": _one_of("sampled", "exact"),
    "slow_callback_duration": (_is_seconds, "allowed is a number above 0 (seconds)"),
    "lines": _one_of(True, False),
    "labels": (_is_labels, "allowed is a sequence of contextvars.ContextVar"),
    "rules": (
        _is_rules,
        "allowed is a mapping (or a tuple of pairs) from 'module:qualname prefix' to the name of a state",
    ),
    "max_overhead": (_is_share, "allowed is a fraction above 0 and up to 1"),
    "max_memory": (_is_memory, f"allowed is a whole number of bytes, {MIB} or more"),
}

#: The options of a flight recorder, which has no destination.
RECORDER_OPTIONS = tuple(name for name in CHECKS if name not in ("dst", "format"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """
    The options of a trace: what is sampled, how often, and where the trace goes.

    Args:
        hz: ticks a second, up to 10,000. The default is 99, not 100, so that ticks do not stay in step with
            timers of 10 ms (after fgprof).
        dst: a path, which is written as ``<path>.partial`` and renamed when the file is whole; or a binary
            file object, which is written and never closed.
        format: ``"json"``, ``"perfetto"`` or another of `FORMATS`; None: the path's suffix decides.
        include_self: whether fgtrace's own threads and frames are shown as well.
        state_frames: the state is the outermost slice of a track (``"root"``), the innermost
            (``"leaf"``), or left out (``"no"``).
        threads: a track for every thread.
        tasks: a track for every asyncio task.
        tracks: ``"task"``: each task has a track of its own. ``"lane"``: short tasks of the same
            coroutine share tracks, one after the other, each within a slice of its name.
            ``"auto"``: lanes where there are more than 2,000 tasks, since viewers become slow then.
            `fgtrace.load` gives each task its own track again.
        awaits: ``"sampled"``: tasks are sampled at the ticks. ``"exact"``: every step of every task on
            asyncio's own loops is noted with its true start and end and with what woke it. The loop's
            callbacks, its idle time and the runs of the garbage collector are noted as well. While such a
            trace runs, up to four methods of asyncio are replaced.
        slow_callback_duration: seconds; with exact awaits a step or callback that lasts as long as this gets
            a flag, ``loop blocked``. The default is asyncio's own.
        lines: a slice for every line of a function, instead of one for the function.
        labels: context variables whose values become arguments of a task's track (Python 3.12 and newer: 3.11
            does not show a task's context). Values other than strings and integers are left out.
        rules: state rules of your own, ``{"app.pool:Pool.acquire": "pool wait"}``: a task or thread that
            waits in a function whose ``module:qualname`` starts so is in that state. Each prefix has the
            colon: ``app.pool:`` stands for all functions of a module.
        max_overhead: the share of the wall clock that the tracer may take; it skips ticks rather than exceed
            it.
        max_memory: bytes of memory for the recording; the rest of it goes to a temporary file.

    Raises:
        ConfigError: a value is not allowed; the error names the field, the value and what is allowed.
        UnknownOptionError: an option does not exist.
    """

    hz: float = 99
    dst: Destination = "fgtrace.json"
    format: str | None = None
    include_self: bool = False
    state_frames: Literal["root", "leaf", "no"] = "root"
    threads: bool = True
    tasks: bool = True
    tracks: Literal["auto", "task", "lane"] = "auto"
    awaits: Literal["sampled", "exact"] = "sampled"
    slow_callback_duration: float = 0.1
    lines: bool = False
    labels: tuple[ContextVar[Any], ...] = ()
    rules: Mapping[str, str] | tuple[tuple[str, str], ...] = ()
    max_overhead: float = 0.05
    max_memory: int = 256 * MIB

    def __new__(cls, *_: object, **options: object) -> Self:
        """
        Refuse names that are no options, with an error that names all options; `dataclass` would name none.
        """
        refuse_unknown("fgtrace.Config", options, CHECKS)
        return object.__new__(cls)

    def __post_init__(self) -> None:
        for name, (allows, allowed) in CHECKS.items():
            value = getattr(self, name)
            if not allows(value):
                raise ConfigError(name, value, allowed)
        self._freeze()
        if not (self.threads or self.tasks):
            raise ConfigError(
                "tasks", False, "allowed is True where threads is off: one of the two must be on"
            )
        if self.awaits == "exact" and not self.tasks:
            raise ConfigError("awaits", self.awaits, "allowed is 'sampled' where tasks is off")
        if self.effective_format is None:
            suffixes = ", ".join(suffix for found in FORMATS.values() for suffix in found)
            raise ConfigError("dst", self.dst, f"allowed is a name that ends in {suffixes}; or say format=")

    def _freeze(self) -> None:
        rules = self.rules.items() if isinstance(self.rules, Mapping) else self.rules
        object.__setattr__(self, "rules", tuple(rules))
        object.__setattr__(self, "labels", tuple(self.labels))

    @property
    def effective_format(self) -> str | None:
        """
        Return the format that will be written: the given one, or that of the path's suffix.
        """
        if self.format is not None:
            return self.format
        if isinstance(self.dst, (str, os.PathLike)):
            return format_of(os.fspath(self.dst))
        return "json"

    def as_dict(self) -> dict[str, str | float | bool | None]:
        """
        Return the effective options as plain values, for the trace's metadata; a file object is its name, or
        None.
        """
        found: dict[str, str | float | bool | None] = {}
        for field_ in fields(self):
            value = getattr(self, field_.name)
            found[field_.name] = value if isinstance(value, (int, float, str)) else _plain(value)
        found["format"] = self.effective_format
        return found


def _plain(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, os.PathLike):
        return str(os.fspath(value))
    if isinstance(value, tuple):
        return ", ".join(item.name if isinstance(item, ContextVar) else " = ".join(item) for item in value)
    name = getattr(value, "name", None)  # of a file object
    return name if isinstance(name, str) and name else None
