"""
A name means one thing, and the words are those of the field.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import fgtrace
from house import modules, room_of
from words import (
    RETIRED,
    RETIRED_NAMES,
    defined_twice,
    functions,
    kinds,
    names_in_c,
    names_in_python,
    retired,
    retired_names,
)

pytestmark = pytest.mark.pure

PACKAGE = Path(fgtrace.__file__).parent
CORE = Path(__file__).parent.parent / "src" / "core"
MODULES = modules(PACKAGE)

#: Classes of which there must be two of one name, and why.
SAME_CLASS = {
    "DebugApp": "public: one of each framework's module, so that a program changes its import alone",
    "DebugMiddleware": "as `DebugApp`",
}
#: The same of functions.
SAME_FUNCTION = {
    "encode": "what each format's module offers to the table of formats",
    "read": "what each format's module offers to `fgtrace.load`",
    "recognizes": "as `read`",
    "convert": "a command is called as its function",
    "diff": "a command is called as its function",
    "report": "a command is called as its function",
    "run": "a command is called as its function",
}
#: Where a retired word is right, by room, and why.
RIGHT: dict[tuple[str, str], str] = {
    ("reports", "ask"): "public: the argument `ask` of `fgtrace.reports.report`, of the class `Ask`",
    ("_output", "ask"): "what `fgtrace.reports` calls so",
    ("cli", "ask"): "what `fgtrace.reports` calls so",
}


def test_class_names_are_unique() -> None:
    """
    No two modules define a class or an alias of a type of one name.
    """
    assert set(defined_twice(MODULES, kinds)) == set(SAME_CLASS)


def test_function_names_are_unique() -> None:
    """
    No two modules define a function of one name for others.
    """
    assert set(defined_twice(MODULES, functions)) == set(SAME_FUNCTION)


def test_retired_words_are_gone() -> None:
    """
    No name in the package has a word in it for which the field has a term.
    """
    found = {
        (room_of(module, PACKAGE), word, f"{module}.{name}")
        for module, names in retired_names(MODULES, names_in_python).items()
        for name, word in names.items()
    }
    assert not {name for room, word, name in found if (room, word) not in RIGHT}
    assert {(room, word) for room, word, _ in found} >= set(RIGHT), "an exception that nothing needs"


def test_retired_words_are_gone_from_the_core() -> None:
    """
    No name in the C core has such a word in it.
    """
    files = {path.name: path for path in CORE.rglob("*") if path.suffix in (".c", ".h")}
    assert files
    assert not retired_names(files, names_in_c)


@pytest.fixture
def made_up(tmp_path: Path) -> dict[str, Path]:
    """
    Two modules that share the names of a class, an alias, and a function.
    """
    texts = {
        "first": "Pair = tuple[int, int]\nclass Reader:\n    def take(self): ...\ndef load(): ...",
        "second": "def make():\n    class _Reader: ...\ndef load(): ...\ndef _own(): ...\nT = TypeVar('T')",
        "third": "_Pair = tuple[str, str]\ndef _own(): ...\nT = TypeVar('T')",
    }
    found = {}
    for name, text in texts.items():
        found[name] = tmp_path / f"{name}.py"
        found[name].write_text(text)
    return found


def test_retired_names_are_found(made_up: dict[str, Path]) -> None:
    """
    A file with a retired word in a name is found, with the name and the word; the others are not.
    """
    assert retired_names(made_up, names_in_python) == {"first": {"take": "take"}}


def test_shared_names_are_found(made_up: dict[str, Path]) -> None:
    """
    A class is found within a function and with an underscore; type variables and private functions do not
    count.
    """
    assert defined_twice(made_up, kinds) == {"Reader": {"first", "second"}, "Pair": {"first", "third"}}
    assert defined_twice(made_up, functions) == {"load": {"first", "second"}}


@pytest.mark.parametrize(
    ("name", "word"),
    [
        pytest.param("_door", "door", id="whole"),
        pytest.param("open_doors", "door", id="plural"),
        pytest.param("HttpReply", "reply", id="camel-case"),
        pytest.param("MOST_LOOKS", "look", id="constant"),
        pytest.param("_take", "take", id="method"),
        pytest.param("_words", "words", id="private"),
        pytest.param("take_snapshot", "", id="verb"),
        pytest.param("lookup", "", id="another-word"),
        pytest.param("surface", "", id="within-a-word"),
        pytest.param("words_of_memory", "", id="longer-name"),
        pytest.param("Timeline", "", id="none"),
    ],
)
def test_retired_word_in_a_name(name: str, word: str) -> None:
    """
    A retired word is found in all ways to write a name, and nowhere else.
    """
    assert retired(name) == word
    assert not word or word in RETIRED or word in RETIRED_NAMES


def test_names_of_a_made_up_module(tmp_path: Path) -> None:
    """
    What a module defines counts, with its own name; what it uses of others, says or comments on does not.
    """
    path = tmp_path / "parcel.py"
    path.write_text(
        '"""A door."""\nimport doors\ndef ask(reply, *, face=1): ...  # edges\n'
        "class Look:\n    async def sight(self): self.alike = doors.face(pad_edge=1)\n"
        "for served in (): pass\n"
    )
    assert sorted(map(retired, names_in_python(path))) == sorted(
        ["parcel", "ask", "reply", "face", "look", "sight", "", "alike", "served"]
    )


def test_names_of_a_made_up_c_file(tmp_path: Path) -> None:
    """
    In C all names count but those in comments and texts.
    """
    path = tmp_path / "first_sight.c"
    path.write_text(
        '/* a door */ int face(void) { return puts("reply \\" parcel"); } // alike\n#define LOOK 1\n'
    )
    assert {word for word in map(retired, names_in_c(path)) if word} == {"sight", "face", "look"}
