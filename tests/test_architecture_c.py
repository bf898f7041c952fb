"""
The C core's part of the house: includes only look down, and headers say what files share.

A module is a ``.c`` file with its ``.h``; it uses another where one of its two files includes the other's
header. `circle` finds modules, or folders, that use each other, by whatever way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

pytestmark = pytest.mark.pure

REPOSITORY = Path(__file__).parent.parent
CORE = REPOSITORY / "src" / "core"
C_FILES = sorted(CORE.rglob("*.[ch]"))
LONGEST_FUNCTION = 40

Uses = dict[str, set[str]]

_INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
_NOISE = re.compile(
    r'/\*.*?\*/|//[^\n]*|__attribute__\(\(.*?\)\)|"(?:[^"\\\n]|\\.)*"|^\s*#.*?(?<!\\)$',
    re.DOTALL | re.MULTILINE,
)
#: A function that other files may use: its name begins a line, after a line with its type, no ``static``.
_DEFINITION = re.compile(r"^(?!static\b)[A-Za-z_][\w \t*]*\n(\w+)\([^;{}]*\)[ \t]*\n\{", re.MULTILINE)
_DECLARATION = re.compile(
    r"^(?!static\b|typedef\b|return\b|_Thread_local\b)[A-Za-z_][\w \t*]*?\b(\w+)\([^;{}]*\);", re.MULTILINE
)
_EXTERN = re.compile(r"^\s*extern\b", re.MULTILINE)


def module_of(name: str) -> str:
    """
    The module that a file is of: its path without the suffix.
    """
    return name.rpartition(".")[0]


def folder_of(module: str) -> str:
    """
    The folder of a module; those at the top are a folder each.
    """
    return module.rpartition("/")[0] or module


def sources(root: Path) -> dict[str, str]:
    """
    The text of every C file, by its path.
    """
    return {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(root.rglob("*.[ch]"))
    }


def includes(files: Mapping[str, str]) -> Uses:
    """
    What each module uses.
    """
    found: Uses = {module_of(name): set() for name in files}
    for name, text in files.items():
        for header in _INCLUDE.findall(re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)):
            assert header in files, f"{name} includes {header}, which is not there: paths begin at src/core"
            found[module_of(name)].add(module_of(header))
    return {module: used - {module} for module, used in found.items()}


def by_folder(uses: Uses) -> Uses:
    """
    The same of folders.
    """
    found: Uses = {folder_of(module): set() for module in uses}
    for module, used in uses.items():
        found[folder_of(module)] |= {folder_of(each) for each in used} - {folder_of(module)}
    return found


def circle(uses: Uses) -> list[str]:
    """
    The shortest way from something back to itself, both ends included; empty where there is none.
    """
    ways = [way for start in sorted(uses) if (way := _way_back(uses, start))]
    return min(ways, key=len, default=[])


def _way_back(uses: Uses, start: str) -> list[str]:
    ways, seen = [[start]], {start}
    for way in ways:
        for each in sorted(uses[way[-1]]):
            if each == start:
                return [*way, start]
            if each not in seen:
                seen.add(each)
                ways.append([*way, each])
    return []


def what_breaks(uses: Uses) -> str:
    """
    A sentence that names the two that use each other; empty where nothing is wrong.
    """
    way = circle(uses)
    if not way:
        return ""
    return f"{way[0]} and {way[1]} use each other: " + " -> ".join(way)


def code_of(text: str) -> str:
    """
    The text without comments, strings and directives.
    """
    return _NOISE.sub("", text)


def misplaced(files: Mapping[str, str]) -> Iterator[str]:
    """
    What is wrong with declarations.

    A function that other files may use is declared in its module's header, and there only.
    """
    declared: dict[str, list[str]] = {}
    for name, text in files.items():
        code = code_of(text)
        if name.endswith(".h"):
            for function in _DECLARATION.findall(code):
                declared.setdefault(function, []).append(name)
        else:
            yield from (f"{name} declares {each}() itself" for each in _DECLARATION.findall(code))
            yield from (f"{name} has an `extern` of its own" for _ in _EXTERN.findall(code))
    defined: set[str] = set()  # some twice: by version
    for name, text in files.items():
        for function in _DEFINITION.findall(code_of(text)) if name.endswith(".c") else ():
            header = f"{module_of(name)}.h"
            found = declared.get(function, [])
            defined.add(function)
            if found != [header] and not function.startswith("PyInit_"):
                yield f"{function}() of {name} is declared in {found or 'no header'}, not in {header} alone"
    yield from (
        f"{function}() is declared in {where} and defined nowhere"
        for function, where in declared.items()
        if function not in defined
    )


def too_long(text: str) -> list[str]:
    """
    The first lines of functions that are too long: a body stands between two braces that begin their lines.
    """
    lines = text.splitlines()
    first = [number for number, line in enumerate(lines) if line == "{"]
    last = [number for number, line in enumerate(lines) if line == "}"]
    assert len(first) == len(last)
    return [lines[a - 1] for a, b in zip(first, last, strict=True) if b - a - 1 > LONGEST_FUNCTION]


def test_no_circle_among_files() -> None:
    """
    No two modules of the core use each other, by whatever way.
    """
    assert not what_breaks(includes(sources(CORE)))


def test_no_circle_among_folders() -> None:
    """
    No two folders of the core use each other, by whatever way.
    """
    assert not what_breaks(by_folder(includes(sources(CORE))))


def test_headers_say_what_is_shared() -> None:
    """
    A function that other files use is declared in the header of its module, and nowhere else.
    """
    assert not list(misplaced(sources(CORE)))


@pytest.mark.parametrize("path", C_FILES, ids=lambda path: path.relative_to(CORE).as_posix())
def test_functions_are_short(path: Path) -> None:
    """
    No function of the core is above 40 lines.
    """
    assert not too_long(path.read_text(encoding="utf-8"))


def test_architecture_page_names_every_module() -> None:
    """
    ARCHITECTURE.md has a line for each module of the core, and for no other.
    """
    page = (REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8")
    section = page.partition("\n## The C core\n")[2].partition("\n## ")[0]
    named = re.findall(r"^\| `([\w/.]+)` \|", section, re.MULTILINE)
    assert sorted(map(module_of, named)) == sorted(includes(sources(CORE)))


def test_architecture_page_draws_every_folder() -> None:
    """
    Each folder is in the page's picture, above all that it uses.
    """
    page = (REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8")
    section = page.partition("\n## The C core\n")[2].partition("\n## ")[0]
    drawn = re.findall(r"^    (\w+)(?:/|\.h) ", section, re.MULTILINE)
    uses = by_folder(includes(sources(CORE)))
    assert sorted(drawn) == sorted(uses)
    for folder, used in uses.items():
        assert used <= set(drawn[drawn.index(folder) :]), f"{folder} uses what is drawn above it"


SOUND = {
    "core.h": '#include "low/a.h"\n',
    "low/a.h": "int a_value(void);\n",
    "low/a.c": """
