"""
What the mounts share: the making of endpoints, and the bases of applications and middleware that hold them.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from fgtrace._http.endpoints import Endpoints
from fgtrace._http.options import HttpOptions
from fgtrace._options.parsing import refuse_unknown
from fgtrace.errors import ConfigError

__all__ = ["EndpointsApp", "EndpointsMiddleware", "make_endpoints", "mount_path"]

A = TypeVar("A")


def make_endpoints(function: str, options: dict[str, object], *own: str) -> Endpoints:
    """
    Return endpoints with these options.

    Args:
        function: what the user called, as ``"fgtrace.serve"``.
        options: of `HttpOptions`.
        own: names of further options that the function has.

    Raises:
        ConfigError: an option has a value that is not allowed.
        UnknownOptionError: there is no such option.
    """
    refuse_unknown(function, options, (*own, *HttpOptions.__slots__))
    return Endpoints(HttpOptions(**options))  # type: ignore[arg-type]


def mount_path(prefix: str) -> str:
    """
    Check a prefix, and return it without the slash at its end.

    Raises:
        ConfigError: the prefix is ``/``, which would leave no path to the application, or is no path.
    """
    path = prefix.rstrip("/")
    if not path.startswith("/") or any(each in path for each in "?#{}"):
        raise ConfigError("prefix", prefix, "allowed is a path such as '/debug'")
    return path


class EndpointsApp:
    """
    Base of an application that is mounted in another one.

    Args:
        options: of `HttpOptions`.

    Raises:
        ConfigError: an option has a value that is not allowed.
        UnknownOptionError: there is no such option.
    """

    def __init__(self, **options: Any) -> None:
        self._endpoints = make_endpoints(_name_of(self), options)


class EndpointsMiddleware(Generic[A]):
    """
    Base of a middleware: the endpoints under a prefix, and an application that gets all other requests.

    Args:
        app: the application.
        prefix: the path of the endpoints.
        options: as of `EndpointsApp`.

    Raises:
        ConfigError: as of `EndpointsApp`; or the prefix is no path.
        UnknownOptionError: as of `EndpointsApp`.
    """

    def __init__(self, app: A, prefix: str = "/debug", **options: Any) -> None:
        self._app = app
        self._prefix = mount_path(prefix)
        self._endpoints = make_endpoints(_name_of(self), options, "prefix")

    def _below(self, path: str) -> str | None:
        """
        Return a path as seen from the prefix; None if it is not below that.
        """
        if path == self._prefix or path.startswith(f"{self._prefix}/"):
            return path.removeprefix(self._prefix)
        return None


def _name_of(mount: object) -> str:
    return f"{type(mount).__module__}.{type(mount).__qualname__}"
