"""
Runs ``fgtrace convert``: converts a trace file, and prints a line about the result.
"""

from __future__ import annotations

import gc
import sys

from fgtrace._formats.conversion.convert import convert
from fgtrace._formats.conversion.selection import Selection
from fgtrace.cli._plans import CannotRun, ConvertPlan
from fgtrace.cli._progress import ProgressBar
from fgtrace.errors import FgtraceError

__all__ = ["convert_file"]


def convert_file(plan: ConvertPlan) -> int:
    """
    Convert a trace file.

    Returns:
        The exit code.

    Raises:
        CannotRun: the source cannot be read.
        FgtraceError: the trace cannot be converted.
    """
    selection = Selection(**plan.selection)
    gc.disable()  # there is no garbage here, and the collector would double the time
    try:
        with ProgressBar(sys.stderr, sys.path) as progress:
            slices = convert(
                plan.source, plan.target, format_=plan.format, selection=selection, tracks=plan.tracks,
                progress=progress.show,
            )  # fmt: skip
    except FgtraceError:
        raise
    except OSError as error:
        raise CannotRun(f"cannot read {plan.source}: {error.strerror or error}") from error
    finally:
        gc.enable()
    if not plan.quiet:
        print(f"fgtrace: wrote {plan.target} ({slices} slices)", file=sys.stderr)
    return 0
