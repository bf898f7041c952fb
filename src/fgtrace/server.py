"""
Traces of this process over HTTP, by a server of its own, which answers while the event loop is blocked.

    server = fgtrace.serve(port=8642)
    ...
    server.close()

Then, from a shell:

    curl 'http://127.0.0.1:8642/debug/fgtrace?seconds=5' > trace.json
    curl http://127.0.0.1:8642/debug/tasks                                # what every task does right now
    go tool pprof 'http://127.0.0.1:8642/debug/fgprof?seconds=5'

or a browser at http://127.0.0.1:8642/debug/. The same paths can be mounted in an application: `fgtrace.asgi`,
`fgtrace.aiohttp`, `fgtrace.wsgi`.
"""

from __future__ import annotations

from typing import Any, Self

from fgtrace.errors import ConfigError

__all__ = ["Server", "serve"]

#: Addresses that only this machine can reach.
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Server:
    """
    Serves traces of this process from threads of its own until it is closed, or until its ``with`` block
    ends. A trace shows those threads only with ``include_self``.

    Args:
        host, port, options: as of `serve`, with the same errors.

    Attributes:
        host: as given.
        port: the port that it has.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, **options: Any) -> None:
        from fgtrace._http import make_endpoints
        from fgtrace._http.standalone import serve_endpoints  # 30 ms, and only a server needs it

        if not host:
            raise ConfigError("host", host, "allowed is an address or a name of this machine")
        if type(port) is not int or not 0 <= port <= 65535:
            raise ConfigError("port", port, "allowed is a whole number from 0 to 65535")
        endpoints = make_endpoints("fgtrace.serve", options, "host", "port")
        is_local = host in LOOPBACK and options.get("token") is None
        self._server = serve_endpoints(endpoints, host, port, is_local=is_local)
        self.host = host
        self.port = self._server.port

    def __repr__(self) -> str:
        return f"<fgtrace.Server {self.url}>"

    @property
    def url(self) -> str:
        """
        The address of its index page: ``http://127.0.0.1:8642/debug/``.
        """
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/debug/"

    def close(self) -> None:
        """
        Stop the traces that are being made, and end. A second call does nothing.
        """
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(host: str = "127.0.0.1", port: int = 0, **options: Any) -> Server:
    """
    Serve traces of this process over HTTP, from threads of its own.

        with fgtrace.serve(port=8642):
            asyncio.run(main())

    Args:
        host: the address. Only this machine can reach the default. Whoever can reach another address can see
            what the program does, so give a token with it.
        port: 0: any that is free: see `Server.port`.
        options: ``token``, ``seconds``, ``max_seconds``, ``max_hz``, ``max_traces`` and ``config``:
            docs/http.md explains them.

    Raises:
        ConfigError: an option has a value that is not allowed.
        UnknownOptionError: there is no such option.
        OSError: the address cannot be had.
    """
    return Server(host, port, **options)
