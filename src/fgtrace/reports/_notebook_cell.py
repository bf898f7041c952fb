"""
Computes where the time of a notebook's cell went: slices in, a short table out.

The table counts the cell, and the threads and tasks that began after it. A cell is on its thread, or in a
suspended task; while the task runs, the thread shows the same frames and more. Time counts once, for the
innermost frame, waits included: two seconds in ``sleep``.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple
from urllib.parse import quote

from fgtrace._model.states import RUNNING
from fgtrace._model.values import Slice, Track

__all__ = ["Before", "CellTimes", "StateTime", "cell_times"]

#: The cell's own frame.
CELL = "__main__.<module>"
#: The greatest number of functions in the table, and the least share of the time that one must have: 1 in
#: 200.
MOST_FUNCTIONS, LEAST = 10, 200
#: The modules of the notebook itself: they run the cell, but their own work is not the cell's.
_MACHINERY = ("ipykernel.", "IPython.", "zmq.", "tornado.", "jupyter_client.", "prompt_toolkit.")
#: The function that runs a cell's line ``%fgtrace``, which starts the trace.
_BEGINS = "IPython.core.interactiveshell.InteractiveShell.run_line_magic"

#: State and function.
_StateKey = tuple[str, str]


class Before(NamedTuple):
    """
    The threads (by native id) and tasks (by name) that existed before the cell.
    """

    threads: frozenset[int] = frozenset()
    tasks: frozenset[str] = frozenset()

    def has(self, track: Track) -> bool:
        """
        Return whether a track's thread or task existed before the cell.
        """
        if track.kind == "thread":
            return track.tid in self.threads
        return bool({track.name, track.name.rpartition(" ")[0]} & self.tasks)


class StateTime(NamedTuple):
    """
    A state, or a function with its state, and its time (ns).
    """

    name: str
    state: str
    time: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CellTimes:
    """
    Where a cell's time went.

    Args:
        path: of the trace.
        link: the path relative to the notebook.
        length: of the trace, ns.
        tracks: how many tracks were counted.
        states: time by state, the longest first.
        functions: time by function and state, the longest first.
    """

    path: str
    link: str
    length: int
    tracks: int
    states: tuple[StateTime, ...]
    functions: tuple[StateTime, ...]

    def __str__(self) -> str:
        lines = [f"fgtrace: {self._said()}", ""]
        lines.extend(f"{_seconds(row.time)}{self._share(row):>6}  {row.name}" for row in self.states)
        if self.functions:
            lines.append("")
        lines.extend(
            f"{_seconds(row.time)}{self._share(row):>6}  {row.name}  ({row.state})" for row in self.functions
        )
        return "\n".join([*lines, "", f"{self.path}: open it at https://ui.perfetto.dev, or: fgtrace view"])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """
        Return the table as HTML, with a link to the trace.
        """
        rows = "".join(
            f"<tr><td>{_seconds(row.time)}<td>{self._share(row)}<td>{html.escape(row.name)}"
            f"<td>{html.escape(row.state)}"
            for row in (*self.states, *self.functions)
        )
        path, link = html.escape(self.path), quote(self.link)
        return (
            f"<p>fgtrace: {html.escape(self._said())}; the trace: <a href='{link}' download>{path}</a>, for "
            "<a href='https://ui.perfetto.dev' target='_blank'>ui.perfetto.dev</a></p>"
            f"<table><tr><th>time<th>share<th>state or function<th>its state{rows}</table>"
        )

    def _said(self) -> str:
        more = f", on {self.tracks} tracks" if self.tracks > 1 else ""
        return f"{_seconds(self.length).strip()} traced{more}"

    def _share(self, row: StateTime) -> str:
        whole = sum(each.time for each in self.states)
        return f"{100 * row.time / whole:.0f} %" if whole else ""


def _seconds(time: int) -> str:
    return f"{time / 1e9:7.3f} s"


def cell_times(slices: Iterable[Slice], before: Before, length: int, path: str, link: str) -> CellTimes:
    """
    Return where the time of a cell went.

    Args:
        slices: track by track; of each by start, the outer ones first.
        before: what existed before the cell.
        length: of the trace, ns.
        path: of the trace.
        link: the path relative to the notebook.
    """
    found = [_Times(track, rows) for track, rows in groupby(slices, key=lambda each: each.track)]
    cells = [each for each in found if each.cell]
    on_thread = any(each.track.kind == "thread" for each in cells)
    others = [each for each in found if each.is_of_program and not before.has(each.track)]
    times: Counter[_StateKey] = Counter()
    for each in cells:
        for key, time in each.cell.items():
            if each.track.kind == "thread" or key[0] != RUNNING or not on_thread:
                times[key] += time
    for each in others:
        times.update(each.all)
    states: Counter[str] = Counter()
    for (state, _), time in times.items():
        states[state] += time
    least = sum(states.values()) / LEAST
    functions = [StateTime(name, state, time) for (state, name), time in times.most_common() if name]
    return CellTimes(
        path=path, link=link, length=length, tracks=bool(cells) + len(others),
        states=tuple(StateTime(state, "", time) for state, time in states.most_common() if time >= least),
        functions=tuple(row for row in functions[:MOST_FUNCTIONS] if row.time >= least),
    )  # fmt: skip


class _Times:
    """
    The time of a track by state and innermost function; the function is ``""`` where there is none.

    Attributes:
        track: the track.
        all: (state, function) -> ns.
        cell: the same for the time in which the cell's own frame was on the track.
        is_of_program: whether it is a thread or task without frames of the notebook itself.
    """

    def __init__(self, track: Track, slices: Iterator[Slice]) -> None:
        self.track = track
        self.all: Counter[_StateKey] = Counter()
        self.cell: Counter[_StateKey] = Counter()
        self.is_of_program = track.kind in ("thread", "task")
        still_open: list[Slice] = []
        for each in slices:
            while still_open and still_open[-1].end <= each.start:
                still_open.pop()
            time = each.end - each.start
            self._add(still_open, -time)
            still_open.append(each)
            self._add(still_open, time)
            self.is_of_program = self.is_of_program and not each.frame.name.startswith(_MACHINERY)
        self.all, self.cell = +self.all, +self.cell

    def _add(self, stack: list[Slice], time: int) -> None:
        if not stack:
            return
        key = _key(stack)
        self.all[key] += time
        names = [each.frame.name for each in stack]
        if (
            names[-1] != _BEGINS
            and CELL in names
            and any(name.startswith(_MACHINERY) for name in names[: _last(names, CELL)])
        ):
            self.cell[key] += time


def _last(names: list[str], name: str) -> int:
    return len(names) - 1 - names[::-1].index(name)


def _key(stack: list[Slice]) -> _StateKey:
    state = stack[0].frame.name if stack[0].frame.category == "state" else "(no state)"
    frame = stack[-1].frame
    if frame.category == "state":
        return state, ""
    return state, "(the cell)" if frame.name == CELL else frame.name.removeprefix("__main__.")
