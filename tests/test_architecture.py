"""
The house: a module imports only from lower floors or its own room, and stays small.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fgtrace

SOURCE = Path(fgtrace.__file__).parent
PACKAGE = "fgtrace"
LONGEST_MODULE = 400
MEDIAN_MODULE = 190
LONGEST_FUNCTION = 40

#: Module or room -> floor; ARCHITECTURE.md says what each is for.
FLOORS = {
    "errors": 0, "_model": 0, "_version": 0,
    "_states": 1, "_rules": 1, "_classify": 1, "_callee": 1, "_text": 1, "_config": 1, "_words": 1,
    "_spill": 2, "_step_records": 2, "_entries": 2, "_recording": 2, "_resolve": 2, "_served": 2,
    "_tracks": 2, "_by_track": 2, "_edges": 2, "_alike": 2, "_sharing": 2, "_perfetto": 2, "_ring": 2,
    "_window": 2,
    "_lane": 2, "_step_paths": 2, "_exact_lanes": 2, "_wakers": 2, "_exact_timeline": 2, "_timeline": 2,
    "_clock": 3, "_collect": 3, "_encode": 3, "_decode": 3, "_sinks": 3,
    "_convert": 4, "reports": 4, "_take": 4, "_reporting": 4,
    "_gil": 4, "_forks": 4, "_sampler": 4, "_core_sampler": 4, "_cores": 4,
    "_worker": 4, "_parcel": 4,
    "_writing": 5, "_apart": 5, "_trace": 5, "_flight": 5,
    "_hook_options": 5, "_dumps": 5, "_culprit": 5, "_errors_seen": 5, "_watch": 5,
    "_debug_hook": 5, "debug": 5,
    "_http": 6, "server": 6, "_cell": 6, "jupyter": 6,
    "__init__": 6,
    "testing": 7, "auto": 7, "pytest_plugin": 7, "asgi": 7, "aiohttp": 7, "wsgi": 7,
    "cli": 8, "__main__": 8,
}  # fmt: skip

#: The pure heart: nothing of the outside world below floor 3 (`tempfile` is the spill's).
IMPURE = {
    "time",
    "threading",
    "_thread",
    "asyncio",
    "socket",
    "subprocess",
    "signal",
    "logging",
    "gc",
    "weakref",
}

REPOSITORY = Path(__file__).parent.parent
MODULES = sorted(SOURCE.rglob("*.py"))
IDS = [str(path.relative_to(SOURCE)) for path in MODULES]


def room_of(path: Path) -> str:
    """
    The name in `FLOORS` of a file.
    """
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """
    Everything that a module imports, wherever in it.
    """
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative imports hide where they go"
            found.add(str(node.module))
    return found


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_imports_only_look_down(path: Path) -> None:
    """
    A module imports from lower floors or its own room; where both are on a floor, by the table's order.
    """
    room = room_of(path)
    order = list(FLOORS)
    assert room in FLOORS, f"{path.name} has no floor"
    for name in imports_of(path):
        if name == PACKAGE or not name.startswith(PACKAGE + "."):
            assert name != PACKAGE or FLOORS[room] >= FLOORS["__init__"], f"{path.name} imports the face"
            continue
        target = name.split(".")[1]
        lower = FLOORS[target] < FLOORS[room] or (
            FLOORS[target] == FLOORS[room] and order.index(target) < order.index(room)
        )
        assert target == room or lower, (
            f"{path.name} on floor {FLOORS[room]} imports {name} on floor {FLOORS[target]}"
        )


@pytest.mark.parametrize(
    "path", [path for path in MODULES if FLOORS[room_of(path)] < 3], ids=lambda path: path.name
)
def test_heart_is_pure(path: Path) -> None:
    """
    Below floor 3 there is no clock, no thread, no socket.
    """
    assert not imports_of(path) & IMPURE


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_size(path: Path) -> None:
    """
    No module is above 400 lines, and no function above 40.
    """
    source = path.read_text(encoding="utf-8")
    assert source.count("\n") <= LONGEST_MODULE
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or 0) - node.body[0].lineno
            assert length <= LONGEST_FUNCTION, f"{node.name} has {length} lines"


def test_median_size() -> None:
    """
    Most modules are small.
    """
    sizes = sorted(path.read_text(encoding="utf-8").count("\n") for path in MODULES)
    assert sizes[len(sizes) // 2] <= MEDIAN_MODULE


@pytest.mark.parametrize(
    "path", [path for path in MODULES if room_of(path) not in ("cli", "__main__")], ids=lambda path: path.name
)
def test_only_the_command_line_prints_or_exits(path: Path) -> None:
    """
    Below the command line nothing prints and nothing exits.
    """
    calls = [
        ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
    ]
    assert not {"print", "sys.exit", "exit", "os._exit"} & set(calls)


def test_architecture_page_names_every_room() -> None:
    """
    ARCHITECTURE.md has a line for each room, on its floor.
    """
    page = (REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for room, floor in FLOORS.items():
        name = room if (SOURCE / room).is_dir() else f"{room}.py"
        assert any(line.startswith(f"| {floor} |") and f"`{name}" in line for line in page.splitlines()), name


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
    rooms = {room for room in FLOORS if not room.startswith("_")}
    public = {name for name in vars(fgtrace) if not name.startswith("_")} - rooms - {"annotations"}
    assert public == set(fgtrace.__all__) - {"__version__"}
    for name in fgtrace.__all__:
        value = getattr(fgtrace, name)
        assert not isinstance(value, type) or value.__doc__, f"{name} has no docstring"
