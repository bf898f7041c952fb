"""
Runs the command ``fgtrace`` as ``python -m fgtrace``.
"""

from __future__ import annotations

import sys

from fgtrace.cli import main

if __name__ == "__main__":
    sys.exit(main())
