"""
Installs the debug hook when it is imported, with options from the environment.

    FGTRACE_FOLDER=dumps python -c "import fgtrace.auto; import app; app.main()"

It is for programs in which only one import can be added; docs/debug-hook.md lists the variables.
"""

from __future__ import annotations

from fgtrace.debug import install, installed

__all__ = ()

if installed() is None:
    install()
