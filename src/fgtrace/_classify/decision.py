"""
Why a track is where it is: from the functions on its stack to a state.

How it works: the frames are asked from the leaf outward, and each function's rule (the one with
the longest prefix) adds to what is known or ends the walk; `Effect` in `_rules` says how. A
frame nearer the leaf is more specific, but a leaf alone is not enough: a socket of anyio and an
``asyncio.Event`` of the program end in the same function. The walk ends at the first function
that no rule names, since past the program's own code the stack is about something else.

A task's frames cannot tell whether it runs, and say nothing where it awaits a bare future;
both are in its `Waiter`. A thread's frames cannot tell whether it is blocked at all; that is in
the native call at its leaf and in its CPU clock.

May not: ask a clock, the interpreter or a live object. It is called once for every observation
of a trace, so what is known of a function is remembered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from fgtrace._classify.rules import (
    CALL_RULES,
    HANDED_OVER,
    KIND_NAMES,
    KIND_STATES,
    NAMES,
    NOTHING,
    TASK_RULES,
    THREAD_RULES,
    TYPE_NAMES,
    UNEXPLAINED,
    CallRule,
    Effect,
    Rule,
)
from fgtrace._model.states import GIL_WAIT, RUNNING, STATES, TASK_STATES, THREAD_STATES, UNBLOCKED
from fgtrace._model.values import Cpu, FrameName, ThreadSample, Waiter
from fgtrace.errors import ConfigError

__all__ = ["Rules", "Verdict"]

_T = TypeVar("_T")

#: The looks at a CPU clock with which a weak rule counts: it did not move.
_STOOD = frozenset(("still", "starved"))


class Verdict(NamedTuple):
    """
    Why a track is where it is.

    Args:
        state: one of `fgtrace._model.states.STATES`.
        on: what it waits for, such as ``asyncio.Lock``, ``loop.sock_recv`` or, for a thread,
            ``sock.recv``; empty when it is running, runnable, or waits for the GIL.
        site: the index of the frame that waits, the program's own where there is one; -1 when
            it is running or runnable, or has no frames.
    """

    state: str
    on: str
    site: int


class _FunctionRule(NamedTuple):
    """
    What the tables know of one function.
    """

    effect: Effect
    state: str
    turns: Mapping[str, str]
    name: str
    public: bool


class _Suggestion(NamedTuple):
    """
    What a walk knows so far: a suggestion, and the frame that made it (-1: the native call).
    """

    state: str = NOTHING
    at: int = -1
    held: bool = False


class _Prefixes(Generic[_T]):
    """
    A mapping from prefixes of ``module:qualname`` that gives the longest one's value.
    """

    __slots__ = ("_rows",)

    def __init__(self, values: Mapping[str, _T]) -> None:
        self._rows = tuple(sorted(values.items(), key=lambda row: -len(row[0])))

    def find(self, frame: FrameName) -> _T | None:
        """
        Give the value of the longest prefix, or None where none fits.
        """
        name, package = f"{frame.module}:{frame.qualname}", f"{frame.module}."
        for prefix, value in self._rows:
            if name.startswith(prefix) or package.startswith(prefix):
                return value
        return None


_NAMES = _Prefixes(NAMES)
_CALLS = {call: rule for rule in CALL_RULES for call in rule.calls}


class _RuleTable:
    """
    One table of rules, with what it knows of the functions that it has met.

    Args:
        rules: later ones replace earlier ones of the same prefix, except that those that turn
            a suggestion add up.
    """

    __slots__ = ("_known", "_rules", "_turns")

    def __init__(self, rules: Iterable[Rule]) -> None:
        chosen: dict[str, Rule] = {}
        turns: dict[str, dict[str, str]] = {}
        for rule in rules:
            for prefix in rule.prefixes:
                chosen[prefix] = rule._replace(prefixes=(prefix,))
                if rule.effect is Effect.TURNS:
                    turns.setdefault(prefix, {})[rule.turns] = rule.state
        self._rules = _Prefixes(chosen)
        self._turns = turns
        self._known: dict[FrameName, _FunctionRule | None] = {}

    def known(self, frame: FrameName) -> _FunctionRule | None:
        """
        Tell what the table knows of a function: None if no rule names it.
        """
        try:
            return self._known[frame]
        except KeyError:
            known = self._known[frame] = self._look_up(frame)
            return known

    def _look_up(self, frame: FrameName) -> _FunctionRule | None:
        rule = self._rules.find(frame)
        if rule is None:
            return None
        name, public = _name(frame)
        turns = self._turns.get(rule.prefixes[0], {})
        return _FunctionRule(rule.effect, rule.state, turns, name, public)

    def walk(self, frames: Sequence[FrameName], found: _Suggestion, followed: str) -> _Suggestion:
        """
        Ask the frames from the leaf outward, and give what is known at the end.

        Args:
            frames: root first.
            found: what is known before.
            followed: the state by the awaited future's kind.
        """
        for index in reversed(range(len(frames))):
            known = self.known(frames[index])
            if known is None or known.effect is Effect.ENDS:
                break
            found = _heard(found, known, index, followed)
            if known.effect is Effect.DECIDES:
                break
        return found

    def site(self, frames: Sequence[FrameName]) -> int:
        """
        Find the innermost frame that no rule names, else the outermost; -1 if there is none.
        """
        for index in reversed(range(len(frames))):
            if self.known(frames[index]) is None:
                return index
        return min(0, len(frames) - 1)

    def name(self, frames: Sequence[FrameName], index: int) -> str:
        """
        Name what the frame at this index stands for.

        A private helper is named after the innermost public function of its package around it:
        a reader knows ``asyncpg.connect``, not ``asyncpg.__connect_addr``.
        """
        package = _package(frames[index].module)
        for frame in reversed(frames[: index + 1]):
            known = self.known(frame)
            if known is None or _package(frame.module) != package:
                break
            if known.public:
                return known.name
        return _bare(_name(frames[index])[0])


class Rules:
    """
    The rules of fgtrace and those of the user; immutable.

    Example::

        rules = Rules([("myapp.throttle:", "pool wait")])
        rules.task([FrameName("myapp.throttle", "enter")], Waiter("future")).state  # "pool wait"

    Args:
        extra: (prefix, state) pairs. The prefix is the start of a ``module:qualname``; of
            several that fit a function the longest counts, and the user's among equals. A state
            that only tasks (or threads) can be in leaves threads (or tasks) alone.

    Raises:
        ConfigError: (a ValueError) for an empty prefix, or a state that does not exist.
    """

    __slots__ = ("_tasks", "_threads")

    def __init__(self, extra: Iterable[tuple[str, str]] = ()) -> None:
        users = tuple(_user_rule(prefix, state) for prefix, state in extra)
        self._tasks = _RuleTable((*TASK_RULES, *(r for r in users if r.state in TASK_STATES)))
        self._threads = _RuleTable((*THREAD_RULES, *(r for r in users if r.state in THREAD_STATES)))

    def task(self, frames: Sequence[FrameName], wait: Waiter) -> Verdict:
        """
        Tell why a task is where it is.

        Args:
            frames: its await chain, root first.
            wait: what its waiter turned out to be.
        """
        by_kind = KIND_STATES[wait.kind]
        if by_kind in UNBLOCKED:
            return Verdict(by_kind, "", -1)
        found = self._tasks.walk(frames, _Suggestion(), by_kind)
        site = self._tasks.site(frames)
        if found.state == NOTHING:
            return _verdict(by_kind, _waiter_name(wait), site)
        return _verdict(found.state, self._tasks.name(frames, found.at), site)

    def thread(self, frames: Sequence[FrameName], callee: str, look: ThreadSample) -> Verdict:
        """
        Tell why a thread is where it is.

        Args:
            frames: its stack, root first.
            callee: the text of the native call at the leaf, such as ``time.sleep``, or ``""``
                where the leaf is not at a call.
            look: what its CPU clock did.
        """
        found = self._blocked(frames, callee, look.cpu)
        if found.state in (NOTHING, RUNNING):
            at_call, elsewhere = UNEXPLAINED[look.cpu]
            state = at_call if callee else elsewhere
            on = "" if callee in HANDED_OVER else callee
            return _verdict(state, on, self._threads.site(frames))
        on = _call_name(callee) if found.at < 0 else self._threads.name(frames, found.at)
        return _verdict(found.state, on, self._threads.site(frames))

    def _blocked(self, frames: Sequence[FrameName], callee: str, cpu: Cpu) -> _Suggestion:
        # A clock that ran all the time leaves no room for a wait, whatever the frames say. One
        # that ran for a part does, but only at a call: bytecode of queue.Queue.get does not wait.
        if cpu == "busy" or (cpu == "some" and not callee):
            return _Suggestion()
        return self._threads.walk(frames, _called(callee, cpu), NOTHING)


def _user_rule(prefix: str, state: str) -> Rule:
    allowed = [each.name for each in STATES]
    if not prefix:
        raise ConfigError("rules", (prefix, state), "a prefix must not be empty")
    if state not in allowed:
        raise ConfigError("rules", (prefix, state), f"{state!r} is none of {', '.join(allowed)}")
    return Rule(Effect.DECIDES, state, (prefix,))


def _verdict(state: str, on: str, site: int) -> Verdict:
    """
    Leave out what a track waits on, and where, if it waits for nothing but its turn.
    """
    if state in UNBLOCKED:
        return Verdict(state, "", -1)
    return Verdict(state, "" if state == GIL_WAIT else on, site)


def _heard(found: _Suggestion, known: _FunctionRule, index: int, followed: str) -> _Suggestion:
    """
    Give what is known after one more frame.
    """
    if known.effect is Effect.TURNS:
        turned = known.turns.get(found.state)
        return found if turned is None else _Suggestion(turned, index)
    if known.effect is Effect.PASSES:
        return found
    if found.held and known.effect in (Effect.SUGGESTS, Effect.FOLLOWS):
        return found
    return _Suggestion(known.state or followed, index, known.effect is Effect.HOLDS)


def _call_rule(callee: str) -> CallRule | None:
    return _CALLS.get(callee) or _CALLS.get(f"*.{callee.rpartition('.')[2]}")


def _called(callee: str, cpu: Cpu) -> _Suggestion:
    """
    Give what is known from the native call alone.
    """
    rule = _call_rule(callee)
    if rule is None or (rule.weak and cpu not in _STOOD):
        return _Suggestion()
    return _Suggestion(rule.state, held=rule.holds)


def _call_name(callee: str) -> str:
    rule = _call_rule(callee)
    return (rule.on if rule else "") or callee


def _name(frame: FrameName) -> tuple[str, bool]:
    """
    Give the name of what a function stands for, and whether it is a public one.
    """
    owner, function = _split(frame.qualname)
    pattern = _NAMES.find(frame)
    if pattern is not None:
        return pattern.replace("*", function), "*" not in pattern or not function.startswith("_")
    word = owner or function
    package = _package(frame.module)
    return f"{package}.{word}" if package else word, not word.startswith("_")


def _split(qualname: str) -> tuple[str, str]:
    """
    Split a qualname into class and function; what is nested in a function belongs to it.
    """
    owner, _, function = qualname.partition(".<locals>")[0].rpartition(".")
    return owner, function


def _package(module: str) -> str:
    return module.partition(".")[0]


def _bare(name: str) -> str:
    """
    Take the underscores off a private name: there is no better one.
    """
    head, dot, word = name.rpartition(".")
    return f"{head}{dot}{word.lstrip('_')}"


def _waiter_name(wait: Waiter) -> str:
    return TYPE_NAMES.get(wait.type) or KIND_NAMES.get(wait.kind) or _type_name(wait.type)


def _type_name(type_: str) -> str:
    """
    Name a type by package and class; the package of a C twin (``_asyncio``) is its model's.
    """
    package = _package(type_)
    if not package.startswith("__"):
        package = package.removeprefix("_")
    word = type_.rpartition(".")[2]
    return f"{package}.{word}" if "." in type_ else word
