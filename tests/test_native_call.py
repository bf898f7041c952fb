"""
What the instruction at an offset calls, and where it is: read from the code object alone.
"""

from __future__ import annotations

import argparse
import ast
import asyncio.base_events
import dis
import hashlib
import os
import queue
import select
import socket
import subprocess
import sys
import textwrap
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import CodeType, ModuleType
from typing import NamedTuple

import pytest

import fgtrace._classify.native_call
from fgtrace._classify.native_call import CodeMap, Position

MODULES = [argparse, asyncio.base_events, subprocess, textwrap, threading]
CALLS = {"CALL", "CALL_FUNCTION_EX", "CALL_KW", "PRECALL"}


def codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from codes(inner)


def source(module: ModuleType) -> str:
    return Path(str(module.__file__)).read_text("utf-8")


def module_codes(module: ModuleType) -> Iterator[CodeType]:
    return codes(compile(source(module), "module.py", "exec"))


def compiled(text: str, name: str = "home") -> CodeType:
    return next(code for code in codes(compile(text, "example.py", "exec")) if code.co_name == name)


def told(code: CodeType) -> list[str]:
    """
    Return the texts of all calls, in the order of the instructions; a call of two instructions counts once.
    """
    calls = [at for at in dis.get_instructions(code) if at.opname.startswith(("BEFORE_", "CALL", "PRECALL"))]
    pairs = pairwise([None, *calls])
    begun = [call for before, call in pairs if call and not (before and before.opname == "PRECALL")]
    known = CodeMap(code)
    return [known.callee(call.offset) for call in begun if "INTRINSIC" not in call.opname]


# --- the text ----------------------------------------------------------------------------------


