"""
The errors that fgtrace raises.

    FgtraceError
    ├── ConfigError         (ValueError)    an option with a value that is not allowed
    ├── UnknownOptionError  (TypeError)     an option that does not exist
    ├── TraceStateError     (RuntimeError)  a call at the wrong time: ``stop()`` twice, say
    ├── SinkError           (OSError)       the destination could not be opened or written
    └── TraceFormatError    (ValueError)    a file that is not a trace we can read

Each error is also the builtin that a caller would expect, so ``except ValueError`` and
``except fgtrace.ConfigError`` both work.
"""

from __future__ import annotations

__all__ = [
    "ConfigError",
    "FgtraceError",
    "SinkError",
    "TraceFormatError",
    "TraceStateError",
    "UnknownOptionError",
]


class FgtraceError(Exception):
    """
    The parent of every error that fgtrace raises on purpose.
    """


class ConfigError(FgtraceError, ValueError):
    """
    An option has a value that is not allowed.

    Attributes:
        field: the option's name, such as ``"hz"``.
        value: the value that was given.
        allowed: the values that are allowed, in words.
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(field, value, allowed)
        self.field = field
        self.value = value
        self.allowed = allowed

    def __str__(self) -> str:
        return f"bad {self.field}: {self.value!r}: {self.allowed}"


class UnknownOptionError(FgtraceError, TypeError):
    """
    A function has no option of this name.

    Attributes:
        function: the function that was called, such as ``"fgtrace.serve"``.
        option: the name that was given.
        known: the names of the options that exist.
    """

    def __init__(self, function: str, option: str, known: tuple[str, ...], nearest: str = "") -> None:
        super().__init__(function, option, known, nearest)
        self.function = function
        self.option = option
        self.known = known
        self._nearest = nearest

    def __str__(self) -> str:
        meant = f"did you mean {self._nearest!r}? " if self._nearest else ""
        return (
            f"{self.function}() has no option {self.option!r}: {meant}the options are {', '.join(self.known)}"
        )


class TraceStateError(FgtraceError, RuntimeError):
    """
    A call came at the wrong time: the trace cannot do this in its present state.
    """


class SinkError(FgtraceError, OSError):
    """
    The destination of a trace could not be opened or written.

    ``__cause__`` has the cause (``FileNotFoundError``, ``OSError(ENOSPC)``, ``ValueError`` of a closed file);
    ``errno`` and ``filename`` are those of the cause, where it has them.

    Attributes:
        dst: the destination as the caller gave it.
    """

    def __init__(self, dst: object, cause: BaseException) -> None:
        super().__init__(f"cannot write the trace to {dst!s}: {cause}")
        self.dst = dst
        self.errno = getattr(cause, "errno", None)
        self.filename = getattr(cause, "filename", None)

    def __str__(self) -> str:
        return str(self.args[0])  # an OSError that has an errno would print the errno alone


class TraceFormatError(FgtraceError, ValueError):
    """
    A file is not a trace that fgtrace can read.

    Attributes:
        source: the file's name.
        offset: where the reader stopped, in bytes from the start; None where that is not known.
    """

    def __init__(self, source: object, reason: str, offset: int | None = None) -> None:
        where = "" if offset is None else f" at byte {offset}"
        super().__init__(f"{source!s}: not a trace that can be read: {reason}{where}")
        self.source = source
        self.offset = offset
