"""
Finds what a stack shows: the names and lines of its frames, the native call at its leaf, and its state.

All this is done after the trace, once for each (stack, detail), and kept: a trace shows the same few stacks
over and over.

A drawn stack is a tuple of drawn frames, outermost first. A drawn frame says what is shown (the number of a
`Frame`), what makes it the same rectangle as before (``key``: the function; with ``lines`` also the line),
and from where it calls the next frame (``at``: the source range of the instruction). It is the range and not
the offset, since one ``await`` is several instructions. When the range differs, the next frame is another
call, even if it is the same function.
"""

from __future__ import annotations

from types import CodeType
from typing import NamedTuple

from fgtrace._classify.decision import Rules, Verdict
from fgtrace._classify.native_call import CodeMap, Position
from fgtrace._model.values import Frame, FrameName, Waiter
from fgtrace._options.options import Options
from fgtrace._recording.recording import Recording

__all__ = ["DEEPEST", "DrawnFrame", "DrawnStack", "StackResolver", "frame_name"]

#: Viewers nest 512 slices and show far fewer.
DEEPEST = 128

#: Stacks and verdicts that are kept. Most traces show the same few over and over, odd ones very many.
MOST_KEPT = 20_000

#: Modules that start the program: their frames, and all frames further out, are not the program's.
_LAUNCHERS = ("fgtrace.cli.",)
_PACKAGE = __name__.partition(".")[0]
_TESTING = _PACKAGE + ".testing"


class DrawnFrame(NamedTuple):
    """
    A frame of a drawn stack; see the module.
    """

    key: object
    at: Position | None
    number: int


#: The frames that a track shows, outermost first.
DrawnStack = tuple[DrawnFrame, ...]
#: The index of a function's code, and the offset of an instruction.
Located = tuple[int, int]


def frame_name(name: FrameName) -> str:
    """
    Return the name of a slice of a function: ``module.qualname``.
    """
    return f"{name.module}.{name.qualname}" if name.module else name.qualname


