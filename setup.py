"""
The C core as an optional extension: without a compiler, or where it does not fit, Python's twin serves.
"""

import os
from glob import glob

from setuptools import Extension, setup

#: ``FGTRACE_BUILD=strict`` makes every warning an error, and a core that does not build one as well.
STRICT = os.environ.get("FGTRACE_BUILD") == "strict"
FLAGS = os.environ.get("FGTRACE_CFLAGS", "").split()


def headers_as_system() -> list[str]:
    """
    CPython's own headers, so that their warnings are not ours.
    """
    import sysconfig

    paths = {sysconfig.get_path("include"), sysconfig.get_path("platinclude")}
    return [flag for path in sorted(filter(None, paths)) for flag in ("-isystem", path)]


core = Extension(
    "fgtrace._core",
    sources=sorted(glob("src/core/**/*.c", recursive=True)),
    depends=sorted(glob("src/core/**/*.h", recursive=True)),
    include_dirs=["src/core"],
    define_macros=[("Py_BUILD_CORE", None)],  # before Python.h: the interpreter's own structures
    extra_compile_args=[
        "-std=c11",
        "-D_GNU_SOURCE",
        "-fvisibility=hidden",
        *(["-Wall", "-Wextra", "-Wconversion", "-Werror", *headers_as_system()] if STRICT else []),
        *FLAGS,
    ],
    extra_link_args=FLAGS,
    optional=not STRICT,
)
setup(ext_modules=[core])
