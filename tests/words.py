"""
Reads the names that the code defines, for `test_words`: a name means one thing, and retired words stay away.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

#: Private words of the past, each with the field's term that is used instead. A word counts wherever it is a
#: part of a name, so ``door`` forbids ``_open_doors``, too.
RETIRED: Mapping[str, str] = {
    "door": "endpoint, mount",
    "reply": "response",
    "replies": "responses",
    "parcel": "transfer",
    "alike": "identical tasks",
    "sight": "first seen",
    "face": "core type, or what is shown",
    "served": "requests, request slices",
    "edge": "begin, end",
    "look": "sample, tick",
}
#: The same for whole names: the words are good ones within a longer name.
RETIRED_NAMES: Mapping[str, str] = {
    "ask": "request, question",
    "take": "captured trace; of a method, what it does: add, drain, hold",
    "takes": "what it does",
    "apart": "writer process",
    "words": "assignments, arguments, or what they are",
}

_ALIAS = re.compile(r"_*[A-Z]\w*[a-z]\w*")
_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_C_COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\])*"', re.DOTALL)
_C_NAME = re.compile(r"\b[A-Za-z_]\w*\b")


def retired(name: str) -> str:
    """
    Return the retired word that a name has in it, or ``""``.
    """
    bare = name.strip("_").lower()
    if bare in RETIRED_NAMES:
        return bare
    parts = [part.lower() for part in _PART.findall(name)]
    singular = (part.removesuffix("s") if part not in RETIRED else part for part in parts)
    return next((part for part in singular if part in RETIRED), "")


def retired_names(
    files: Mapping[str, Path], names_of: Callable[[Path], Iterator[str]]
) -> dict[str, dict[str, str]]:
    """
    Return for each file that has retired words in its names these names, each with the word.
    """
    found: dict[str, dict[str, str]] = {}
    for file, path in files.items():
        for name in names_of(path):
            if word := retired(name):
                found.setdefault(file, {})[name] = word
    return found


def names_in_python(path: Path) -> Iterator[str]:
    """
    Yield the names that a module defines: of itself, functions, classes, arguments, variables and attributes.
    """
    yield path.stem
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def names_in_c(path: Path) -> Iterator[str]:
    """
    Yield the names in a source file in C, and the file's own.
    """
    yield path.stem
    yield from _C_NAME.findall(_C_COMMENT_OR_STRING.sub(" ", path.read_text(encoding="utf-8")))


def kinds(tree: ast.Module) -> Iterator[str]:
    """
    Yield the classes of a module, also those in functions, and its aliases of types.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield node.name
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name) and _ALIAS.fullmatch(target.id):
                    yield target.id


def functions(tree: ast.Module) -> Iterator[str]:
    """
    Yield the functions of a module without an underscore, which other modules may use.
    """
    for statement in tree.body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)) and statement.name[:1] != "_":
            yield statement.name


def defined_twice(
    modules: Mapping[str, Path], names_of: Callable[[ast.Module], Iterator[str]]
) -> dict[str, set[str]]:
    """
    Return the names that several modules define, with these modules. Underscores before a name do not count.
    """
    found: dict[str, set[str]] = {}
    for module, path in modules.items():
        for name in names_of(ast.parse(path.read_text(encoding="utf-8"))):
            found.setdefault(name.lstrip("_"), set()).add(module)
    return {name: where for name, where in found.items() if len(where) > 1}
