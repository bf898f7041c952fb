"""
The doors' common room: what is asked over HTTP, by whom it may be, and what is answered.

It knows no framework and no socket. A door (`fgtrace.asgi`, `fgtrace.aiohttp`, `fgtrace.wsgi`,
`fgtrace.server`) hands in an `HttpRequest` and gets a `Reply` to send, or a `Job` to run in a thread that may
block; it cancels the job when its client goes away, and closes what it was given.

    found = door.answer(HttpRequest("GET", "/fgtrace", "seconds=3"))

Everything from outside is bounded: the query, what is said back of it, the length and rate of a trace, how
many there are at once, and how long a client may take to read one.

The idea of a wall-clock trace behind a URL, with these paths, is Felix Geisendörfer's (fgprof, fgtrace).
"""

from __future__ import annotations

from fgtrace._http.endpoints import PATHS, Door
from fgtrace._http.jobs import Job
from fgtrace._http.messages import HttpRequest, Reply
from fgtrace._http.options import HttpOptions
from fgtrace._options.parsing import refuse_unknown
from fgtrace.errors import ConfigError

__all__ = ["PATHS", "Door", "HttpOptions", "HttpRequest", "Job", "Reply", "make_door", "mount_path"]


def make_door(function: str, options: dict[str, object], *own: str) -> Door:
    """
    The door with these options.

    Args:
        function: what the user called, as ``"fgtrace.serve"``.
        options: of `HttpOptions`.
        own: names of further options that the function has.

    Raises:
        ConfigError: an option has a value that is not allowed.
        UnknownOptionError: there is no such option.
    """
    refuse_unknown(function, options, (*own, *HttpOptions.__slots__))
    return Door(HttpOptions(**options))  # type: ignore[arg-type]


def mount_path(prefix: str) -> str:
    """
    The path below which a door answers, without a slash at its end.

    Raises:
        ConfigError: there would be nothing left for the application, or it is no path.
    """
    place = prefix.rstrip("/")
    if not place.startswith("/") or any(each in place for each in "?#{}"):
        raise ConfigError("prefix", prefix, "allowed is a path such as '/debug'")
    return place
