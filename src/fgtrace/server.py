"""
A server of its own for traces of this process: it answers while the event loop is blocked.

    server = fgtrace.serve(port=8642)
    ...
    server.close()

Then ``curl 'http://127.0.0.1:8642/debug/fgtrace?seconds=5' > trace.json``.
"""

from __future__ import annotations

from typing import Any, Self

from fgtrace.errors import ConfigError

__all__ = ["Server", "serve"]

#: Addresses that only this machine can reach.
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Server:
    """
    Serves traces of this process from a thread of its own until it is closed; with ``with``, until the
    block ends. What it does itself no trace shows.

    Args:
        host: the address. Only this machine can reach ``127.0.0.1``, the default of `serve`; whoever can
            reach another one can see what the program does, so give a token with it.
        port: 0: any that is free.
        options: see `fgtrace._http.HttpOptions`.

    Raises:
        ConfigError: an option has a value that is not allowed.
        UnknownOptionError: there is no such option.
        OSError: the address cannot be had.

    Attributes:
        host: as given.
        port: the port that it has.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, **options: Any) -> None:
        from fgtrace._http import make_endpoints
        from fgtrace._http.server_thread import ServerThread  # 30 ms, and only a server needs it

        if not host:
            raise ConfigError("host", host, "allowed is an address or a name of this machine")
        if type(port) is not int or not 0 <= port <= 65535:
            raise ConfigError("port", port, "allowed is a whole number from 0 to 65535")
        endpoints = make_endpoints("fgtrace.serve", options, "host", "port")
        is_local = host in LOOPBACK and options.get("token") is None
        self._listener = ServerThread(endpoints, host, port, is_local=is_local)
        self.host = host
        self.port = self._listener.port
        self._listener.start()

    def __repr__(self) -> str:
        return f"<fgtrace.Server {self.url}>"

    @property
    def url(self) -> str:
        """
        Where its page is: ``http://127.0.0.1:8642/debug/``.
        """
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/debug/"

    def close(self) -> None:
        """
        Stop the traces that are being made, and end. Again: nothing.
        """
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(host: str = "127.0.0.1", port: int = 0, **options: Any) -> Server:
    """
    Serve traces of this process over HTTP, from a thread of its own.

        with fgtrace.serve(port=8642):
            asyncio.run(main())

    Args:
        host: the address; by default only this machine can reach it.
        port: 0: any that is free: see `Server.port`.
        options: ``token``, ``seconds``, ``max_seconds``, ``max_hz``, ``max_traces`` and ``config``: see
            `fgtrace._http.HttpOptions`.

    Raises:
        ConfigError: an option has a value that is not allowed.
        UnknownOptionError: there is no such option.
        OSError: the address cannot be had.
    """
    return Server(host, port, **options)
