"""
Reads the plan of the house from ARCHITECTURE.md, and the imports from the code, for `test_architecture`.

A room is a folder of the package with its own modules, or a public module. The plan is the table of rooms:
a level, the room's name, and what the room is for.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

ROW = re.compile(
    r"^\| (?P<level>\d+) \| `(?P<room>[\w/]+?)(?:/|\.py)?` \| (?P<half>\w*) ?\| (?P<purpose>.+) \|$"
)
#: The room of ``fgtrace/__init__.py``.
FACE = "__init__"


class Room(NamedTuple):
    """
    A line of the plan.
    """

    name: str
    level: int
    half: str
    purpose: str


class Import(NamedTuple):
    """
    One module imports another; both by their dotted names.
    """

    source: str
    target: str


def plan(page: str) -> dict[str, Room]:
    """
    Return the rooms that the table on the page names.
    """
    found = [ROW.match(line) for line in page.splitlines()]
    rooms = [Room(row["room"], int(row["level"]), row["half"], row["purpose"]) for row in found if row]
    assert len({room.name for room in rooms}) == len(rooms), "a room stands twice in the plan"
    return {room.name: room for room in rooms}


def modules(package: Path) -> dict[str, Path]:
    """
    Return all modules of a package, by dotted name.
    """
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room_of(module: str, package: Path) -> str:
    """
    Return the room that a module, or what was imported of one, lies in.
    """
    folder, names = package, module.split(".")[1:]
    inside: list[str] = []
    while names and (folder / names[0]).is_dir():
        folder /= names[0]
        inside.append(names.pop(0))
    if inside:
        return "/".join(inside)
    return names[0] if names and (package / f"{names[0]}.py").exists() else FACE


def imports_of(path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """
    Yield the name of everything that a module imports, wherever in it and also by `import_module`; a known
    module by its own name.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: a relative import hides where it goes"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in known else str(node.module)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            given = node.args[0]
            if isinstance(given, ast.Constant) and given.value in known:  # the C core is none of them
                yield str(given.value)


def imports_between_rooms(package: Path) -> dict[tuple[str, str], Import]:
    """
    Return the pairs of rooms of which one imports the other, each with two modules that do.
    """
    found: dict[tuple[str, str], Import] = {}
    known = modules(package)
    for name, path in known.items():
        for target in imports_of(path, known):
            if target.split(".")[0] == package.name:
                pair = room_of(name, package), room_of(target, package)
                if pair[0] != pair[1]:
                    found.setdefault(pair, Import(name, target))
    return found


def circle(arrows: Mapping[tuple[str, str], Import]) -> list[Import]:
    """
    Return the imports that close a circle between rooms, or none.
    """
    below: dict[str, set[str]] = {}
    for source, target in arrows:
        below.setdefault(source, set()).add(target)
    try:
        TopologicalSorter(below).prepare()
    except CycleError as error:
        way = error.args[1]  # each room is imported by the one behind it
        return [arrows[above, room] for room, above in pairwise(way)]
    return []


def climbs(arrows: Mapping[tuple[str, str], Import], rooms: Mapping[str, Room]) -> list[Import]:
    """
    Return the imports that go to a room on the same level or on a higher one.
    """
    return [each for (source, target), each in arrows.items() if rooms[target].level >= rooms[source].level]
