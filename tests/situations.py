"""
Situations in which a task or thread waits, and one trace of many of them at once.

A situation is a coroutine function that comes to a wait and stays there until it is cancelled.
The line of the wait is marked with a comment, ``# waits``. All situations of a corpus run side by
side in one loop under one trace; each is then checked by itself, on the track of its name.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable, Iterable
from fnmatch import fnmatchcase
from functools import cache
from itertools import dropwhile
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import pytest

import fgtrace
from reading import Row, Rows, Trace, read
from trace_processor import Engine, TraceProcessor

__all__ = [
    "HOLD",
    "UNBLOCKED",
    "Corpus",
    "Situation",
    "chains_in",
    "check",
    "end_by",
    "in_order",
    "longest",
    "read_file",
    "runner",
    "stay",
    "trace_all",
]

#: How long the situations stay as they are: some dozen ticks.
HOLD = 0.4
#: What a task does between its waits.
UNBLOCKED = {"running", "runnable"}

Work = Callable[..., Any]


class Situation(NamedTuple):
    """
    What a task does, and what its track must show.

    ``on``: patterns of what it waits on, parted by ``|`` where versions or loops differ.
    ``chain``: patterns of frames in their order, below the function itself; the last is the leaf,
    unless it is ``...``.
    """

    name: str
    work: Work
    state: str
    on: str
    chain: tuple[str, ...]
    loops: str

    @property
    def title(self) -> str:
        """
        The name of its track; a thread's has no function in it.
        """
        return f"{self.name} {self.work.__qualname__}" if self.loops else self.name


@cache
def marked_lines(work: Work) -> set[str]:
    """
    The line of a function that is marked as the one that waits.

    Where there is none, it waits in another function: all that are marked in its file.
    """
    lines, first = inspect.getsourcelines(work)
    return _marked(lines, first) or _marked(Path(inspect.getfile(work)).read_text().splitlines(), 1)


def _marked(lines: Iterable[str], first: int) -> set[str]:
    marks = ("# waits", f"# waits in {sys.version_info[0]}.{sys.version_info[1]}")
    return {str(number) for number, line in enumerate(lines, first) if line.endswith(marks)}


class Corpus(list[Situation]):
    """
    Situations, gathered by a decorator and looked up by name.
    """

    def __call__(
        self, state: str, on: str, *chain: str, loops: str = "asyncio uvloop"
    ) -> Callable[[Work], Work]:
        """
        Add the function below: it ends in this state, waiting on this, through these frames.

        ``loops``: the kinds of loop that can have it; none for a thread.
        """

        def add(work: Work) -> Work:
            name = work.__name__.replace("_", " ")
            self.append(Situation(name, work, state, on, chain, loops))
            return work

        return add

    def on(self, loop: str) -> list[Situation]:
        """
        Those that a kind of loop can have.
        """
        return [each for each in self if loop in each.loops.split()]

    def params(self, *loops: str) -> list[Any]:
        """
        (loop, situation) for ``pytest.mark.parametrize``; the ids are words.
        """
        return [
            pytest.param(loop, each, id=f"{loop} {each.name}".replace(" ", "-"))
            for loop in loops
            for each in self.on(loop)
        ]


_ends: WeakKeyDictionary[asyncio.Task[Any], Callable[[], object]] = WeakKeyDictionary()


def end_by(release: Callable[[], object]) -> None:
    """
    The situation of the task that calls this is to be ended so, and not cancelled.
    """
    _ends[asyncio.current_task()] = release  # type: ignore[index]


async def calm() -> None:
    """
    Wait until all have begun: until the loop takes its turns quickly.
    """
    loop = asyncio.get_running_loop()
    turns = 0
    while turns < 10:
        before = loop.time()
        await asyncio.sleep(0.005)
        turns = turns + 1 if loop.time() - before < 0.015 else 0


async def stay(rows: Iterable[Situation], seconds: float = HOLD) -> None:
    """
    Run situations side by side, wait, and end them.
    """
    tasks = [asyncio.create_task(each.work(), name=each.name) for each in rows]
    await calm()
    await asyncio.sleep(seconds)
    failed = [(task.get_name(), task.exception()) for task in tasks if task.done()]
    for task in tasks:
        _ends.get(task, task.cancel)()
    await asyncio.wait(tasks)
    assert not failed, f"these did not wait: {failed}"


def trace_all(
    path: Path, work: Callable[[], Awaitable[Any]], run: Callable[[Any], Any] = asyncio.run
) -> None:
    """
    Run a coroutine function under a trace that is written to ``path``.
    """
    with fgtrace.trace(path, hz=200, max_overhead=1.0):
        run(work())


def read_file(engine: Engine, path: Path) -> Trace:
    """
    Read a trace file, and assert that it is a valid one.
    """
    return read(lambda data: TraceProcessor(data, engine=engine), path)


def longest(track: Rows, lines: set[str]) -> Row:
    """
    The longest wait of a track at one of these lines.
    """
    waits = [row for row in track if row.category == "state" and row.args.get("line") in lines]
    shown = {
        (row.name, row.args.get("file"), row.args.get("line")) for row in track if row.category == "state"
    }
    assert waits, f"no wait at {lines}, only {shown}"
    return max(waits, key=lambda row: row.dur)


def in_order(chain: list[str], patterns: Iterable[str]) -> bool:
    """
    Whether frames that end in the patterns are in the chain, in this order.
    """
    frames = iter(chain)
    return all(any(fnmatchcase(f".{frame}", f"*.{pattern}") for frame in frames) for pattern in patterns)


def check(trace: Trace, each: Situation) -> None:
    """
    Assert that the track of a situation shows it: state, what it waits on, where, and how.
    """
    (track,) = trace.tracks[each.title]
    state = longest(track, marked_lines(each.work))
    chains = [chain if each.loops else below(each.work, chain) for chain in chains_in(track, state)]
    shown = f"{state.name} on {state.args.get('on', '')!r}: {chains}"
    assert state.name == each.state, shown
    assert any(fnmatchcase(state.args["on"], on) for on in each.on.split("|")), shown
    assert Path(state.args["file"]).name == Path(inspect.getfile(each.work)).name, shown
    assert any(is_whole(chain, (each.work.__qualname__, *each.chain)) for chain in chains), shown


def chains_in(track: Rows, state: Row) -> list[list[str]]:
    """
    The stacks that were seen during a state, outermost frame first.
    """
    times = sorted({row.ts for row in track if state.ts <= row.ts < state.end})
    frames = [row for row in track if row.category != "state"]
    return [[row.name for row in frames if row.ts <= time < row.end] for time in times]


def below(work: Work, chain: list[str]) -> list[str]:
    """
    A thread's stack without what started the thread.
    """
    return list(dropwhile(lambda name: not name.endswith("." + work.__qualname__), chain))


def is_whole(chain: list[str], patterns: tuple[str, ...]) -> bool:
    """
    Whether a chain begins with the first of the patterns, shows the others in turn, and ends
    with the last, unless that is ``...``.
    """
    asked = [pattern for pattern in patterns if pattern != "..."]
    whole = patterns[-1] == "..." or in_order(chain[-1:], asked[-1:])
    return whole and in_order(chain[:1], asked[:1]) and in_order(chain, asked)


def runner(loop: str) -> Callable[[Any], Any]:
    """
    What runs a coroutine in a loop of this kind.
    """
    if loop == "asyncio":
        return asyncio.run
    return pytest.importorskip("uvloop", reason="no wheel of uvloop for this Python").run  # type: ignore[no-any-return]
