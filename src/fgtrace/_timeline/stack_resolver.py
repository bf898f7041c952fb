"""
Gives a stack its face: names, lines, the native call at its leaf, and the state.

Cold: it runs after the trace. Everything is made once for each (stack, detail) and kept, since
a trace shows the same few stacks over and over.

A path is a tuple of steps, outermost first. A step says what is drawn (the number of a `Frame`),
what makes it the same rectangle as before (``key``: the function; with ``lines`` also the line),
and from where it calls the next one (``at``: the source range of the instruction). The range and
not the offset, since one ``await`` is several instructions. When it differs, the callee that is
seen is another call, even where it is the same function.
"""

from __future__ import annotations

from types import CodeType
from typing import NamedTuple

from fgtrace._classify.decision import Rules, Verdict
from fgtrace._classify.native_call import CodeMap, Position
from fgtrace._model.values import Frame, FrameName, Waiter
from fgtrace._options.options import Options
from fgtrace._recording.recording import Recording

__all__ = ["DEEPEST", "DrawnFrame", "DrawnStack", "Resolver", "frame_name"]

#: Viewers nest 512 slices and show far fewer.
DEEPEST = 128

#: Paths and verdicts that are kept: a trace shows the same few again and again, a strange one many.
MOST_KEPT = 20_000

#: Modules whose frames, and all frames further out, are not the program's: they started it.
_LAUNCHERS = ("fgtrace.cli.",)
_PACKAGE = __name__.partition(".")[0]
_TESTING = _PACKAGE + ".testing"


class DrawnFrame(NamedTuple):
    """
    One frame of a path; see the module.
    """

    key: object
    at: Position | None
    number: int


DrawnStack = tuple[DrawnFrame, ...]
Located = tuple[int, int]  # index of the code, offset of the instruction


def frame_name(name: FrameName) -> str:
    """
    ``module.qualname``, as a slice is named.
    """
    return f"{name.module}.{name.qualname}" if name.module else name.qualname


class Resolver:
    """
    Makes the path of an observation.

    Args:
        recording: where the stacks are.
        options: ``state_frames``, ``include_self``, ``lines`` and ``rules`` matter.

    Attributes:
        frames: what is drawn, by number.
    """

    def __init__(self, recording: Recording, options: Options) -> None:
        self._recording = recording
        self._options = options
        self._rules = Rules(options.rules if isinstance(options.rules, tuple) else ())
        self._maps: dict[int, CodeMap] = {}
        self._steps: dict[Located, DrawnFrame] = {}
        self._paths: dict[tuple[str, int, int], DrawnStack] = {}
        self._verdicts: dict[tuple[str, tuple[int, ...], str, int], Verdict] = {}
        self._extra: dict[Frame, DrawnFrame] = {}
        self._own: set[int] = set()
        self._asked = 0
        self.frames: list[Frame] = []

    def path(self, kind: str, stack: int, detail: int) -> DrawnStack:
        """
        The path of a track of this kind with this stack and detail.
        """
        key = (kind, stack, detail)
        found = self._paths.get(key)
        if found is None:
            if len(self._paths) >= MOST_KEPT:
                self._paths.clear()
            found = self._paths[key] = self._make(kind, stack, detail)
        return found

    def _make(self, kind: str, stack: int, detail: int) -> DrawnStack:
        whole = self._recording.elements(stack)
        located = self.visible(whole)
        wait = self._recording.waiters[detail] if kind == "task" else Waiter("running")
        at_leaf = located[-1:] == whole[-1:]  # else it calls us, and that is left out
        callee = self._callee(located) if at_leaf and wait.kind == "running" else ""
        verdict = self._verdict(kind, tuple(code for code, _ in located), callee, detail)
        steps = self.steps(located)
        if callee:
            steps.append(self.shared_step(Frame(callee, "native")))
        return self.with_state(steps, self._state(verdict, located, wait))

    def steps(self, located: list[Located]) -> list[DrawnFrame]:
        """
        The steps of visible frames, the middle left out where they are too many.
        """
        return self._elided([self._step(each) for each in located])

    def _verdict(self, kind: str, codes: tuple[int, ...], callee: str, detail: int) -> Verdict:
        """
        The state: the same for all stacks of the same functions, wherever in them they are.
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
        Leave out the tracer's own frames, unless they are asked for.

        What started the program is left out with all that is further out, what the program
        called of us with all that is further in; a wrapper or a middleware only by itself.
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
        The functions that are the tracer's own.
        """
        codes = self._recording.codes
        for index in range(self._asked, len(codes)):
            if _is_own(codes[index].name):
                self._own.add(index)
        self._asked = len(codes)
        return self._own

    def _step(self, located: Located) -> DrawnFrame:
        found = self._steps.get(located)
        if found is None:
            code, offset = located
            entry = self._recording.codes[code]
            at = self._map(code, entry.code).position(offset) if entry.code is not None else None
            line = at.line if at is not None else entry.line
            frame = Frame(frame_name(entry.name), "python", entry.file, line)
            key = (code, line) if self._options.lines else code
            found = self._steps[located] = DrawnFrame(key, at, self._number(frame))
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

    def shared_step(self, frame: Frame) -> DrawnFrame:
        """
        A step that is the same whenever its frame is: a state, or a native call.
        """
        found = self._extra.get(frame)
        if found is None:
            found = self._extra[frame] = DrawnFrame(frame, None, self._number(frame))
        return found

    def _elided(self, steps: list[DrawnFrame]) -> list[DrawnFrame]:
        """
        Cut the middle out of a stack that is too deep to draw.
        """
        if len(steps) <= DEEPEST:
            return steps
        head = DEEPEST // 2
        tail = DEEPEST - head - 1
        frame = Frame(f"<{len(steps) - head - tail} frames elided>", "elided")
        return [*steps[:head], self.shared_step(frame), *steps[-tail:]]

    def _state(self, verdict: Verdict, located: list[Located], wait: Waiter) -> Frame:
        args: list[tuple[str, str | int]] = [("on", verdict.on)] if verdict.on else []
        if wait.task >= 0:
            args.append(("task", self._recording.tracks[wait.task].name))
        if verdict.site < 0 or verdict.site >= len(located):
            return Frame(verdict.state, "state", args=tuple(args))
        site = self.frames[self._step(located[verdict.site]).number]
        return Frame(verdict.state, "state", site.file, site.line, tuple(args))

    def with_state(self, steps: list[DrawnFrame], state: Frame) -> DrawnStack:
        """
        A path of steps and a state, which stands where the options say.
        """
        where = self._options.state_frames
        if where == "root":
            steps.insert(0, self.shared_step(state))
        elif where == "leaf":
            steps.append(self.shared_step(state))
        return tuple(steps)


def _is_own(name: FrameName) -> bool:
    module = name.module
    return (
        module.startswith(_PACKAGE)
        and (module == _PACKAGE or module.startswith(_PACKAGE + "."))
        and (not module.startswith(_TESTING))
    )