class StackResolver:
    """
    Makes the drawn stack of an observation.

    Args:
        recording: has the stacks.
        options: ``state_frames``, ``include_self``, ``lines`` and ``rules`` matter.

    Attributes:
        frames: what drawn frames show, by their number.
    """

    def __init__(self, recording: Recording, options: Options) -> None:
        self._recording = recording
        self._options = options
        self._rules = Rules(options.rules if isinstance(options.rules, tuple) else ())
        self._maps: dict[int, CodeMap] = {}
        self._frames_at: dict[Located, DrawnFrame] = {}
        self._stacks: dict[tuple[str, int, int], DrawnStack] = {}
        self._verdicts: dict[tuple[str, tuple[int, ...], str, int], Verdict] = {}
        self._shared: dict[Frame, DrawnFrame] = {}
        self._own: set[int] = set()
        self._checked = 0
        self.frames: list[Frame] = []

    def drawn_stack(self, kind: str, stack: int, detail: int) -> DrawnStack:
        """
        Return what a track shows.

        Args:
            kind: of the track, ``"task"`` or ``"thread"``.
            stack: the index of its stack.
            detail: the index of its waiter (of a task) or of its thread sample.
        """
        key = (kind, stack, detail)
        found = self._stacks.get(key)
        if found is None:
            if len(self._stacks) >= MOST_KEPT:
                self._stacks.clear()
            found = self._stacks[key] = self._make(kind, stack, detail)
        return found

    def _make(self, kind: str, stack: int, detail: int) -> DrawnStack:
        whole = self._recording.elements(stack)
        located = self.visible(whole)
        waiter = self._recording.waiters[detail] if kind == "task" else Waiter("running")
        at_leaf = located[-1:] == whole[-1:]  # else the leaf is the tracer's own
        callee = self._callee(located) if at_leaf and waiter.kind == "running" else ""
        verdict = self._verdict(kind, tuple(code for code, _ in located), callee, detail)
        frames = self.drawn_frames(located)
        if callee:
            frames.append(self.shared_frame(Frame(callee, "native")))
        return self.with_state(frames, self._state(verdict, located, waiter))

    def drawn_frames(self, located: list[Located]) -> list[DrawnFrame]:
        """
        Return the drawn frames of visible frames, without the middle where they are too many.
        """
        return self._elided([self._drawn_frame(each) for each in located])

    def _verdict(self, kind: str, codes: tuple[int, ...], callee: str, detail: int) -> Verdict:
        """
        Return the verdict on a stack; stacks of the same functions have the same, at whatever lines they are.
        """
        key = (kind, codes, callee, detail)
        found = self._verdicts.get(key)
        if found is None:
            if len(self._verdicts) >= MOST_KEPT:
                self._verdicts.clear()
            names = [self._recording.codes[code].name for code in codes]
            if kind == "task":
                found = self._rules.task(names, self._recording.waiters[detail])
            else:
                found = self._rules.thread(names, callee, self._recording.thread_samples[detail])
            self._verdicts[key] = found
        return found

    def visible(self, located: list[Located]) -> list[Located]:
        """
        Return the frames of a stack without the tracer's own, unless the options ask for these.

        With a frame that started the program all frames further out are left out, and with a function of
        fgtrace that the program called all frames further in. Of a wrapper or a middleware only its own frame
        is.
        """
        if self._options.include_self or self._own_codes().isdisjoint([code for code, _ in located]):
            return located
        found: list[Located] = []
        for code, offset in located:
            entry = self._recording.codes[code]
            if code not in self._own:
                found.append((code, offset))
            elif entry.name.module.startswith(_LAUNCHERS):
                found.clear()
            elif not entry.wraps:
                break
        return found

    def _own_codes(self) -> set[int]:
        """
        Return the functions that are the tracer's own.
        """
        codes = self._recording.codes
        for index in range(self._checked, len(codes)):
            if _is_own(codes[index].name):
                self._own.add(index)
        self._checked = len(codes)
        return self._own

    def _drawn_frame(self, located: Located) -> DrawnFrame:
        found = self._frames_at.get(located)
        if found is None:
            code, offset = located
            entry = self._recording.codes[code]
            at = self._map(code, entry.code).position(offset) if entry.code is not None else None
            line = at.line if at is not None else entry.line
            frame = Frame(frame_name(entry.name), "python", entry.file, line)
            key = (code, line) if self._options.lines else code
            found = self._frames_at[located] = DrawnFrame(key, at, self._number(frame))
        return found

    def _number(self, frame: Frame) -> int:
        self.frames.append(frame)
        return len(self.frames) - 1

    def _map(self, index: int, code: CodeType) -> CodeMap:
        found = self._maps.get(index)
        if found is None:
            found = self._maps[index] = CodeMap(code)
        return found

    def _callee(self, located: list[Located]) -> str:
        if not located:
            return ""
        code, offset = located[-1]
        entry = self._recording.codes[code]
        return self._map(code, entry.code).callee(offset) if entry.code is not None else ""

    def shared_frame(self, frame: Frame) -> DrawnFrame:
        """
        Return the drawn frame of a state, a native call, or whatever else is the same wherever it is shown.
        """
        found = self._shared.get(frame)
        if found is None:
            found = self._shared[frame] = DrawnFrame(frame, None, self._number(frame))
        return found

    def _elided(self, frames: list[DrawnFrame]) -> list[DrawnFrame]:
        """
        Return the frames of a stack without the middle if it is too deep to draw.
        """
        if len(frames) <= DEEPEST:
            return frames
        head = DEEPEST // 2
        tail = DEEPEST - head - 1
        frame = Frame(f"<{len(frames) - head - tail} frames elided>", "elided")
        return [*frames[:head], self.shared_frame(frame), *frames[-tail:]]

    def _state(self, verdict: Verdict, located: list[Located], waiter: Waiter) -> Frame:
        args: list[tuple[str, str | int]] = [("on", verdict.on)] if verdict.on else []
        if waiter.task >= 0:
            args.append(("task", self._recording.tracks[waiter.task].name))
        if verdict.site < 0 or verdict.site >= len(located):
            return Frame(verdict.state, "state", args=tuple(args))
        site = self.frames[self._drawn_frame(located[verdict.site]).number]
        return Frame(verdict.state, "state", site.file, site.line, tuple(args))

    def with_state(self, frames: list[DrawnFrame], state: Frame) -> DrawnStack:
        """
        Return the drawn stack of frames and a state, which stands where the options say.
        """
        where = self._options.state_frames
        if where == "root":
            frames.insert(0, self.shared_frame(state))
        elif where == "leaf":
            frames.append(self.shared_frame(state))
        return tuple(frames)


def _is_own(name: FrameName) -> bool:
    module = name.module
    return (
        module.startswith(_PACKAGE)
        and (module == _PACKAGE or module.startswith(_PACKAGE + "."))
        and (not module.startswith(_TESTING))
    )
