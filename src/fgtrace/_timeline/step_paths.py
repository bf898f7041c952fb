"""
The paths of tasks whose steps are known: woken by whom, and what a step runs between two stacks.

Of a step without samples two things are known: the stack before, and the stack with which it
suspended. The frames that both have in common (the same functions at the same depth) were there
all the time, so these are drawn.
"""

from __future__ import annotations

from fgtrace._model.states import RUNNABLE, RUNNING
from fgtrace._model.values import Frame, FrameName
from fgtrace._recording.recording import EMPTY, GONE, Recording
from fgtrace._timeline.stack_resolver import MOST_KEPT, DrawnFrame, DrawnStack, Located, Resolver, frame_name

__all__ = ["StepPaths"]

#: What calls a callback: with the C core nothing of the first is on the stack.
_CALLERS = {
    FrameName("asyncio.events", "Handle._run"),
    FrameName("asyncio.base_events", "BaseEventLoop._run_once"),
}
_RUNNING = Frame(RUNNING, "state")


class StepPaths:
    """
    Makes the paths, each once.

    Args:
        recording: where the stacks are.
        resolver: gives frames their face.
    """

    def __init__(self, recording: Recording, resolver: Resolver) -> None:
        self._recording = recording
        self._resolver = resolver
        self._kept: dict[tuple[str, int, int], DrawnStack] = {}
        self._woken: dict[tuple[str, str, int], DrawnStack] = {}

    def waiting(self, stack: int, detail: int, root: str) -> DrawnStack:
        """
        The path of a task that suspended so; ``root`` names its coroutine where nothing is known.
        """
        return self._resolver.path("task", stack, detail) if stack > EMPTY else self.runnable(stack, "", root)

    def runnable(self, stack: int, woken_by: str, root: str) -> DrawnStack:
        """
        The path of a task that was woken and waits for its turn; woken by ``""``: not known.
        """
        key = (woken_by, root if stack <= EMPTY else "", stack)
        found = self._woken.get(key)
        if found is None:
            if len(self._woken) >= MOST_KEPT:
                self._woken.clear()
            args = (("woken by", woken_by),) if woken_by else ()
            steps = self._resolver.steps(self._located(stack)) or self._own(root)
            state = Frame(RUNNABLE, "state", args=args)
            found = self._woken[key] = self._resolver.with_state(steps, state)
        return found

    def running(self, before: int, after: int, root: str) -> DrawnStack:
        """
        The path of a step between two stacks; `EMPTY` before its first, `GONE` after its last.
        """
        key = (root, before, after)
        found = self._kept.get(key)
        if found is None:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            found = self._kept[key] = self._between(before, after, root)
        return found

    def text(self, stack: int) -> str:
        """
        A stack in one line: ``main > handle > parse``.
        """
        located = self._located(stack)
        names = [self._recording.codes[code].name for code, _ in located]
        callers = [place for place, name in enumerate(names) if name in _CALLERS]
        inner = names[callers[-1] + 1 :] if callers else names  # what the loop is, everybody knows
        return " > ".join(frame_name(name) for name in inner)

    def _between(self, before: int, after: int, root: str) -> DrawnStack:
        old, new = self._located(before), self._located(after)
        if old and new:
            shared = 0
            for (first, _), (second, _) in zip(old, new, strict=False):
                if first != second:
                    break
                shared += 1
            located = old[:shared]
        else:
            located = (old or new)[:1]
        return self._resolver.with_state(self._resolver.steps(located) or self._own(root), _RUNNING)

    def _located(self, stack: int) -> list[Located]:
        if stack in (EMPTY, GONE):
            return []
        return self._resolver.visible(self._recording.elements(stack))

    def _own(self, root: str) -> list[DrawnFrame]:
        return [self._resolver.shared_step(Frame(root))] if root else []
