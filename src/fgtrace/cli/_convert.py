"""
``fgtrace convert``: carries out its plan, and says in one line what came of it.
"""

from __future__ import annotations

import gc
import sys

from fgtrace._formats.conversion.convert import Selection, convert
from fgtrace.cli._plans import CannotRun, ConvertPlan
from fgtrace.cli._progress import ProgressBar
from fgtrace.errors import FgtraceError

__all__ = ["convert_file"]


def convert_file(plan: ConvertPlan) -> int:
    """
    Convert.

    Returns:
        The exit code.

    Raises:
        CannotRun: the source cannot be read.
        FgtraceError: another reason why not.
    """
    selection = Selection(**plan.selection)
    gc.disable()  # nothing here is garbage, and the collector takes as long again to find that
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
