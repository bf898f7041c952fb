"""
Decides why a track is where it is: from the functions on its stack to a state.

Theory of operation: a walk goes over the frames from the leaf outward. Each function's rule (the one with the
longest prefix) adds to the suggestion so far, or ends the walk; `Effect` in `fgtrace._classify.rules` says
how. A frame nearer the leaf is more specific, but the leaf alone is not enough: a socket of anyio and an
``asyncio.Event`` of the program end in the same function. The walk ends at the first function that no rule
names, since the stack beyond the program's own code is about something else.

The frames of a task do not tell whether it runs, and say nothing where it awaits a bare future; its
`Waiter` tells whether it runs, and what it awaits. The frames of a thread do not tell whether it is blocked
at all; the native call at its leaf and its CPU clock do.

This module asks neither a clock, the interpreter nor a live object. It is called for every different stack of
a trace, so it remembers what the tables say of each function.
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

#: What a CPU clock did where a weak rule counts: it stood still, whether or not another thread ran.
_STOOD = frozenset(("still", "starved"))


class Verdict(NamedTuple):
    """
    The state of a track, what it waits for, and where.

    Args:
        state: the name of one of `fgtrace._model.states.STATES`.
        on: what the track waits for, such as ``asyncio.Lock``, ``loop.sock_recv`` or, for a thread,
            ``sock.recv``; empty when it is running, runnable, or waits for the GIL.
        site: the index of the frame that waits, one of the program's own where there is one; -1 when the
            track is running or runnable, or has no frames.
    """

    state: str
    on: str
    site: int


class _FunctionRule(NamedTuple):
    """
    What a table of rules says of one function, and what the function is called.

    ``replacements`` has, with `Effect.REPLACES`, the state that takes the place of each suggested one.
    """

    effect: Effect
    state: str
    replacements: Mapping[str, str]
    name: str
    public: bool


class _Suggestion(NamedTuple):
    """
    The state that a walk suggests so far, and the index of the frame that made it (-1: the native call).

    Where it is ``held``, rules that suggest a state do not replace it any more; those that decide or replace
    still do.
    """

    state: str = NOTHING
    at: int = -1
    held: bool = False


class _Prefixes(Generic[_T]):
    """
    A mapping from prefixes of ``module:qualname``, in which the longest prefix that fits counts.
    """

    __slots__ = ("_rows",)

    def __init__(self, values: Mapping[str, _T]) -> None:
        self._rows = tuple(sorted(values.items(), key=lambda row: -len(row[0])))

    def find(self, frame: FrameName) -> _T | None:
        """
        Return the value of the longest prefix that fits a function, or None if none fits.
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
    A table of rules, which remembers the rule of each function that it has met.

    Args:
        rules: a later rule stands instead of an earlier one of the same prefix. Of the rules
            `Effect.REPLACES` all that have one prefix are kept, each for the suggestion that it replaces.
    """

    __slots__ = ("_known", "_replaces", "_rules")

    def __init__(self, rules: Iterable[Rule]) -> None:
        chosen: dict[str, Rule] = {}
        replaces: dict[str, dict[str, str]] = {}
        for rule in rules:
            for prefix in rule.prefixes:
                chosen[prefix] = rule._replace(prefixes=(prefix,))
                if rule.effect is Effect.REPLACES:
                    replaces.setdefault(prefix, {})[rule.replaces] = rule.state
        self._rules = _Prefixes(chosen)
        self._replaces = replaces
        self._known: dict[FrameName, _FunctionRule | None] = {}

    def rule_of(self, frame: FrameName) -> _FunctionRule | None:
        """
        Return the rule of a function, or None if no rule names it.
        """
        try:
            return self._known[frame]
        except KeyError:
            rule = self._known[frame] = self._find(frame)
            return rule

    def _find(self, frame: FrameName) -> _FunctionRule | None:
        rule = self._rules.find(frame)
        if rule is None:
            return None
        name, public = _name(frame)
        replaces = self._replaces.get(rule.prefixes[0], {})
        return _FunctionRule(rule.effect, rule.state, replaces, name, public)

    def walk(self, frames: Sequence[FrameName], found: _Suggestion, followed: str) -> _Suggestion:
        """
        Return the suggestion at the end of a walk over the frames, from the leaf outward.

        Args:
            frames: root first.
            found: the suggestion before the walk.
            followed: the state that the kind of the awaited future means.
        """
        for index in reversed(range(len(frames))):
            rule = self.rule_of(frames[index])
            if rule is None or rule.effect is Effect.ENDS:
                break
            found = _next_suggestion(found, rule, index, followed)
            if rule.effect is Effect.DECIDES:
                break
        return found

    def site(self, frames: Sequence[FrameName]) -> int:
        """
        Return the index of the innermost frame that no rule names, else of the outermost; -1 if there is
        none.
        """
        for index in reversed(range(len(frames))):
            if self.rule_of(frames[index]) is None:
                return index
        return min(0, len(frames) - 1)

    def name(self, frames: Sequence[FrameName], index: int) -> str:
        """
        Return the name of what the frame at this index stands for.

        A private helper has the name of the innermost public function of its package around it: a reader
        knows ``asyncpg.connect``, not ``asyncpg.__connect_addr``.
        """
        package = _package(frames[index].module)
        for frame in reversed(frames[: index + 1]):
            rule = self.rule_of(frame)
            if rule is None or _package(frame.module) != package:
                break
            if rule.public:
                return rule.name
        return _bare(_name(frames[index])[0])


class Rules:
    """
    Decides states by the rules of fgtrace and those of the user, which never change.

    Example::

        rules = Rules([("myapp.throttle:", "pool wait")])
        rules.task([FrameName("myapp.throttle", "enter")], Waiter("future")).state  # "pool wait"

    Args:
        extra: the user's rules, (prefix, state) pairs. The prefix is the start of a ``module:qualname``; of
            several that fit a function the longest counts, and the user's among equals. A state that only
            tasks (or threads) can be in does not touch threads (or tasks).

    Raises:
        ConfigError: a prefix is empty, or a state does not exist.
    """

    __slots__ = ("_tasks", "_threads")

    def __init__(self, extra: Iterable[tuple[str, str]] = ()) -> None:
        users = tuple(_user_rule(prefix, state) for prefix, state in extra)
        self._tasks = _RuleTable((*TASK_RULES, *(r for r in users if r.state in TASK_STATES)))
        self._threads = _RuleTable((*THREAD_RULES, *(r for r in users if r.state in THREAD_STATES)))

    def task(self, frames: Sequence[FrameName], waiter: Waiter) -> Verdict:
        """
        Decide the state of a task.

        Args:
            frames: its await chain, root first.
            waiter: what it waits for.
        """
        by_kind = KIND_STATES[waiter.kind]
        if by_kind in UNBLOCKED:
            return Verdict(by_kind, "", -1)
        found = self._tasks.walk(frames, _Suggestion(), by_kind)
        site = self._tasks.site(frames)
        if found.state == NOTHING:
            return _verdict(by_kind, _waiter_name(waiter), site)
        return _verdict(found.state, self._tasks.name(frames, found.at), site)

    def thread(self, frames: Sequence[FrameName], callee: str, sample: ThreadSample) -> Verdict:
        """
        Decide the state of a thread.

        Args:
            frames: its stack, root first.
            callee: the text of the native call at the leaf, such as ``time.sleep``; ``""`` where the leaf is
                not at a call.
            sample: what its CPU clock did.
        """
        found = self._suggested(frames, callee, sample.cpu)
        if found.state in (NOTHING, RUNNING):
            at_call, elsewhere = UNEXPLAINED[sample.cpu]
            state = at_call if callee else elsewhere
            on = "" if callee in HANDED_OVER else callee
            return _verdict(state, on, self._threads.site(frames))
        on = _call_name(callee) if found.at < 0 else self._threads.name(frames, found.at)
        return _verdict(found.state, on, self._threads.site(frames))

    def _suggested(self, frames: Sequence[FrameName], callee: str, cpu: Cpu) -> _Suggestion:
        # A clock that ran all the time leaves no room for a wait, whatever the frames say. A clock that ran
        # for a part of it does, but only at a call: the bytecode of queue.Queue.get itself does not wait.
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
    Return the verdict of a state, without what a track waits for, and where, if the track waits for nothing.
    """
    if state in UNBLOCKED:
        return Verdict(state, "", -1)
    return Verdict(state, "" if state == GIL_WAIT else on, site)