def in_module(text: str, _names: str) -> CodeType:
    code = compile(text, "example.py", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert isinstance(code, CodeType)
    return code


def in_function(text: str, _names: str) -> CodeType:
    return compiled(f"async def home():\n{textwrap.indent(text, '  ')}")


def in_parameters(text: str, names: str) -> CodeType:
    return compiled(f"async def home({names}):\n{textwrap.indent(text, '  ')}")


def in_closure(text: str, names: str) -> CodeType:
    return compiled(f"def outer({names}):\n async def home():\n{textwrap.indent(text, '  ')}")


@pytest.mark.parametrize("home", [in_module, in_function, in_parameters, in_closure])
@pytest.mark.parametrize(
    ("text", "callee"),
    [
        pytest.param("f()", "f", id="name"),
        pytest.param("time.sleep(1)", "time.sleep", id="attribute"),
        pytest.param("self._selector.poll(timeout, 5)", "self._selector.poll", id="attributes"),
        pytest.param("w.lock.acquire(timeout=1)", "w.lock.acquire", id="keyword"),
        pytest.param("f(a, b, c=d)", "f", id="keyword-of-function"),
        pytest.param("f(*args)", "f", id="star"),
        pytest.param("f(**args)", "f", id="stars"),
        pytest.param("a.f(b, *args, c, d=1, **more)", "a.f", id="star-method"),
        pytest.param("sqlite3.connect(x).execute(y)", "sqlite3.connect().execute", id="chain"),
        pytest.param("(a\n  .b(1)\n  .c\n  .d(2,\n     3))", "a.b().c.d", id="lines"),
        pytest.param("fns[0](x)", "fns[...]", id="item"),
        pytest.param("a.fns[x].go(y)", "a.fns[...].go", id="item-method"),
        pytest.param("fns[x:y].sort()", "fns[...].sort", id="part"),
        pytest.param("fns[x:y:z].sort()", "fns[...].sort", id="part-with-step"),
        pytest.param("getattr(x, 'y')(1)", "getattr()", id="result"),
        pytest.param("f(a if b else c)", "f", id="conditional-argument"),
        pytest.param("a.f(b or c, not d)", "a.f", id="boolean-argument"),
        pytest.param("f(a < b < c)", "f", id="comparison-argument"),
        pytest.param("f([g(x) for x in y if x])", "f", id="comprehension-argument"),
        pytest.param("a.f({x: g(x) for x in y}, {z for z in y})", "a.f", id="comprehension-arguments"),
        pytest.param("any(x for x in y)", "any", id="generator-argument"),
        pytest.param("sorted(xs, key=lambda x: -x)", "sorted", id="lambda-argument"),
        pytest.param('f(f"{g(1)!r:>{w}} {x}")', "f", id="f-string-argument"),
        pytest.param("f(await g())", "f", id="await-argument"),
        pytest.param("f(a, g(b, h(c), *d), e)", "f", id="call-argument"),
        pytest.param("f([a, *b], (*a, b), {**c, 'd': 1}, {*a})", "f", id="display-arguments"),
        pytest.param("f(a, 1, 'b', None, True, -1, 3.5, ...)", "f", id="constant-arguments"),
        pytest.param('f"{a}{b}".encode()', "str.encode", id="f-string"),
        pytest.param('", ".join(xs)', "str.join", id="string"),
        pytest.param('"".join(xs)', "str.join", id="empty-string"),
        pytest.param("b'%d'.hex(x)", "bytes.hex", id="bytes"),
        pytest.param("[a, *b].index(c)", "list.index", id="list"),
        pytest.param("{**a}.get(b)", "dict.get", id="dict"),
        pytest.param("{a, b}.add(c)", "set.add", id="set"),
        pytest.param("(z := a.b)(c)", "a.b", id="walrus"),
        pytest.param("f(z := c)", "f", id="walrus-argument"),
        pytest.param("@a.deco\ndef inner(): pass", "a.deco", id="decorator"),
        pytest.param("@deco(1)\ndef inner(x=2): pass", "deco()", id="decorator-call"),
        pytest.param("class Inner(a, b=c): pass", "__build_class__", id="class"),
        pytest.param("raise ValueError(a)", "ValueError", id="raise"),
        pytest.param("(await f()).g(1)", "(...).g", id="await"),
        pytest.param("(a or b).c(1)", "(...).c", id="choice-attribute"),
        pytest.param("(a + b).c(1)", "(...).c", id="sum"),
        pytest.param("(a or b)(1)", "", id="choice"),
        pytest.param("(lambda: 1)()", "", id="lambda"),
        pytest.param("(a.b if c else a.b)(1)", "a.b", id="same-choice"),
    ],
)
def test_text(home: Callable[[str, str], CodeType], text: str, callee: str) -> None:
    """The outermost call is told by the text of its callee, whatever kind its names are."""
    tree = (
        ast.parse(text) if "await" not in text else ast.parse(f"async def f():\n{textwrap.indent(text, ' ')}")
    )
    stored = {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    names = sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - stored)
    assert told(home(text, ", ".join(names)))[-1] == callee


@pytest.mark.parametrize(
    "text",
    ["a + b", "a[b]", "a < b", "-a", "a.b", "[*a]", "f'{a!r}'", "import a", "for b in a: pass", "del a[b]"],
)
def test_no_call(text: str) -> None:
    """What is written without parentheses is no call."""
    code = in_function(text, "")
    assert {CodeMap(code).callee(at) for at in range(len(code.co_code))} == {""}


@pytest.mark.parametrize(
    ("text", "callees"),
    [
        pytest.param("with L2: pass", ["L2.__enter__", "L2.__exit__"], id="name"),
        pytest.param("with a.b(1) as c: pass", ["a.b", "a.b().__enter__", "a.b().__exit__"], id="call"),
        pytest.param(
            "with a, b: f()", ["a.__enter__", "b.__enter__", "f", "b.__exit__", "a.__exit__"], id="two"
        ),
        pytest.param("async with a: f()", ["a.__aenter__", "f", "a.__aexit__"], id="async"),
        pytest.param(
            "with a:\n for x in y:\n  if x: f(x)\n  else: g(x)",
            ["a.__enter__", "f", "g", "a.__exit__"],
            id="loop",
        ),
    ],
)
def test_with(text: str, callees: list[str]) -> None:
    """Entering and leaving a ``with`` are calls of the context manager."""
    assert told(in_function(text, "")) == callees


@pytest.mark.parametrize("first", ["super()", "super(A, self)"])
def test_super(first: str) -> None:
    """A method of ``super()`` is told as such, with and without arguments."""
    text = f"class A:\n def home(self, x):\n  {first}.foo(x)\n  {first}.bar.baz(x)"
    assert [callee for callee in told(compiled(text)) if callee != "super"] == [
        "super().foo",
        "super().bar.baz",
    ]


def test_private() -> None:
    """A private name is told as the compiler has it."""
    assert told(compiled("class A:\n def home(self): self.__x()")) == ["self._A__x"]


def test_many_names() -> None:
    """Names and jumps whose numbers take more than one byte are told too."""
    body = "".join(f"  v{n} = a{n}.b{n}(v{n} if c{n} else d{n}, v{n})\n" for n in range(400))
    names = ", ".join(f"v{n}" for n in range(400))
    code = compiled(f"def home({names}):\n while z:\n{body}")
    assert told(code) == [f"a{n}.b{n}" for n in range(400)]


def test_long_chain() -> None:
    """A chain without end is cut."""
    text = told(compiled(f"def home(): a{'.b()' * 150}"))[-1]
    assert text.startswith("(...)")
    assert text.endswith(".b().b")


def test_warm() -> None:
    """A function that has run often, and is traced, tells what it told when it was new."""

    def home(values: list[int], out: list[int]) -> None:
        for value in values:
            out.append(abs(value))
            out.extend(list(map(str, range(2))))  # type: ignore[arg-type]
            len(out)

    fresh = told(home.__code__)
    before = sys.gettrace()
    try:
        for trace in [None] * 100 + [lambda *_: None]:
            sys.settrace(trace)
            home([1, 2, 3], [])
        assert told(home.__code__) == fresh
    finally:
        sys.settrace(before)
    assert fresh == ["abs", "out.append", "range", "map", "list", "out.extend", "len"]


def test_inside() -> None:
    """An offset within a call's cache entries, where a frame that is not the leaf is, is the call's."""
    code = compiled("def home(): time.sleep(1) + 1")
    call = [at for at in dis.get_instructions(code) if at.opname in CALLS][-1]
    after = next(at for at in dis.get_instructions(code) if at.offset > call.offset)
    offsets = range(call.offset, after.offset)
    assert len(offsets) > 2
    assert {CodeMap(code).callee(at) for at in offsets} == {"time.sleep"}


@pytest.mark.parametrize("lasti", [-(10**9), -2, -1, 1, 10**9])
def test_nowhere(lasti: int) -> None:
    """An offset that is no instruction's has no callee, and nothing raises."""
    calls = CodeMap(compiled("def home(): f()"))
    assert calls.callee(lasti) == ""
    assert calls.position(lasti).column == -1


# --- the whole standard library's worth of shapes -------------------------------------------------


def dotted(node: ast.expr) -> str:
    match node:
        case ast.Name(name):
            return name
        case ast.Attribute(below, name) if dotted(below):
            return f"{dotted(below)}.{name}"
        case ast.Call(below) if dotted(below):
            return f"{dotted(below)}()"
        case _:
            return ""


def written(tree: ast.AST) -> dict[tuple[int | None, ...], set[str]]:
    """
    Return the names of all calls by position; a decorator or a ``with`` may give several one position.
    """
    found: dict[tuple[int | None, ...], set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.expr):
            where = (node.lineno, node.end_lineno, node.col_offset, node.end_col_offset)
            if isinstance(node, ast.Call):
                found.setdefault(where, set()).add(dotted(node.func))
        for item in getattr(node, "items", []) if isinstance(node, ast.With) else []:
            at = item.context_expr
            where = (at.lineno, at.end_lineno, at.col_offset, at.end_col_offset)
            found.setdefault(where, set()).update(f"{dotted(at)}.__{way}__" for way in ("enter", "exit"))
        for at in getattr(node, "decorator_list", []):
            where = (at.lineno, at.end_lineno, at.col_offset, at.end_col_offset)
            found.setdefault(where, set()).add(dotted(at))
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_agrees_with_source(module: ModuleType) -> None:
    """In real modules, the texts are those of the source, but for one call in a hundred."""
    names = written(ast.parse(source(module)))
    hits = misses = 0
    for code in module_codes(module):
        calls = CodeMap(code)
        for call in dis.get_instructions(code):
            expected = names.get(tuple(call.positions or ()), set()) - {""}
            if call.opname in CALLS and expected:
                hits += calls.callee(call.offset) in expected
                misses += calls.callee(call.offset) not in expected
    assert hits > 50
    assert misses <= hits / 100


class Read(NamedTuple):
    """
    An instruction: its name, argument, and the places from which a jump goes there.
    """

    name: str
    arg: int
    jumps: list[int]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_reads_as_dis(module: ModuleType) -> None:
    """Instructions, arguments and jumps are those that `dis` reads."""
    for code in module_codes(module):
        flow = fgtrace._classify.native_call._ControlFlow(code)
        plain = [at for at in dis.get_instructions(code) if at.opname != "EXTENDED_ARG"]
        jumps = [(at.offset, at.argval) for at in plain if at.opcode in {*dis.hasjrel, *dis.hasjabs}]
        for at in plain:
            index = flow.index[at.offset // 2]
            sources = [plain[before].offset for before, jumped in flow._before[index] if jumped]
            seen = Read(flow.name(index), flow.args[index] if at.arg is not None else 0, sorted(sources))
            assert seen == Read(at.opname, at.arg or 0, reaching(at, jumps, plain))
            if at.opname in {"LOAD_GLOBAL", "LOAD_ATTR", "LOAD_METHOD", "LOAD_NAME"}:
                assert flow.named(index) == at.argval
            if at.opname in {"LOAD_FAST", "LOAD_DEREF", "LOAD_FAST_BORROW", "LOAD_CLOSURE"}:
                assert flow.variables[flow.args[index]] == at.argval


def reaching(at: dis.Instruction, jumps: list[tuple[int, int]], plain: list[dis.Instruction]) -> list[int]:
    """
    Return the sources of the jumps to an instruction, which may go to a prefix of it.
    """
    before = max((other.offset for other in plain if other.offset < at.offset), default=-1)
    return sorted(source for source, target in jumps if before < target <= at.offset)


# --- positions -----------------------------------------------------------------------------------


def test_position() -> None:
    """The position of a call is that of the whole call expression."""
    code = compiled("def home():\n  x = 1\n  time.sleep(\n    2)")
    call = [at for at in dis.get_instructions(code) if at.opname in CALLS][-1]
    assert CodeMap(code).position(call.offset) == Position(3, 4, 2, 6)


def test_position_not_started() -> None:
    """A frame that has not started is at its function's first line."""
    assert CodeMap(compiled("\n\ndef home(): f()")).position(-1) == Position(3, 3, -1, -1)


@pytest.mark.parametrize("step", [1, -1], ids=["forward", "backward"])
def test_positions(step: int) -> None:
    """Few or many, in whatever order they are asked for, the positions are those of `co_positions`."""
    for code in module_codes(argparse):
        places = CodeMap(code)
        for unit, (line, end_line, column, end_column) in list(enumerate(code.co_positions()))[::step]:
            found = places.position(2 * unit)
            assert found[:2] == (line or 0, end_line or line or 0)
            assert found[2:] == (-1 if column is None else column, -1 if end_column is None else end_column)


def test_no_debug_ranges() -> None:
    """Where the interpreter keeps lines only, the rest is unknown and the callee is not."""
    program = (
        "from fgtrace._classify.native_call import CodeMap\n"
        "code = compile('\\na.b(1)', 'example.py', 'eval')\n"
        "calls = CodeMap(code)\n"
        "at = next(at for at in range(0, len(code.co_code), 2) if calls.callee(at))\n"
        "assert calls.callee(at) == 'a.b', calls.callee(at)\n"
        "assert calls.position(at) == (2, 2, -1, -1), calls.position(at)\n"
    )
    root = str(Path(fgtrace._classify.native_call.__file__).parents[1])
    subprocess.run(
        [sys.executable, "-X", "no_debug_ranges", "-c", program],
        check=True,
        env={**os.environ, "PYTHONPATH": root},
    )


# --- real threads in real calls ------------------------------------------------------------------

Setup = tuple[Callable[[], object], Callable[[], object]]
BIG = bytes(1 << 24)


def again(call: Callable[[], object]) -> Setup:
    """
    A call that ends by itself and is repeated until the test has seen it.
    """
    done: list[bool] = []

    def run() -> None:
        while not done:
            call()

    return run, lambda: done.append(True)


def sleep() -> Setup:
    return again(lambda: time.sleep(0.05))


def acquire() -> Setup:
    lock = threading.Lock()
    lock.acquire()
    return lambda: lock.acquire(timeout=60), lock.release


def enter() -> Setup:
    lock = threading.Lock()
    lock.acquire()

    def run() -> None:
        with lock:
            pass

    return run, lock.release


def receive() -> Setup:
    near, far = socket.socketpair()

    def run() -> None:
        with near:
            near.recv(10)

    return run, far.close


def wait() -> Setup:
    near, far = os.pipe()

    def run() -> None:
        select.select([near], [], [], 60)
        os.close(near)

    return run, lambda: os.close(far)


def read() -> Setup:
    near, far = os.pipe()

    def run() -> None:
        os.read(near, 1)
        os.close(near)

    return run, lambda: os.close(far)


def get() -> Setup:
    items: queue.SimpleQueue[int] = queue.SimpleQueue()
    return lambda: items.get(timeout=60), lambda: items.put(1)


def star() -> Setup:
    items: queue.SimpleQueue[int] = queue.SimpleQueue()
    args = (True, 60)
    return lambda: items.get(*args), lambda: items.put(1)


def looked_up() -> Setup:
    items: queue.SimpleQueue[int] = queue.SimpleQueue()
    name = "get"

    def run() -> None:
        getattr(items, name)()

    return run, lambda: items.put(1)


def listed() -> Setup:
    lock = threading.Lock()
    lock.acquire()
    calls = [lock.acquire]

    def run() -> None:
        calls[0]()

    return run, lock.release


def sha1() -> Setup:
    return again(lambda: hashlib.sha1(BIG))  # noqa: S324 - the time that it takes is what counts


def compress() -> Setup:
    return again(lambda: zlib.compress(BIG))


def sort() -> Setup:
    numbers = list(range(100_000))
    return again(lambda: sorted(numbers, key=str))


def seen(callee: str, thread: threading.Thread) -> bool:
    frame = sys._current_frames().get(thread.ident or 0)
    return frame is not None and CodeMap(frame.f_code).callee(frame.f_lasti) == callee


@pytest.mark.parametrize(
    ("setup", "callee"),
    [
        pytest.param(sleep, "time.sleep", id="sleep"),
        pytest.param(acquire, "lock.acquire", id="lock"),
        pytest.param(enter, "lock.__enter__", id="with"),
        pytest.param(receive, "near.recv", id="socket"),
        pytest.param(wait, "select.select", id="select"),
        pytest.param(read, "os.read", id="pipe"),
        pytest.param(get, "items.get", id="queue"),
        pytest.param(star, "items.get", id="star"),
        pytest.param(looked_up, "getattr()", id="getattr"),
        pytest.param(listed, "calls[...]", id="item"),
        pytest.param(sha1, "hashlib.sha1", id="hash"),
        pytest.param(compress, "zlib.compress", id="compress"),
        pytest.param(sort, "sorted", id="sort"),
    ],
)
def test_thread(setup: Callable[[], Setup], callee: str) -> None:
    """The leaf frame of a thread within a native call tells that call."""
    run, release = setup()
    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + 30
    try:
        while not (found := seen(callee, thread)) and time.monotonic() < deadline:
            time.sleep(0.001)
    finally:
        release()
        thread.join()
    assert found
