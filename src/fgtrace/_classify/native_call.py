"""
Finds where in the source an instruction is, and the text of the function that a call instruction calls.

A function written in C has no frame. A thread in ``time.sleep(1)`` shows the function that called it, with
the offset of a CALL instruction: had the callee been Python, its own frame would be the leaf. So the text of
the call is the name of the missing frame. The code object alone gives it, afterwards: no source, no object of
the program and no import is needed.

Theory of operation: the callee is a slot of the interpreter's stack, at a known depth under the arguments of
the call. A walk goes backward over the instructions and keeps count of that depth by the effect of each
instruction on the stack, until it comes to the instruction that pushed the slot: ``LOAD_GLOBAL time`` names
it, ``LOAD_ATTR sleep`` names it, too, and a second walk finds the object below. Where several paths meet
(``f(a if b else c)``), the walk follows all. Where they push different things into the slot (``(a or
b)(x)``), the callee has no single text.

What differs between versions of Python: the tables below, the order of the callee and its NULL (the NULL came
first until 3.12), and that 3.11 makes a call in two instructions, PRECALL and CALL, at both of which a thread
is seen. The net effects are the interpreter's own, `dis.stack_effect`. `dis.get_instructions` would do the
decoding as well, but takes 5-15 us an instruction where this module takes 1-2 us; the tests hold the two
equal.

Known weakness: the text is what the source says, not what was called: ``f`` may be anything. Names are as the
compiler sees them: ``self.__x`` is ``self._K__x``. A call of ``__exit__`` after an exception, or at the end
of a ``with`` that only an exception handler reaches, has no text.
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
        end_line: the last line; the same as ``line`` where it is not known.
        column: the first byte of the range on its first line, in UTF-8 bytes from 0; -1 where not known.
        end_column: the first byte behind the range on its last line; -1 where not known.
    """

    line: int
    end_line: int
    column: int
    end_column: int


