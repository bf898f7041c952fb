"""
Reports as tables: coloured on a terminal, plain elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import IO, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from fgtrace.cli._formatting import in_chain, percent, place_words, time_words
from fgtrace.reports import Change, Diff, Group, Part, Path, Report, Step, Wait

__all__ = ["show_diff", "show_report"]

#: Columns where there is no terminal that has a width.
PIPED = 120
_QUIET = "dim"
#: Names are data: nothing in them is markup.
_PLAIN: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}


def show_report(report: Report, source: str, stream: IO[str]) -> None:
    """
    Print a report.

    Args:
        report: what to print.
        source: the trace's name.
        stream: where to.
    """
    with _console(stream) as console:
        _show_report(console, report, source)


def _show_report(console: Console, report: Report, source: str) -> None:
    tasks = f"{report.tasks} task{'' if report.tasks == 1 else 's'}"
    tick = f", a look each {time_words(report.tick_ns)}" if report.tick_ns else ""
    console.print(f"{source}: {time_words(report.duration_ns)}, {tasks}, awaits {report.awaits}{tick}")
    for cycle in report.cycles:
        names = " -> ".join((*cycle.tasks, cycle.tasks[0]))
        _title(console, f"Deadlock: {names}")
        _table(
            console, ("task", "waits for"), "",
            [(name, f"{place.state} {place_words(place)}")
             for name, place in zip(cycle.tasks, cycle.places, strict=True)],
        )  # fmt: skip
    for path in report.paths:
        _path(console, path)
    _groups(console, report)
    _blocked(console, report)
    _waits(console, report.waits)
    _loops(console, report)
    _threads(console, report)
    if report.stuck:
        _title(console, "Stuck: never moved")
        _table(
            console, ("task", "waits", "for"), "lrl",
            [(each.task, time_words(each.waited_ns), f"{each.place.state} {place_words(each.place)}")
             for each in report.stuck],
        )  # fmt: skip


def show_diff(diff: Diff, stream: IO[str]) -> None:
    """
    Print what two traces differ in.
    """
    least = f"{diff.threshold * 100:g} % and {time_words(diff.least_ns)}"
    with _console(stream) as console:
        console.print(f"Time of one task. A change counts from {least} on.")
        _changes(console, "By coroutine", diff.coroutines)
        _changes(console, "By state", diff.states)
        _changes(console, "By place", diff.sites)


@contextmanager
def _console(stream: IO[str]) -> Iterator[Console]:
    """
    Where to print: the stream itself where it is a terminal; else what is printed goes there as plain lines.
    """
    if stream.isatty():
        yield Console(file=stream, **_PLAIN)
        return
    said = os.environ.get("COLUMNS", "")
    found = StringIO()
    yield Console(file=found, width=int(said) if said.isdigit() and int(said) > 0 else PIPED, **_PLAIN)
    stream.writelines(f"{line.rstrip()}\n" for line in found.getvalue().splitlines())


def _title(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold"))


def _table(console: Console, names: Sequence[str], sides: str, rows: Iterable[Sequence[str | Text]]) -> None:
    """
    A table.

    Args:
        console: where to.
        names: of the columns; the last one may be folded, the others not.
        sides: ``l`` or ``r`` for each column.
        rows: of so many cells each.
    """
    table = Table(box=None, pad_edge=False, header_style=_QUIET)
    for place, name in enumerate(names):
        right = sides[place : place + 1] == "r"
        table.add_column(name, justify="right" if right else "left", no_wrap=right, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _groups(console: Console, report: Report) -> None:
    if not report.groups:
        return
    _title(console, f"Tasks by {report.group}")
    rows: list[Sequence[str | Text]] = []
    for group in report.groups:
        rows.append(_figures(group, Text(group.name, style="bold"), str(group.tasks), 0))
        rows += [_figures(part, Text(f"  {part.name}"), "", group.total_ns) for part in group.parts]
    _table(console, ("", "tasks", "total", "share", "p50", "p95", "max"), "lrrrrrr", rows)


def _figures(row: Group | Part, name: Text, tasks: str, whole: int) -> Sequence[str | Text]:
    each = row.each
    share = percent(row.total_ns, whole) if whole else ""
    times = (time_words(time) for time in (each.p50_ns, each.p95_ns, each.max_ns))
    return (name, tasks, time_words(row.total_ns), share, *times)


def _blocked(console: Console, report: Report) -> None:
    if not report.blocked:
        return
    _title(console, "What blocked a loop")
    _table(
        console, ("for", "at", "kept waiting", "who", "in"), "rrrll",
        [(time_words(each.duration_ns), f"{each.start_ns / 1e9:.3f} s", str(each.kept_waiting),
          f"{each.kind} {each.name}", in_chain(reversed(each.stack)))
         for each in report.blocked],
    )  # fmt: skip


def _waits(console: Console, waits: Sequence[Wait]) -> None:
    if not waits:
        return
    _title(console, "Where tasks wait")
    rows: list[Sequence[str | Text]] = []
    for wait in waits:
        each = wait.each
        times = (time_words(time) for time in (wait.total_ns, each.p50_ns, each.p95_ns, each.max_ns))
        total, *others = times
        rows.append((wait.place.state, total, str(wait.count), *others, place_words(wait.place)))
        for holder in wait.holders:
            held = f"held {time_words(holder.held_ns)} by {holder.task}, waited {time_words(holder.kept_ns)}"
            rows.append(("", "", "", "", "", "", Text(f"  {held}", style=_QUIET)))
    _table(console, ("", "total", "waits", "p50", "p95", "max", "where"), "lrrrrrl", rows)


def _loops(console: Console, report: Report) -> None:
    if not report.loops:
        return
    _title(console, "Loops")
    _table(
        console,
        ("", "busy", "", "idle", "steps", "late p99", "max", "longest step", "queue", "max"), "lrrrrrrrrr",
        [(each.name, time_words(each.busy_ns), percent(each.busy_ns, each.life_ns), time_words(each.idle_ns),
          str(each.steps), time_words(each.late_p99_ns), time_words(each.late_max_ns),
          time_words(each.longest_ns), _number(each.queue_mean), _number(each.queue_max))
         for each in report.loops],
    )  # fmt: skip


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _threads(console: Console, report: Report) -> None:
    if not report.threads:
        return
    _title(console, "Threads")
    _table(
        console, ("", "life", "running", "GIL wait", "blocked", "idle"), "lrrrrr",
        [(each.name, *map(time_words, (
            each.life_ns, each.running_ns, each.gil_ns, each.blocked_ns, each.idle_ns)))
         for each in report.threads],
    )  # fmt: skip


def _path(console: Console, path: Path) -> None:
    _title(console, f"Critical path of {path.task}")
    tree = Tree(Text(f"{time_words(path.life_ns)}  {path.task}"), guide_style=_QUIET)
    _grow(tree, path.parts, path.life_ns)
    console.print(tree)


def _grow(tree: Tree, steps: Sequence[Step], life: int) -> None:
    for step in steps:
        times = f" x {step.count}" if step.count > 1 else ""
        words = " ".join(filter(None, (step.place.state + times, place_words(step.place))))
        who = f"{step.task}: " if step.task else ""
        text = Text(f"{time_words(step.total_ns)} {percent(step.total_ns, life)}  {who}{words}")
        _grow(tree.add(text), step.parts, life)


def _changes(console: Console, title: str, changes: Sequence[Change]) -> None:
    if not changes:
        return
    _title(console, title)
    _table(
        console, ("before", "after", "change", "", "what"), "rrrrl",
        [(time_words(each.before_ns), time_words(each.after_ns), _change(each), _verdict(each),
          " ".join(filter(None, (each.coroutine, each.state, each.site))))
         for each in changes],
    )  # fmt: skip


def _change(change: Change) -> str:
    if not change.before_ns:
        return "new"
    return f"{100 * change.change_ns / change.before_ns:+.0f} %"


def _verdict(change: Change) -> Text:
    if change.is_slower:
        return Text("slower", style="red")
    return Text("faster", style="green") if change.is_faster else Text("")