def _next_suggestion(found: _Suggestion, rule: _FunctionRule, index: int, followed: str) -> _Suggestion:
    """
    Return the suggestion after one more frame, whose rule this is.
    """
    if rule.effect is Effect.REPLACES:
        replacement = rule.replacements.get(found.state)
        return found if replacement is None else _Suggestion(replacement, index)
    if rule.effect is Effect.PASSES:
        return found
    if found.held and rule.effect in (Effect.SUGGESTS, Effect.FOLLOWS):
        return found
    return _Suggestion(rule.state or followed, index, rule.effect is Effect.HOLDS)


def _call_rule(callee: str) -> CallRule | None:
    return _CALLS.get(callee) or _CALLS.get(f"*.{callee.rpartition('.')[2]}")


def _called(callee: str, cpu: Cpu) -> _Suggestion:
    """
    Return the suggestion that the native call alone makes.
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
    Return the name of what a function stands for, and whether the function is public.
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
    Split a qualname into class and function; a function nested in another counts as that one.
    """
    owner, _, function = qualname.partition(".<locals>")[0].rpartition(".")
    return owner, function


def _package(module: str) -> str:
    return module.partition(".")[0]


def _bare(name: str) -> str:
    """
    Return a private name without its underscores, where there is no better name.
    """
    head, dot, word = name.rpartition(".")
    return f"{head}{dot}{word.lstrip('_')}"


def _waiter_name(waiter: Waiter) -> str:
    return TYPE_NAMES.get(waiter.type) or KIND_NAMES.get(waiter.kind) or _type_name(waiter.type)


def _type_name(type_: str) -> str:
    """
    Return the name of a type by package and class; a C twin (``_asyncio``) has the package of its model.
    """
    package = _package(type_)
    if not package.startswith("__"):
        package = package.removeprefix("_")
    word = type_.rpartition(".")[2]
    return f"{package}.{word}" if "." in type_ else word
