"""
The house is as ARCHITECTURE.md says: rooms, levels, the wall between the hot half and the cold one.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fgtrace
from house import Room, circle, climbs, imports_between_rooms, imports_of, modules, plan, room_of

pytestmark = pytest.mark.pure

SOURCE = Path(fgtrace.__file__).parent
LONGEST_FUNCTION = 40
MOST_PRIVATE_FOLDERS = 12

ROOMS = plan((Path(__file__).parent.parent / "ARCHITECTURE.md").read_text(encoding="utf-8"))
ARROWS = imports_between_rooms(SOURCE)
MODULES = modules(SOURCE)

#: Rooms that know nothing of the outside world, and what they may not import (`tempfile` is the spill's).
PURE = {
    "errors", "_model", "_options", "_classify", "_recording", "_timeline", "_formats", "_formats/read",
    "_formats/write", "_formats/conversion", "reports",
}  # fmt: skip
IMPURE = {
    "time", "threading", "_thread", "asyncio", "socket", "subprocess", "signal", "logging", "gc", "weakref",
}  # fmt: skip
#: Recordings that several threads write at once have locks.
LOCKED = {
    ("fgtrace._recording.core_recording", "threading"),
    ("fgtrace._recording.locked_recording", "threading"),
}


def test_every_module_lies_in_a_room() -> None:
    """
    The plan names every room that there is and no other; each says what it is for.
    """
    assert {room_of(name, SOURCE) for name in MODULES} == set(ROOMS)
    assert all(room.purpose.strip() for room in ROOMS.values())


def test_few_private_folders() -> None:
    """
    The package shows public modules and at most twelve private folders.
    """
    shown = [path for path in SOURCE.iterdir() if path.name != "__pycache__"]
    folders = [path for path in shown if path.is_dir() and path.name.startswith("_")]
    assert len(folders) <= MOST_PRIVATE_FOLDERS
    private = {path.name for path in shown if path.suffix == ".py" and path.name.startswith("_")}
    assert private == {"__init__.py", "__main__.py", "_version.py"}


def test_no_circle() -> None:
    """
    No room imports, by whatever way, one that imports it.
    """
    assert not circle(ARROWS)


def test_imports_go_down() -> None:
    """
    A module imports from its own room and from lower levels.
    """
    assert not climbs(ARROWS, ROOMS)


def test_hot_never_imports_cold() -> None:
    """
    What runs while the program runs does not know what is made of it afterwards.
    """
    assert {room.half for room in ROOMS.values()} == {"hot", "cold", "shared"}
    hot = {name for name, room in ROOMS.items() if room.half in ("hot", "shared")}
    assert not [each for (source, target), each in ARROWS.items() if source in hot and target not in hot]


def test_heart_is_pure() -> None:
    """
    In most rooms there is no clock, no thread, no socket.
    """
    found = {
        (name, module)
        for name, path in MODULES.items()
        for module in imports_of(path, MODULES)
        if room_of(name, SOURCE) in PURE and module.partition(".")[0] in IMPURE
    }
    assert found == LOCKED


@pytest.fixture
def made_up(tmp_path: Path) -> Path:
    """
    A small package with two rooms, a room within one of them, and a public module.
    """
    files = {
        "__init__.py": "from pack.face import public",
        "_low/__init__.py": "",
        "_low/inside/deep.py": "",
        "_low/values.py": "import os",
        "_high/__init__.py": "",
        "_high/work.py": "from pack._low import values\nfrom pack._low.inside.deep import x",
        "face.py": "import pack._high.work",
    }
    for name, text in files.items():
        path = tmp_path / "pack" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "pack"


PLAN = {
    name: Room(name, level, "cold", "it is made up")
    for level, name in enumerate(("_low/inside", "_low", "_high", "face", "__init__"))
}


def test_rooms_of_a_made_up_package(made_up: Path) -> None:
    """
    A folder within a room is a room of its own; imports go from room to room.
    """
    arrows = imports_between_rooms(made_up)
    assert set(arrows) == {
        ("_high", "_low"), ("_high", "_low/inside"), ("face", "_high"), ("__init__", "face"),
    }  # fmt: skip
    assert not circle(arrows)
    assert not climbs(arrows, PLAN)


def test_circle_is_named(made_up: Path) -> None:
    """
    The two modules that close a circle between rooms are named, also where an import is in a function.
    """
    (made_up / "_low" / "values.py").write_text("def late():\n    from pack._high.work import thing\n")
    arrows = imports_between_rooms(made_up)
    assert sorted(circle(arrows)) == [
        ("pack._high.work", "pack._low.values"), ("pack._low.values", "pack._high.work"),
    ]  # fmt: skip
    assert climbs(arrows, PLAN) == [("pack._low.values", "pack._high.work")]


def test_import_by_name_counts(made_up: Path) -> None:
    """
    A module that is imported by its name as a string is imported.
    """
    (made_up / "_low" / "values.py").write_text("import_module('pack.face')")
    assert climbs(imports_between_rooms(made_up), PLAN) == [("pack._low.values", "pack.face")]


def test_import_within_a_level_is_named(made_up: Path) -> None:
    """
    Rooms of the same level do not know each other.
    """
    level = {name: room._replace(level=min(room.level, 2)) for name, room in PLAN.items()}
    assert sorted(climbs(imports_between_rooms(made_up), level)) == [
        ("pack", "pack.face"), ("pack.face", "pack._high.work"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", sorted(MODULES))
def test_size(name: str) -> None:
    """
    No function has more than 40 lines.
    """
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or 0) - node.body[0].lineno
            assert length <= LONGEST_FUNCTION, f"{node.name} has {length} lines"


@pytest.mark.parametrize(
    "name", sorted(name for name in MODULES if room_of(name, SOURCE) not in ("cli", "__main__"))
)
def test_only_the_command_line_prints_or_exits(name: str) -> None:
    """
    Below the command line nothing prints and nothing exits.
    """
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not {"print", "sys.exit", "exit", "os._exit"} & set(calls)


IMPORT = """
import sys
before = set(sys.modules)
import fgtrace
print(*sorted(set(sys.modules) - before))
"""


def test_import_pulls_in_little() -> None:
    """
    `import fgtrace` imports neither click nor rich, neither asyncio nor anyio, and starts no thread.
    """
    code = IMPORT + "import threading; assert threading.active_count() == 1"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    roots = {name.partition(".")[0] for name in found}
    assert not roots & {
        "click",
        "rich",
        "asyncio",
        "anyio",
        "logging",
        "uvloop",
        "http",
        "socketserver",
        "aiohttp",
    }


def test_face() -> None:
    """
    What `__all__` names is there and sorted, and what is there without an underscore is named.
    """
    constants = [name for name in fgtrace.__all__ if name.isupper()]
    others = [name for name in fgtrace.__all__ if not name.isupper()]
    assert list(fgtrace.__all__) == sorted(constants) + sorted(others)
    rooms = {room.partition("/")[0] for room in ROOMS if not room.startswith("_")}
    public = {name for name in vars(fgtrace) if not name.startswith("_")} - rooms - {"annotations"}
    assert public == set(fgtrace.__all__) - {"__version__"}
    for name in fgtrace.__all__:
        value = getattr(fgtrace, name)
        assert not isinstance(value, type) or value.__doc__, f"{name} has no docstring"