#include "low/a.h"
#include <stdio.h>

int
a_value(void) /* one */
{
    return 1;
}
""",
    "high/b.h": """
#include "core.h"
/* extern int b_hidden(void); */
extern int b_count __attribute__((unused));
int *b_values(int *more,
              int count);
""",
    "high/b.c": """
#include "high/b.h"
#include "low/a.h"

int b_count;

static int *
twice(int value)
{
    return b_values(NULL, value * a_value());
}

int *
b_values(int *more, int count)
{
    return count == 0 ? more : twice(count);
}
""",
}


def changed(**more: str) -> dict[str, str]:
    """
    The sound tree, with some more in some of its files: ``low_a_c`` is ``low/a.c``.
    """
    names = {name.replace("/", "_").replace(".", "_"): name for name in SOUND}
    return {**SOUND, **{names[key]: text + SOUND[names[key]] for key, text in more.items()}}


def test_checker_lets_a_sound_tree_pass(tmp_path: Path) -> None:
    """
    A tree that goes down only is read from files, and nothing is said of it.
    """
    for name, text in SOUND.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    files = sources(tmp_path)
    assert files == SOUND
    assert includes(files) == {"core": {"low/a"}, "low/a": set(), "high/b": {"core", "low/a"}}
    assert not what_breaks(includes(files))
    assert not what_breaks(by_folder(includes(files)))
    assert not list(misplaced(files))


def test_checker_finds_a_circle() -> None:
    """
    Two files that include each other's headers are named, also where only their folders go in a circle.
    """
    direct = includes(changed(low_a_c='#include "high/b.h"\n'))
    assert what_breaks(direct) == "high/b and low/a use each other: high/b -> low/a -> high/b"
    assert what_breaks(by_folder(direct)) == "high and low use each other: high -> low -> high"
    by_way = includes({**SOUND, "low/c.c": '#include "low/c.h"\n#include "core.h"\n', "low/c.h": ""})
    assert not what_breaks(by_way)
    assert what_breaks(by_folder(by_way)) == "core and low use each other: core -> low -> core"
    commented = includes(changed(low_a_c='/*\n#include "high/b.h"\n*/\n'))
    assert not what_breaks(commented)


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"low_a_c": "int *b_values(int *more, int count);\n"}, "low/a.c declares b_values() itself"),
        ({"low_a_c": "extern int b_count;\n"}, "low/a.c has an `extern` of its own"),
        (
            {"high_b_c": "\nint\nb_lost(void)\n{\n}\n"},
            "b_lost() of high/b.c is declared in no header, not in high/b.h alone",
        ),
        (
            {"core_h": "int a_value(void);\n"},
            "a_value() of low/a.c is declared in ['core.h', 'low/a.h'], not in low/a.h alone",
        ),
        ({"core_h": "int gone(void);\n"}, "gone() is declared in ['core.h'] and defined nowhere"),
    ],
    ids=["own declaration", "own extern", "undeclared", "declared twice", "never defined"],
)
def test_checker_finds_what_is_misplaced(more: dict[str, str], complaint: str) -> None:
    """
    Each way round a header is said.
    """
    assert list(misplaced(changed(**more))) == [complaint]


def test_checker_counts_lines() -> None:
    """
    A function of 41 lines is named, one of 40 is not.
    """
    body = "    a_value();\n"
    assert not too_long("int\nshort(void)\n{\n" + 40 * body + "}\n")
    assert too_long("int\nlong_(void)\n{\n" + 41 * body + "}\n") == ["long_(void)"]