class CodeMap:
    """
    Answers questions about the instructions of one code object.

    A caller keeps one map for each code object: the map remembers its answers, and reads the bytecode at the
    first question for a callee. None of its methods raises.

    Args:
        code: the code object, which the map keeps alive.

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
        Return the range of source text of the instruction at an offset.

        Args:
            lasti: the frame's ``f_lasti``, in bytes; -1 for a frame that has not started.

        Returns:
            The range; for a frame that has not started the function's first line.
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
        Return the text of the function that the instruction at an offset calls, such as ``time.sleep``.

        The text leaves arguments out: ``sqlite3.connect().execute``, ``handlers[...]``. A literal appears as
        its type, as in ``str.join``, and any other expression as in ``(...).encode``.

        Args:
            lasti: the leaf frame's ``f_lasti``, in bytes.

        Returns:
            The text; ``""`` where the instruction is no call or the callee has no name.
        """
        if lasti not in self._callees:
            self._callees[lasti] = self._read(lasti)
        return self._callees[lasti]

    def _read(self, lasti: int) -> str:
        raw = self._code.co_code
        if not 0 <= lasti < len(raw):
            return ""
        start = lasti & ~1
        while start > 0 and raw[start] == _CACHE:  # 3.11 and 3.12 point there, except for the leaf
            start -= 2
        if raw[start] not in _CALL_CODES:
            return ""
        try:
            self._flow = self._flow or _ControlFlow(self._code)
            text = self._flow.callee(self._flow.index[start // 2], _LINKS)
        except (IndexError, KeyError, ValueError):  # bytecode that no compiler made
            return ""
        return "" if text == _OTHER else text


#: Offsets of one code object that are looked up one by one, each by a walk from the start of the table of
#: positions (0.2 us a code unit). For the next offset the whole table is read, and kept.
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

#: Until 3.12 the stack of a call is [NULL, callable, ...] or [method, self, ...]; since 3.13 the NULL is
#: second.
_NULL_FIRST: Final = sys.version_info < (3, 13)

#: Bits of flags below the index of a name: from 3.12 on one of LOAD_ATTR says that it loads a method.
_FLAGS: Final = {"LOAD_ATTR": 0 if sys.version_info < (3, 12) else 1, "LOAD_GLOBAL": 1, "LOAD_SUPER_ATTR": 2}


def _split(text: str) -> list[str]:
    return text.split()


#: Instructions after which the next one is reached by a jump only.
_ENDS: Final = frozenset(_split("INTERPRETER_EXIT RAISE_VARARGS RERAISE RETURN_CONST RETURN_VALUE")).union(
    name for name in dis.opmap if name.startswith(("JUMP_BACKWARD", "JUMP_FORWARD"))
)

#: Instruction -> the values that it pops; how many it pushes then follows from its net effect.
_POPS: Final = {
    **dict.fromkeys(
        _split("FOR_ITER GET_ANEXT GET_LEN IMPORT_FROM LOAD_GLOBAL MATCH_KEYS WITH_EXCEPT_START"), 0
    ),
    **dict.fromkeys(_split("LOAD_FAST_BORROW_LOAD_FAST_BORROW LOAD_FAST_LOAD_FAST"), 0),
    **dict.fromkeys(_split("BEFORE_ASYNC_WITH BEFORE_WITH GET_ITER LOAD_ATTR LOAD_METHOD LOAD_SPECIAL"), 1),
    **dict.fromkeys(_split("STORE_FAST_LOAD_FAST UNPACK_EX UNPACK_SEQUENCE"), 1),
    "LOAD_SUPER_ATTR": 3,
}

#: Instructions that push nothing. Those that are in no table push one value.
_SILENT: Final = _ENDS.union(
    _split(
        "COPY_FREE_VARS DICT_MERGE DICT_UPDATE END_ASYNC_FOR END_FOR IMPORT_STAR KW_NAMES LIST_APPEND "
        "LIST_EXTEND MAKE_CELL MAP_ADD NOP NOT_TAKEN PRECALL PRINT_EXPR RESUME SETUP_ANNOTATIONS SET_ADD "
        "SET_UPDATE"
    ),
    (name for name in dis.opmap if name.startswith(("DELETE_", "JUMP_", "POP_", "STORE_"))),
)

_STEPS: Final = 20_000  # (instruction, depth) pairs that a walk visits at most
_LINKS: Final = 40  # that the text of a callee has at most: ``a.b().c`` has four
_OTHER: Final = "(...)"


class _Pushed(NamedTuple):
    """
    A value that an instruction pushed.

    Args:
        at: the instruction's index.
        out: which of the instruction's outputs it is, 0 being the top of the stack.
        left: how many links its text may have.
    """

    at: int
    out: int
    left: int


class _ControlFlow:
    """
    The instructions of a code object, and for each those that can run right before it.
    """

    __slots__ = ("_before", "_codes", "args", "code", "index", "variables")

    def __init__(self, code: CodeType) -> None:
        cells = (name for name in code.co_cellvars if name not in code.co_varnames)
        self.code = code
        self.variables = (*code.co_varnames, *cells, *code.co_freevars)
        self._codes: list[int] = []
        self.args: list[int] = []
        self.index: list[int] = []  # code unit -> the instruction that it belongs to
        firsts = self._decode(code.co_code)
        self._before: list[list[tuple[int, bool]]] = [[] for _ in self._codes]
        self._link(firsts)

    def _decode(self, raw: bytes) -> list[int]:
        """
        Decode the instructions, without prefixes and caches, and return the first code unit of each.
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
        """
        Note for each instruction those that can run right before it, and whether by a jump.
        """
        for at, (code, following) in enumerate(zip(self._codes, [*firsts[1:], 0], strict=True)):
            if code in _JUMPS:
                way = -1 if "BACKWARD" in dis.opname[code] else 1
                target = self.index[following + way * self.args[at]]
                self._before[target].append((at, True))
            if following and dis.opname[code] not in _ENDS:
                self._before[at + 1].append((at, False))

    def callee(self, at: int, left: int) -> str:
        """
        Return the text of the function that a call instruction calls.
        """
        name = self.name(at)
        if name in _ENTERS:
            return f"{self.text(at, 0, left)}.{_ENTERS[name]}"
        slot = _CALLS[name](self.args[at])
        return self.text(at, slot, left) or self.text(at, slot - 1, left)  # a NULL, until 3.12

    def named(self, at: int) -> str:
        """
        Return the name that an instruction loads.
        """
        return self.code.co_names[self.args[at] >> _FLAGS.get(self.name(at), 0)]

    def name(self, at: int) -> str:
        """
        Return the name of an instruction, such as ``LOAD_ATTR``.
        """
        return dis.opname[self._codes[at]]

    def text(self, at: int, depth: int, left: int) -> str:
        """
        Return the text of the value at a depth of the stack before an instruction runs; ``""`` for a NULL.
        """
        if left == 0:
            return _OTHER
        texts = {self._text_of(_Pushed(origin, out, left - 1)) for origin, out in self._origins(at, depth)}
        return texts.pop() if len(texts) == 1 else _OTHER

    def _text_of(self, pushed: _Pushed) -> str:
        text_of = _TEXTS.get(self.name(pushed.at))
        return text_of(self, pushed) if text_of else _OTHER

    def _origins(self, at: int, depth: int) -> set[tuple[int, int]]:
        """
        Return the instructions that may have pushed a value, each with the index of the output that the value
        is.

        Args:
            at: an instruction.
            depth: where in the stack the value is before that instruction runs.
        """
        origins: set[tuple[int, int]] = set()
        seen = {(at, depth)}
        todo = [(at, depth)]
        while todo and len(seen) < _STEPS:
            at, depth = todo.pop()
            for before, jumped in self._before[at]:
                is_origin, below = self._undo(before, depth, jumped=jumped)
                if is_origin:
                    origins.add((before, below))
                elif (before, below) not in seen:
                    seen.add((before, below))
                    todo.append((before, below))
        return origins

    def _undo(self, at: int, depth: int, *, jumped: bool) -> tuple[bool, int]:
        """
        Return whether an instruction pushed the value at a depth; and the index of the output that the value
        is, or else the depth at which the value was before.
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
    Return how many values an instruction pops, and how many it then pushes.
    """
    name = dis.opname[code]
    if name in _HALVES_OF_CALL:
        return (0, 0) if name == "PRECALL" else (arg + 2, 1)
    net = dis.stack_effect(code, arg if code >= dis.HAVE_ARGUMENT else None, jump=jumped)
    if name in _POPS:
        pops = max(_POPS[name], -net)
        return pops, pops + net
    pushes = max(0 if name in _SILENT else 1, net)
    return pushes - net, pushes


#: 3.11 splits a call, and its net effect, into two instructions: here CALL has all of the effect.
_HALVES_OF_CALL: Final = frozenset(("CALL", "PRECALL") if "PRECALL" in dis.opmap else ())

#: Call instruction -> the depth of the callee by the instruction's argument: under the arguments, their names
#: and a NULL.
_CALLS: Final[dict[str, Callable[[int], int]]] = {
    "CALL": lambda count: count + 1,
    "CALL_FUNCTION_EX": lambda flags: 3 if sys.version_info >= (3, 14) else 2 - _NULL_FIRST + (flags & 1),
    "CALL_KW": lambda count: count + 2,
    "PRECALL": lambda count: count + 1,
}

#: Until 3.13 these call a method of the value on top; from 3.14 on a CALL does.
_ENTERS: Final = {"BEFORE_ASYNC_WITH": "__aenter__", "BEFORE_WITH": "__enter__"}

_CALL_CODES: Final = frozenset(dis.opmap[name] for name in (*_CALLS, *_ENTERS) if name in dis.opmap)

_SPECIAL: Final = ("__enter__", "__exit__", "__aenter__", "__aexit__")  # LOAD_SPECIAL (3.14)
#: By the argument of LOAD_COMMON_CONSTANT. The last five (3.15) are None, "", True, False and -1: literals,
#: which appear as their types.
_COMMON: Final = _split(
    "AssertionError NotImplementedError tuple all any list set NoneType str bool bool int"
)
_SUBSCRIPT: Final = 26  # of BINARY_OP (3.14)


def _variables(flow: _ControlFlow, pushed: _Pushed) -> str:
    arg = flow.args[pushed.at]  # two variables of 4 bits: what the low one names is on top (output 0)
    return flow.variables[arg >> 4 if pushed.out else arg & 15]


def _global(flow: _ControlFlow, pushed: _Pushed) -> str:
    null = flow.args[pushed.at] & 1 and pushed.out == _NULL_FIRST
    return "" if null else flow.named(pushed.at)


def _entered(flow: _ControlFlow, pushed: _Pushed) -> str:
    enter = flow.callee(pushed.at, pushed.left)
    return f"{enter.removesuffix('enter__')}exit__" if pushed.out else f"{enter}()"


def _subscript(flow: _ControlFlow, pushed: _Pushed, depth: int = 1) -> str:
    return f"{flow.text(pushed.at, depth, pushed.left)}[...]"


#: Instruction -> the text of the value that it always pushes. A literal appears as its type.
_FIXED: Final = {
    **dict.fromkeys(_split("BUILD_CONST_KEY_MAP BUILD_MAP"), "dict"),
    **dict.fromkeys(_split("BUILD_STRING FORMAT_SIMPLE FORMAT_VALUE FORMAT_WITH_SPEC"), "str"),
    "BUILD_LIST": "list",
    "BUILD_SET": "set",
    "BUILD_TUPLE": "tuple",
    "LOAD_ASSERTION_ERROR": "AssertionError",
    "LOAD_BUILD_CLASS": "__build_class__",
    "LOAD_SMALL_INT": "int",
    "PUSH_NULL": "",
}

_ONE: Final = _split("CLASSDEREF CLOSURE DEREF FAST FAST_AND_CLEAR FAST_BORROW FAST_CHECK FROM_DICT_OR_DEREF")
_TWO: Final = _split("LOAD_FAST_BORROW_LOAD_FAST_BORROW LOAD_FAST_LOAD_FAST STORE_FAST_LOAD_FAST")
_NAME: Final = _split("IMPORT_FROM LOAD_FROM_DICT_OR_GLOBALS LOAD_NAME")
_ATTR: Final = _split("LOAD_ATTR LOAD_METHOD")

#: Instruction -> the text of a value that it pushes; `_OTHER` for those that are not here.
_TEXTS: Final[dict[str, Callable[[_ControlFlow, _Pushed], str]]] = {
    **dict.fromkeys(_FIXED, lambda flow, pushed: _FIXED[flow.name(pushed.at)]),
    **dict.fromkeys(
        (f"LOAD_{name}" for name in _ONE), lambda flow, pushed: flow.variables[flow.args[pushed.at]]
    ),
    **dict.fromkeys(_TWO, _variables),
    **dict.fromkeys(_NAME, lambda flow, pushed: flow.named(pushed.at)),
    **dict.fromkeys(
        _ATTR, lambda flow, pushed: f"{flow.text(pushed.at, 0, pushed.left)}.{flow.named(pushed.at)}"
    ),
    **dict.fromkeys(_CALLS, lambda flow, pushed: f"{flow.callee(pushed.at, pushed.left)}()"),
    **dict.fromkeys(_ENTERS, _entered),
    "BINARY_OP": lambda flow, pushed: (
        _subscript(flow, pushed) if flow.args[pushed.at] == _SUBSCRIPT else _OTHER
    ),
    "BINARY_SLICE": lambda flow, pushed: _subscript(flow, pushed, 2),
    "BINARY_SUBSCR": _subscript,
    "LOAD_COMMON_CONSTANT": lambda flow, pushed: _COMMON[flow.args[pushed.at]],
    "LOAD_CONST": lambda flow, pushed: type(flow.code.co_consts[flow.args[pushed.at]]).__name__,
    "LOAD_GLOBAL": _global,
    "LOAD_SPECIAL": lambda flow, pushed: (
        f"{flow.text(pushed.at, 0, pushed.left)}.{_SPECIAL[flow.args[pushed.at]]}"
    ),
    "LOAD_SUPER_ATTR": lambda flow, pushed: f"super().{flow.named(pushed.at)}",
}
