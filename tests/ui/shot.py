"""
A picture of a trace in the real Perfetto UI: `scripts/picture TRACE OUT.png` runs this.

`fgtrace view --offline` serves the UI with the trace; a headless Chromium opens and photographs it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from fgtrace.cli._plans import ViewPlan
from fgtrace.cli._view import serving
from trace_processor import node

MINUTES = 5
MILLION = 1_000_000


def served(trace: Path) -> AbstractContextManager[str]:
    """
    What `fgtrace view --offline` serves; gives the address to open.
    """
    return serving(ViewPlan(source=str(trace), offline=True))


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
        "search": None,
    }
    script = Path(__file__).with_name("shot.cjs")
    with served(options.trace) as url:
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
