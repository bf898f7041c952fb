"""
``import fgtrace.auto`` installs the debug hook, with options from the environment.

    FGTRACE_FOLDER=dumps python -c "import fgtrace.auto; import app; app.main()"

It is for programs that are not to be changed, but for one import; see docs/debug-hook.md for the variables.
"""

from __future__ import annotations

from fgtrace.debug import install, installed

__all__ = ()

if installed() is None:
    install()
