"""
Finds the program and runs it as Python itself would.

In detail (CPython's ``Modules/main.c`` and ``Python/pythonrun.c``):

- ``__main__`` is a module of its own, with the names that Python gives it. Pickle and
  multiprocessing use it.
- ``sys.argv`` and ``sys.path[0]`` are the program's.
- ``runpy`` runs modules, directories and zip files, as in Python itself: its frames are in the
  tracebacks either way.
- ``SystemExit`` and ``KeyboardInterrupt`` go on to the interpreter, which handles them. So do
  errors, but on their way to ``sys.excepthook`` they lose the frames of this package.

This module installs no signal handler, and the program's code never runs within an ``except``.
"""

from __future__ import annotations

import builtins
import os
import runpy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.machinery import BuiltinImporter, SourceFileLoader, SourcelessFileLoader
from types import ModuleType
from typing import Any

from fgtrace.cli._excepthook import CleanExcepthook
from fgtrace.cli._plans import CannotRun, RunPlan

__all__ = ["Program", "find", "run"]

_STDIN = "<stdin>"


@dataclass(frozen=True, slots=True)
class Program:
    """
    A program that was found.

    Args:
        name: as the command line gives it.
        argv: its ``sys.argv``.
        path: its entry in ``sys.path``; None: none.
        start: runs it in the given module ``__main__``.
        inside: whether Python finds the program by that entry, so that even ``python -P`` needs it.
    """

    name: str
    argv: list[str]
    path: str | None
    start: Callable[[ModuleType], None]
    inside: bool = False


def find(plan: RunPlan) -> Program:
    """
    Return the program of a plan.

    Raises:
        CannotRun: there is no such program.
    """
    name = plan.target
    if plan.is_module:
        return Program(name, ["-m", *plan.arguments], _working_directory(), partial(_run_module, name))
    argv = [name, *plan.arguments]
    if name == "-":
        return Program(name, argv, "", _run_stdin)
    file = os.path.join(_working_directory() or "", name)
    if _has_importer(file):
        return Program(name, argv, file, _run_directory, inside=True)
    return Program(name, argv, os.path.dirname(os.path.realpath(file)), partial(_run_file, file, _read(name)))


#: The ``__main__`` that started fgtrace. If that is a script, CPython until 3.13 removes ``__file__`` from it
#: after an error, without a reference to it; after a SyntaxError nothing else may have one, either.
_replaced: list[ModuleType] = []


def _working_directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None


def _read(script: str) -> bytes:
    try:
        with open(script, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CannotRun(f"cannot read {script}: {reason}") from error


def _has_importer(path: str) -> bool:
    """
    Return whether modules can be imported from a path: it is a directory or a zip file.
    """
    for hook in sys.path_hooks:
        try:
            hook(path)
        except ImportError:
            continue
        return True
    return False


def run(program: Program) -> None:
    """
    Run a program in a new ``__main__``.

    Raises:
        CannotRun: there is no such module.
        BaseException: the exception that ended the program; `sys.excepthook` is prepared for it.
    """
    sys.argv[:] = program.argv
    _set_path(program)
    _replaced.append(sys.modules["__main__"])
    main = sys.modules["__main__"] = _new_main()
    try:
        program.start(main)
    except SystemExit as error:
        if (reason := _not_found(error)) is not None:
            raise CannotRun(f"cannot run {program.name}: {reason}") from None
        raise
    except BaseException:
        sys.excepthook = CleanExcepthook(getattr(sys, "excepthook", None))
        raise


def _set_path(program: Program) -> None:
    """
    Replace the entry of ``sys.path`` that Python made for fgtrace by the program's.
    """
    if not sys.flags.safe_path:  # with -P Python makes none
        del sys.path[:1]
    if program.path is not None and (program.inside or not sys.flags.safe_path):
        sys.path.insert(0, program.path)


def _new_main() -> ModuleType:
    main = ModuleType("__main__")
    if sys.version_info < (3, 14):
        main.__annotations__ = {}
    main.__dict__["__builtins__"] = builtins
    return main


def _run_module(name: str, _main: ModuleType) -> None:
    _runpy(name, True)


def _run_directory(_main: ModuleType) -> None:
    _runpy("__main__", False)


#: The function that ``python -m`` calls. It is private, but tracebacks show it, so no other can replace it.
_runpy: Callable[[str, bool], None] = runpy._run_module_as_main  # type: ignore[attr-defined]


def _run_file(file: str, source: bytes, main: ModuleType) -> None:
    loader: SourceFileLoader | SourcelessFileLoader
    if file.endswith(".pyc"):
        loader = SourcelessFileLoader("__main__", file)
        code = loader.get_code("__main__")
    else:
        loader = SourceFileLoader("__main__", file)
        code = compile(source, file, "exec", dont_inherit=True)
    _execute(code, main, file, loader)


def _run_stdin(main: ModuleType) -> None:
    code = compile(sys.stdin.buffer.read(), _STDIN, "exec", dont_inherit=True)
    _execute(code, main, _STDIN, BuiltinImporter)


def _execute(code: Any, main: ModuleType, file: str, loader: Any) -> None:
    names = main.__dict__
    names.update(__loader__=loader, __file__=file)
    if sys.version_info < (3, 15):
        names["__cached__"] = None
    try:
        exec(code, names)  # noqa: S102 -- that is what the command is for
    finally:
        for name in ("__file__", "__cached__"):  # Python removes them, too, before exit
            names.pop(name, None)


def _not_found(error: SystemExit) -> str | None:
    """
    Return why there is no such module; None: the program itself exits.
    """
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None or last.tb_frame.f_code is not _runpy.__code__:
        return None
    return str(error.code).removeprefix(f"{sys.executable}: ")
