"""
What the pages point to is there: relative links with their headings, and names of files and modules in code.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.pure

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
#: Pages for those who change the code: a file's name without a folder is one of ours there.
INSIDE = ("ARCHITECTURE.md", "CONTRIBUTING.md", "HACKING.md")
#: The C extension, and two schemas of JSON.
NO_MODULES = ("fgtrace._core", "fgtrace.report", "fgtrace.diff")
#: Folders from which a page may name a file.
BASES = ("", "src", "src/fgtrace", "src/core")

LINK = re.compile(r"(?<!\\)\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"[\w.-]*\w(/[\w.-]+)*/?")
SOURCE_NAME = re.compile(r"\w+\.(py|c|h|js|mjs)")
MODULE = re.compile(r"fgtrace(?!\.json)(\.\w+)+")


def anchors(page: str) -> set[str]:
    """
    Return the anchors of a page's headings, as GitHub makes them.
    """
    titles = [re.sub(r"[^\w\- ]", "", title.lower()) for title in HEADING.findall(BLOCK.sub("", page))]
    return {title.replace(" ", "-") for title in titles}


def broken_links(path: Path) -> Iterator[str]:
    """
    Yield the relative links of a page whose file or heading is not there.
    """
    text = BLOCK.sub("", path.read_text(encoding="utf-8"))
    for link in LINK.findall(text):
        name, _, anchor = link.partition("#")
        if ":" in name:
            continue
        target = path.parent / name if name else path
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            yield link


def lost_names(text: str, *, is_inside: bool) -> Iterator[str]:
    """
    Yield what a page's code names as a file or module of this project, and is none.
    """
    for code in CODE.findall(BLOCK.sub("", text)):
        if MODULE.fullmatch(code):
            if not is_module(code):
                yield code
        elif FILE.fullmatch(code) and not is_file(code, is_inside=is_inside):
            yield code


def is_module(name: str) -> bool:
    """
    Return whether a dotted name is a module of the package, or the name of something in one.
    """
    if name in NO_MODULES:
        return True
    place, rest = ROOT / "src", name.split(".")
    while rest and (place / rest[0]).is_dir():
        place /= rest.pop(0)
    if rest and (place / f"{rest[0]}.py").exists():
        file = place / f"{rest.pop(0)}.py"
    else:
        file = place / "__init__.py"
    return not rest or rest[0] in names_in(file)


def names_in(file: Path) -> set[str]:
    """
    Return the names that a module defines or imports.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def is_file(name: str, *, is_inside: bool) -> bool:
    """
    Return whether a name is that of a file of ours, or does not look like one.
    """
    first, slash, _ = name.partition("/")
    if slash:
        bases = [ROOT / base for base in BASES if (ROOT / base / first).is_dir()]
        endings = ("", ".*")  # the two files of a module of the C core are named as one
        return not bases or any(any(base.glob(name.rstrip("/") + end)) for base in bases for end in endings)
    return (
        not (is_inside and SOURCE_NAME.fullmatch(name)) or next((ROOT / "src").rglob(name), None) is not None
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """
    Each relative link leads to a file that there is, and to a heading in it.
    """
    assert list(broken_links(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_files_exist(page: Path) -> None:
    """
    Each file, folder or module that a page names is there.
    """
    assert list(lost_names(page.read_text(encoding="utf-8"), is_inside=page.name in INSIDE)) == []


def test_named_modules_exist() -> None:
    """
    Each module that a docstring or comment of the package names is there.
    """
    files = sorted((ROOT / "src").rglob("*.py"))
    assert files
    lost = {
        (file.name, code)
        for file in files
        for code in CODE.findall(file.read_text(encoding="utf-8"))
        if MODULE.fullmatch(code) and not is_module(code)
    }
    assert lost == set()


MADE_UP = """
# A page: made up

[good](docs/good.md#a-heading-here) [far](https://example.org/x.md) [itself](#a-page-made-up)
[lost](docs/lost.md) [lost heading](docs/good.md#none) [none here](#none)
"""


def test_broken_links_are_found(tmp_path: Path) -> None:
    """
    A link to a file or heading that is not there is found; one to another site is left alone.
    """
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "good.md").write_text("# Good\n\n## A heading, `here`\n\n```\n# none\n```\n")
    page = tmp_path / "page.md"
    page.write_text(MADE_UP)
    assert list(broken_links(page)) == ["docs/lost.md", "docs/good.md#none", "#none"]


@pytest.mark.parametrize(
    ("code", "is_inside", "is_lost"),
    [
        ("src/fgtrace/debug.py", False, False),
        ("_watchdog/culprit.py", False, False),
        ("src/fgtrace/gone.py", False, True),
        ("cpython/version_compat", False, False),
        ("cpython/gone", False, True),
        ("_watchdog/gone.py", False, True),
        ("docs/", False, False),
        ("dumps/a.json", False, False),
        ("app.py", False, False),
        ("app.py", True, True),
        ("culprit.py", True, False),
        ("fgtrace._watchdog.culprit", False, False),
        ("fgtrace._watchdog.gone", False, True),
        ("fgtrace.debug.install", False, False),
        ("fgtrace.debug.gone", False, True),
    ],
)
def test_lost_names_are_found(code: str, is_inside: bool, is_lost: bool) -> None:
    """
    The name of a file or module that is not there is found; other code is left alone.
    """
    assert list(lost_names(f"See `{code}`.", is_inside=is_inside)) == [code] * is_lost
