"""
Recordings written by hand, for tests of what is made of them.
"""

from __future__ import annotations

import dis
import re
from functools import cache
from types import CodeType
from typing import Any

from fgtrace._model.values import FrameName, ThreadSample, Waiter
from fgtrace._recording.recording import (
    EMPTY,
    GONE,
    OFFSET_BITS,
    CallbackEntry,
    LoopEntry,
    Recording,
    TrackEntry,
)
from fgtrace._recording.step_records import CALLBACK, NOBODY, SOON

__all__ = ["Script"]

#: A function, and the line from which it calls.
_FRAMES = re.compile(r"(\D)(\d?)")


class Script:
    """
    A recording whose functions are single letters: ``script.at(5, "worker", "abc")``.

    A digit behind a letter is the call by which it calls, each on a line of its own: ``"a1b"`` and ``"a2b"``.
    """

    def __init__(self, recording: Recording | None = None) -> None:
        self.recording = recording or Recording()
        self.recording.add_loop(LoopEntry("asyncio.Loop", "MainThread"))
        self.unknown = self.recording.intern_thread_sample(ThreadSample("some"))
        self.future = self.recording.intern_waiter(Waiter("future"))
        self.on_thread = self.recording.intern_waiter(Waiter("running"))
        self.tracks: dict[str, int] = {}

    def track(self, name: str, time: int, kind: str = "thread") -> int:
        """
        The id of a track, made at first use.
        """
        if name not in self.tracks:
            loop = 0 if kind == "task" else -1
            entry = TrackEntry(
                kind, name, time, loop=loop, tid=0 if kind == "task" else 100 + len(self.tracks)
            )
            self.tracks[name] = self.recording.add_track(entry)
        return self.tracks[name]

    def at(self, time: int, name: str, stack: str | None, kind: str = "thread") -> None:
        """
        From this time on, a track has this stack; None ends it.
        """
        track = self.track(name, time, kind)
        if stack is None:
            self.recording.tracks[track].end = time
            self.recording.observe(time, track, GONE, 0)
            return
        detail = self.future if kind == "task" else self.unknown
        self.recording.observe(time, track, self.stack(stack), detail)

    def exact(self) -> None:
        """
        From now on the loop's tasks are drawn from their steps.
        """
        self.recording.loops[0].exact = True

    def step(
        self,
        name: str,
        start: int,
        end: int,
        stack: str | None,
        *,
        ready: int = -1,
        waker: str | int = NOBODY,
    ) -> None:
        """
        A task made a step and suspended with this stack; None: it ended.
        """
        track = self.track(name, start if ready < 0 else ready, "task")
        by = self.tracks[waker] if isinstance(waker, str) else waker
        if stack is None:
            self.recording.tracks[track].end = end
        node = GONE if stack is None else self.stack(stack)
        self.recording.note_step(start, end, ready, track, by, node, self.future)

    def sample(self, time: int, name: str, stack: str) -> None:
        """
        A task was seen on a thread with this stack.
        """
        self.recording.observe(time, self.track(name, time, "task"), self.stack(stack), self.on_thread)

    def callback(self, name: str, start: int, end: int, source: int = SOON) -> None:
        """
        The loop ran a callback.
        """
        function = self.recording.add_callback(CallbackEntry(FrameName("m", name), "m.py", 7))
        self.recording.note_step(start, end, -1, CALLBACK, NOBODY, function, source)

    def stack(self, stack: str) -> int:
        """
        The node of a stack.
        """
        elements = [self._element(letter, int(line or 0)) for letter, line in _FRAMES.findall(stack)]
        return self.recording.intern_stack(elements[::-1]) if elements else EMPTY

    def _element(self, letter: str, line: int) -> int:
        """
        A function, and the instruction of its call at a line; line 0: of a function no code is known.
        """
        if not line:
            return self.recording.intern_name(FrameName("m", letter), "m.py") << OFFSET_BITS
        code = _code(letter)
        index = self.recording.code_ids.get(id(code))
        if index is None:
            index = self.recording.intern_code(code, "m")
        return index << OFFSET_BITS | _calls(letter)[line - 1]


@cache
def _code(letter: str) -> CodeType:
    """
    The code of a function that calls another one at each of nine lines.
    """
    source = f"def {letter}():\n" + "    call()\n" * 9
    space: dict[str, Any] = {}
    exec(compile(source, "m.py", "exec"), space)  # noqa: S102 - our own text
    code = space[letter].__code__
    assert isinstance(code, CodeType)
    return code


@cache
def _calls(letter: str) -> list[int]:
    """
    The offsets of its calls, in bytes.
    """
    return [each.offset for each in dis.get_instructions(_code(letter)) if each.opname == "CALL"]
