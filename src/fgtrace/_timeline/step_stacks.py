"""
The stacks that a task with exact awaits shows while it waits, is runnable, or runs a step.

Of a step without samples two things are known: the stack before it, and the stack with which it suspended.
The frames that both have in common (the same functions at the same depth) were there all the time, so the
step shows these. Where one of the two is unknown, it shows the outermost frame of the other.
"""

from __future__ import annotations

from fgtrace._model.states import RUNNABLE, RUNNING
from fgtrace._model.values import Frame, FrameName
from fgtrace._recording.recording import EMPTY, GONE, Recording
from fgtrace._timeline.stack_resolver import (
    MOST_KEPT,
    DrawnFrame,
    DrawnStack,
    Located,
    StackResolver,
    frame_name,
)

__all__ = ["StepStacks"]

#: The functions that call a callback; with the C core the first is not on the stack.
_CALLERS = {
    FrameName("asyncio.events", "Handle._run"),
    FrameName("asyncio.base_events", "BaseEventLoop._run_once"),
}
_RUNNING = Frame(RUNNING, "state")


class StepStacks:
    """
    Makes the stacks that tasks show, each once.

    Args:
        recording: has the stacks.
        resolver: finds names and lines of their frames.
    """

    def __init__(self, recording: Recording, resolver: StackResolver) -> None:
        self._recording = recording
        self._resolver = resolver
        self._running_stacks: dict[tuple[str, int, int], DrawnStack] = {}
        self._runnable_stacks: dict[tuple[str, str, int], DrawnStack] = {}

    def waiting(self, stack: int, detail: int, root: str) -> DrawnStack:
        """
        Return what a suspended task shows.

        Args:
            stack: the stack with which it suspended.
            detail: the index of its waiter.
            root: the name of its coroutine.

        Returns:
            The stack with the state that its waiter means; where the stack is not known, the coroutine's name
            with the state ``runnable``.
        """
        if stack > EMPTY:
            return self._resolver.drawn_stack("task", stack, detail)
        return self.runnable(stack, "", root)

    def runnable(self, stack: int, woken_by: str, root: str) -> DrawnStack:
        """
        Return what a task shows that was woken and waits for its turn.

        Args:
            stack: the stack with which it suspended.
            woken_by: the name of its waker; ``""``: not known.
            root: the name of its coroutine.
        """
        key = (woken_by, root if stack <= EMPTY else "", stack)
        found = self._runnable_stacks.get(key)
        if found is None:
            if len(self._runnable_stacks) >= MOST_KEPT:
                self._runnable_stacks.clear()
            args = (("woken by", woken_by),) if woken_by else ()
            frames = self._resolver.drawn_frames(self._located(stack)) or self._root_alone(root)
            state = Frame(RUNNABLE, "state", args=args)
            found = self._runnable_stacks[key] = self._resolver.with_state(frames, state)
        return found

    def running(self, before: int, after: int, root: str) -> DrawnStack:
        """
        Return what a task shows while it runs a step.

        Args:
            before: the stack before the step; `EMPTY`: it is the first.
            after: the stack with which the step suspended; `GONE`: it was the last.
            root: the name of the task's coroutine.
        """
        key = (root, before, after)
        found = self._running_stacks.get(key)
        if found is None:
            if len(self._running_stacks) >= MOST_KEPT:
                self._running_stacks.clear()
            found = self._running_stacks[key] = self._between(before, after, root)
        return found

    def text(self, stack: int) -> str:
        """
        Return a stack as one line of text: ``main > handle > parse``.
        """
        located = self._located(stack)
        names = [self._recording.codes[code].name for code, _ in located]
        callers = [place for place, name in enumerate(names) if name in _CALLERS]
        inner = names[callers[-1] + 1 :] if callers else names  # the frames of the loop say nothing new
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
        return self._resolver.with_state(
            self._resolver.drawn_frames(located) or self._root_alone(root), _RUNNING
        )

    def _located(self, stack: int) -> list[Located]:
        if stack in (EMPTY, GONE):
            return []
        return self._resolver.visible(self._recording.elements(stack))

    def _root_alone(self, root: str) -> list[DrawnFrame]:
        return [self._resolver.shared_frame(Frame(root))] if root else []
