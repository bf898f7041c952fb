"""
Where in the source an instruction is, and which native call it is making.

A function written in C has no frame. A thread in ``time.sleep(1)`` shows the function that
called it, with the offset of a CALL instruction: had the callee been Python, its own frame would
be the leaf. So the call's text is the name of the frame that is missing, and it can be had
afterwards, from the code object alone: no source, no object of the program, no import.

How: the callee is a slot of the interpreter's stack at a known depth under the call's arguments.
Walk backward over the instructions, keeping count of that depth by each one's effect on the stack,
until the one that put the slot there: ``LOAD_GLOBAL time`` names it, ``LOAD_ATTR sleep`` names it
and sends us on for the object below. Where several paths meet (``f(a if b else c)``) walk all;
where they put different things into the slot (``(a or b)(x)``) it has no one text.

What is known per version of Python: the tables below, the order of the callee and its NULL (the
NULL came first until 3.12), and that 3.11 makes a call in two instructions, PRECALL and CALL, at
both of which a thread is seen. The net effects are the interpreter's own, `dis.stack_effect`.
`dis.get_instructions` would do the decoding too, but takes 5-15 us an instruction where this
takes 1-2 us; the tests hold the two equal.

Known weakness: the text is what the source says, not what was called: ``f`` may be anything. It is
as the compiler sees it: ``self.__x`` is ``self._K__x``. The ``__exit__`` that an exception calls,
or that comes after a ``with`` whose end only an exception handler reaches, is not told.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice
from types import CodeType
from typing import Final, NamedTuple

__all__ = ["CodeMap", "Position"]


class Position(NamedTuple):
    """
    A range of source text, as the compiler noted it.

    Args:
        line: the first line, from 1; 0 where the instruction has none.
        end_line: the last line; the same as ``line`` where it is unknown.
        column: where it begins on its line, in UTF-8 bytes from 0; -1 where unknown.
        end_column: the first byte after it on the last line; -1 where unknown.
    """

    line: int
    end_line: int
    column: int
    end_column: int


class CodeMap:
    """
    What can be told of the instructions of one code object.

    Keep one for each code object that was seen: it remembers what it was asked, and reads the
    bytecode when it is first asked for a callee. Nothing in it raises.

    Args:
        code: the code object; it is kept alive.

    Example:
        >>> calls = CodeMap(compile("time.sleep(1)", "example.py", "eval"))
        >>> {calls.callee(lasti) for lasti in range(100)} - {""}
        {'time.sleep'}
    """

    __slots__ = ("_callees", "_code", "_flow", "_positions")

    def __init__(self, code: CodeType) -> None:
        self._code = code
        self._positions: dict[int, Position] = {}
        self._callees: dict[int, str] = {}
        self._flow: _ControlFlow | None = None

    def position(self, lasti: int) -> Position:
        """
        Where in the source the instruction at this offset is.

        Args:
            lasti: the frame's ``f_lasti``, in bytes; -1 is a frame that has not started.

        Returns:
            the range; the function's first line for a frame that has not started.
        """
        if lasti < 0:
            first = self._code.co_firstlineno
            return Position(first, first, -1, -1)
        if lasti not in self._positions:
            many = len(self._positions) >= _SINGLY
            self._positions.update(_positions(self._code, None if many else lasti // 2))
        return self._positions.setdefault(lasti, _UNKNOWN)

    def callee(self, lasti: int) -> str:
        """
        The text of the call that the instruction at this offset makes, such as ``time.sleep``.

        Arguments are left out: ``sqlite3.connect().execute``, ``handlers[...]``. A literal is told
        by its type, as in ``str.join``, and any other expression as in ``(...).encode``.

        Args:
            lasti: the leaf frame's ``f_lasti``, in bytes.

        Returns:
            the text; ``""`` where the instruction is no call or the callee has no name.
        """
        if lasti not in self._callees:
            self._callees[lasti] = self._read(lasti)
        return self._callees[lasti]

    def _read(self, lasti: int) -> str:
        raw = self._code.co_code
        if not 0 <= lasti < len(raw):
            return ""
        start = lasti & ~1
        while start > 0 and raw[start] == _CACHE:  # where 3.11 and 3.12 have a frame that is not the leaf
            start -= 2
        if raw[start] not in _CALL_CODES:
            return ""
        try:
            self._flow = self._flow or _ControlFlow(self._code)
            text = self._flow.callee(self._flow.index[start // 2], _LINKS)
        except (IndexError, KeyError, ValueError):  # bytecode that no compiler made
            return ""
        return "" if text == _OTHER else text


#: So many offsets of one code object are looked up singly, each a walk from the start of its
#: table (0.2 us a code unit); one more, and the whole table is kept.
_SINGLY: Final = 8

_UNKNOWN: Final = Position(0, 0, -1, -1)


def _positions(code: CodeType, only: int | None) -> Iterator[tuple[int, Position]]:
    found = islice(code.co_positions(), only, only + 1 if only is not None else None)
    for unit, (line, end_line, column, end_column) in enumerate(found, only or 0):
        columns = (-1, -1) if column is None or end_column is None else (column, end_column)
        yield 2 * unit, Position(line or 0, end_line or line or 0, *columns)


# --- the bytecode ------------------------------------------------------------------------------

_CACHE: Final = dis.opmap["CACHE"]
_EXTENDED_ARG: Final = dis.opmap["EXTENDED_ARG"]
_JUMPS: Final = frozenset(dis.hasjrel) | frozenset(dis.hasjabs)

#: Until 3.12 a call's stack is [NULL, callable, ...] or [method, self, ...]; then the NULL came second.
_NULL_FIRST: Final = sys.version_info < (3, 13)

#: How many flags are below the index of a name: LOAD_ATTR tells from 3.12 on that it loads a method.
_FLAGS: Final = {"LOAD_ATTR": 0 if sys.version_info < (3, 12) else 1, "LOAD_GLOBAL": 1, "LOAD_SUPER_ATTR": 2}


def _words(text: str) -> list[str]:
    return text.split()


#: What comes after these is reached by a jump only.
_ENDS: Final = frozenset(_words("INTERPRETER_EXIT RAISE_VARARGS RERAISE RETURN_CONST RETURN_VALUE")).union(
    name for name in dis.opmap if name.startswith(("JUMP_BACKWARD", "JUMP_FORWARD"))
)

#: How many each of these takes off the stack; how many it then pushes follows from its net effect.
_POPS: Final = {
    **dict.fromkeys(
        _words("FOR_ITER GET_ANEXT GET_LEN IMPORT_FROM LOAD_GLOBAL MATCH_KEYS WITH_EXCEPT_START"), 0
    ),
    **dict.fromkeys(_words("LOAD_FAST_BORROW_LOAD_FAST_BORROW LOAD_FAST_LOAD_FAST"), 0),
    **dict.fromkeys(_words("BEFORE_ASYNC_WITH BEFORE_WITH GET_ITER LOAD_ATTR LOAD_METHOD LOAD_SPECIAL"), 1),
    **dict.fromkeys(_words("STORE_FAST_LOAD_FAST UNPACK_EX UNPACK_SEQUENCE"), 1),
    "LOAD_SUPER_ATTR": 3,
}

#: These push nothing. All that are in no table push one.
_SILENT: Final = _ENDS.union(
    _words(
        "COPY_FREE_VARS DICT_MERGE DICT_UPDATE END_ASYNC_FOR END_FOR IMPORT_STAR KW_NAMES LIST_APPEND "
        "LIST_EXTEND MAKE_CELL MAP_ADD NOP NOT_TAKEN PRECALL PRINT_EXPR RESUME SETUP_ANNOTATIONS SET_ADD "
        "SET_UPDATE"
    ),
    (name for name in dis.opmap if name.startswith(("DELETE_", "JUMP_", "POP_", "STORE_"))),
)

_STEPS: Final = 20_000  # (instruction, depth) pairs that a walk visits at most
_LINKS: Final = 40  # that a callee is told with at most: ``a.b().c`` has four
_OTHER: Final = "(...)"


class _Made(NamedTuple):
    at: int  # the instruction
    out: int  # which of its outputs, 0 being the top of the stack
    left: int  # how many links may follow


class _ControlFlow:
    """
    The instructions of a code object, and which can come right before which.
    """

    __slots__ = ("_before", "_codes", "args", "code", "index", "variables")

    def __init__(self, code: CodeType) -> None:
        cells = (name for name in code.co_cellvars if name not in code.co_varnames)
        self.code = code
        self.variables = (*code.co_varnames, *cells, *code.co_freevars)
        self._codes: list[int] = []
        self.args: list[int] = []
        self.index: list[int] = []  # the instruction that a code unit belongs to
        firsts = self._decode(code.co_code)
        self._before: list[list[tuple[int, bool]]] = [[] for _ in self._codes]
        self._link(firsts)

    def _decode(self, raw: bytes) -> list[int]:
        """
        Fill in the instructions, without prefixes and caches; return the first code unit of each.
        """
        firsts: list[int] = []
        arg = begun = 0
        for unit, (code, low) in enumerate(zip(raw[::2], raw[1::2], strict=True)):
            self.index.append(len(self._codes) - (code == _CACHE))
            if code == _CACHE:
                begun = unit + 1
                continue
            arg = arg << 8 | low
            if code != _EXTENDED_ARG:
                self._codes.append(code)
                self.args.append(arg)
                firsts.append(begun)
                arg, begun = 0, unit + 1
        return firsts

    def _link(self, firsts: list[int]) -> None:
        for at, (code, following) in enumerate(zip(self._codes, [*firsts[1:], 0], strict=True)):
            if code in _JUMPS:
                way = -1 if "BACKWARD" in dis.opname[code] else 1
                target = self.index[following + way * self.args[at]]
                self._before[target].append((at, True))
            if following and dis.opname[code] not in _ENDS:
                self._before[at + 1].append((at, False))

    def callee(self, at: int, left: int) -> str:
        """
        The text of what the call instruction calls.
        """
        name = self.name(at)
        if name in _ENTERS:
            return f"{self.text(at, 0, left)}.{_ENTERS[name]}"
        slot = _CALLS[name](self.args[at])
        return self.text(at, slot, left) or self.text(at, slot - 1, left)  # a NULL, until 3.12

    def named(self, at: int) -> str:
        return self.code.co_names[self.args[at] >> _FLAGS.get(self.name(at), 0)]

    def name(self, at: int) -> str:
        return dis.opname[self._codes[at]]

    def text(self, at: int, depth: int, left: int) -> str:
        """
        What is so deep in the stack before an instruction; ``""`` for a NULL.
        """
        if left == 0:
            return _OTHER
        texts = {self._output(_Made(maker, out, left - 1)) for maker, out in self._makers(at, depth)}
        return texts.pop() if len(texts) == 1 else _OTHER

    def _output(self, made: _Made) -> str:
        tell = _TEXTS.get(self.name(made.at))
        return tell(self, made) if tell else _OTHER

    def _makers(self, at: int, depth: int) -> set[tuple[int, int]]:
        """
        The instructions that can have put it there, each with which of its outputs it was.
        """
        makers: set[tuple[int, int]] = set()
        seen = {(at, depth)}
        todo = [(at, depth)]
        while todo and len(seen) < _STEPS:
            at, depth = todo.pop()
            for before, jumped in self._before[at]:
                made, below = self._undo(before, depth, jumped=jumped)
                if made:
                    makers.add((before, below))
                elif (before, below) not in seen:
                    seen.add((before, below))
                    todo.append((before, below))
        return makers

    def _undo(self, at: int, depth: int, *, jumped: bool) -> tuple[bool, int]:
        """
        Whether an instruction made the slot, and which output it was, or how deep it was before.
        """
        name, arg = self.name(at), self.args[at]
        if name == "SWAP":
            return False, {0: arg - 1, arg - 1: 0}.get(depth, depth)
        if name == "COPY":
            return False, depth - 1 if depth else arg - 1
        pops, pushes = _effect(self._codes[at], arg, jumped=jumped)
        return depth < pushes, depth if depth < pushes else depth - pushes + pops


@lru_cache(maxsize=4096)
def _effect(code: int, arg: int, *, jumped: bool) -> tuple[int, int]:
    """
    How many an instruction takes off the stack, and how many it then pushes.
    """
    name = dis.opname[code]
    if name in _SPLIT:
        return (0, 0) if name == "PRECALL" else (arg + 2, 1)
    net = dis.stack_effect(code, arg if code >= dis.HAVE_ARGUMENT else None, jump=jumped)
    if name in _POPS:
        pops = max(_POPS[name], -net)
        return pops, pops + net
    pushes = max(0 if name in _SILENT else 1, net)
    return pushes - net, pushes


#: 3.11 has a call in two, and the net effect split between them: all of it is told of CALL.
_SPLIT: Final = frozenset(("CALL", "PRECALL") if "PRECALL" in dis.opmap else ())

#: How deep the callee is, from the instruction's argument: under arguments, their names and a NULL.
_CALLS: Final[dict[str, Callable[[int], int]]] = {
    "CALL": lambda count: count + 1,
    "CALL_FUNCTION_EX": lambda flags: 3 if sys.version_info >= (3, 14) else 2 - _NULL_FIRST + (flags & 1),
    "CALL_KW": lambda count: count + 2,
    "PRECALL": lambda count: count + 1,
}

#: Until 3.13 these enter what is on top; then that was a CALL, too.
_ENTERS: Final = {"BEFORE_ASYNC_WITH": "__aenter__", "BEFORE_WITH": "__enter__"}

_CALL_CODES: Final = frozenset(dis.opmap[name] for name in (*_CALLS, *_ENTERS) if name in dis.opmap)

_SPECIAL: Final = ("__enter__", "__exit__", "__aenter__", "__aexit__")  # LOAD_SPECIAL (3.14)
_COMMON: Final = _words(
    "AssertionError NotImplementedError tuple all any list set NoneType str bool bool int"
)
_SUBSCRIPT: Final = 26  # of BINARY_OP (3.14)


def _variables(flow: _ControlFlow, made: _Made) -> str:
    arg = flow.args[made.at]
    return flow.variables[arg >> 4 if made.out else arg & 15]


def _global(flow: _ControlFlow, made: _Made) -> str:
    null = flow.args[made.at] & 1 and made.out == _NULL_FIRST
    return "" if null else flow.named(made.at)


def _entered(flow: _ControlFlow, made: _Made) -> str:
    enter = flow.callee(made.at, made.left)
    return f"{enter.removesuffix('enter__')}exit__" if made.out else f"{enter}()"


def _subscript(flow: _ControlFlow, made: _Made, depth: int = 1) -> str:
    return f"{flow.text(made.at, depth, made.left)}[...]"


#: What always makes the same. A literal is told by its type.
_FIXED: Final = {
    **dict.fromkeys(_words("BUILD_CONST_KEY_MAP BUILD_MAP"), "dict"),
    **dict.fromkeys(_words("BUILD_STRING FORMAT_SIMPLE FORMAT_VALUE FORMAT_WITH_SPEC"), "str"),
    "BUILD_LIST": "list",
    "BUILD_SET": "set",
    "BUILD_TUPLE": "tuple",
    "LOAD_ASSERTION_ERROR": "AssertionError",
    "LOAD_BUILD_CLASS": "__build_class__",
    "LOAD_SMALL_INT": "int",
    "PUSH_NULL": "",
}

_ONE: Final = _words("CLASSDEREF CLOSURE DEREF FAST FAST_AND_CLEAR FAST_BORROW FAST_CHECK FROM_DICT_OR_DEREF")
_TWO: Final = _words("LOAD_FAST_BORROW_LOAD_FAST_BORROW LOAD_FAST_LOAD_FAST STORE_FAST_LOAD_FAST")
_NAME: Final = _words("IMPORT_FROM LOAD_FROM_DICT_OR_GLOBALS LOAD_NAME")
_ATTR: Final = _words("LOAD_ATTR LOAD_METHOD")

#: The text of what an instruction makes, by its name; `_OTHER` for the rest.
_TEXTS: Final[dict[str, Callable[[_ControlFlow, _Made], str]]] = {
    **dict.fromkeys(_FIXED, lambda flow, made: _FIXED[flow.name(made.at)]),
    **dict.fromkeys((f"LOAD_{name}" for name in _ONE), lambda flow, made: flow.variables[flow.args[made.at]]),
    **dict.fromkeys(_TWO, _variables),
    **dict.fromkeys(_NAME, lambda flow, made: flow.named(made.at)),
    **dict.fromkeys(_ATTR, lambda flow, made: f"{flow.text(made.at, 0, made.left)}.{flow.named(made.at)}"),
    **dict.fromkeys(_CALLS, lambda flow, made: f"{flow.callee(made.at, made.left)}()"),
    **dict.fromkeys(_ENTERS, _entered),
    "BINARY_OP": lambda flow, made: _subscript(flow, made) if flow.args[made.at] == _SUBSCRIPT else _OTHER,
    "BINARY_SLICE": lambda flow, made: _subscript(flow, made, 2),
    "BINARY_SUBSCR": _subscript,
    "LOAD_COMMON_CONSTANT": lambda flow, made: _COMMON[flow.args[made.at]],
    "LOAD_CONST": lambda flow, made: type(flow.code.co_consts[flow.args[made.at]]).__name__,
    "LOAD_GLOBAL": _global,
    "LOAD_SPECIAL": lambda flow, made: f"{flow.text(made.at, 0, made.left)}.{_SPECIAL[flow.args[made.at]]}",
    "LOAD_SUPER_ATTR": lambda flow, made: f"super().{flow.named(made.at)}",
}
