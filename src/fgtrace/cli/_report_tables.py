"""
Prints reports as tables: coloured on a terminal, plain elsewhere.
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

from fgtrace.cli._formatting import format_chain, format_place, format_share, format_time
from fgtrace.reports import Change, Diff, Group, Part, Path, Report, Step, Wait

__all__ = ["show_diff", "show_report"]

#: The width of tables, in columns, outside of a terminal.
PIPED = 120
_QUIET = "dim"
#: Options of rich with which names are data, and never markup.
_PLAIN: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}


def show_report(report: Report, source: str, stream: IO[str]) -> None:
    """
    Print a report.

    Args:
        report: the report.
        source: the trace's name.
        stream: gets the tables.
    """
    with _console(stream) as console:
        _show_report(console, report, source)


def _show_report(console: Console, report: Report, source: str) -> None:
    tasks = f"{report.tasks} task{'' if report.tasks == 1 else 's'}"
    tick = f", a tick each {format_time(report.tick_ns)}" if report.tick_ns else ""
    console.print(f"{source}: {format_time(report.duration_ns)}, {tasks}, awaits {report.awaits}{tick}")
    for cycle in report.cycles:
        names = " -> ".join((*cycle.tasks, cycle.tasks[0]))
        _title(console, f"Deadlock: {names}")
        _table(
            console, ("task", "waits for"), "",
            [(name, f"{place.state} {format_place(place)}")
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
            [(each.task, format_time(each.waited_ns), f"{each.place.state} {format_place(each.place)}")
             for each in report.stuck],
        )  # fmt: skip


def show_diff(diff: Diff, stream: IO[str]) -> None:
    """
    Print the comparison of two traces.
    """
    least = f"{diff.threshold * 100:g} % and {format_time(diff.least_ns)}"
    with _console(stream) as console:
        console.print(f"Time of one task. A change counts from {least} on.")
        _changes(console, "By coroutine", diff.coroutines)
        _changes(console, "By state", diff.states)
        _changes(console, "By place", diff.sites)


@contextmanager
def _console(stream: IO[str]) -> Iterator[Console]:
    """
    Yield a console that prints to a terminal directly, and to another stream as plain lines.
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
    Print a table.

    Args:
        console: prints it.
        names: of the columns; long lines are folded in those that are aligned to the left.
        sides: ``l`` or ``r`` for each column.
        rows: one cell for each column.
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
    share = format_share(row.total_ns, whole) if whole else ""
    times = (format_time(time) for time in (each.p50_ns, each.p95_ns, each.max_ns))
    return (name, tasks, format_time(row.total_ns), share, *times)


def _blocked(console: Console, report: Report) -> None:
    if not report.blocked:
        return
    _title(console, "What blocked a loop")
    _table(
        console, ("for", "at", "kept waiting", "who", "in"), "rrrll",
        [(format_time(each.duration_ns), f"{each.start_ns / 1e9:.3f} s", str(each.kept_waiting),
          f"{each.kind} {each.name}", format_chain(reversed(each.stack)))
         for each in report.blocked],
    )  # fmt: skip


def _waits(console: Console, waits: Sequence[Wait]) -> None:
    if not waits:
        return
    _title(console, "Where tasks wait")
    rows: list[Sequence[str | Text]] = []
    for wait in waits:
        each = wait.each
        times = (format_time(time) for time in (wait.total_ns, each.p50_ns, each.p95_ns, each.max_ns))
        total, *others = times
        rows.append((wait.place.state, total, str(wait.count), *others, format_place(wait.place)))
        for holder in wait.holders:
            held = (
                f"held {format_time(holder.held_ns)} by {holder.task}, waited {format_time(holder.kept_ns)}"
            )
            rows.append(("", "", "", "", "", "", Text(f"  {held}", style=_QUIET)))
    _table(console, ("", "total", "waits", "p50", "p95", "max", "where"), "lrrrrrl", rows)


def _loops(console: Console, report: Report) -> None:
    if not report.loops:
        return
    _title(console, "Loops")
    _table(
        console,
        ("", "busy", "", "idle", "steps", "late p99", "max", "longest step", "queue", "max"), "lrrrrrrrrr",
        [(each.name, format_time(each.busy_ns), format_share(each.busy_ns, each.life_ns),
          format_time(each.idle_ns), str(each.steps), format_time(each.late_p99_ns),
          format_time(each.late_max_ns), format_time(each.longest_ns), _number(each.queue_mean),
          _number(each.queue_max))
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
        [(each.name, *map(format_time, (
            each.life_ns, each.running_ns, each.gil_ns, each.blocked_ns, each.idle_ns)))
         for each in report.threads],
    )  # fmt: skip


def _path(console: Console, path: Path) -> None:
    _title(console, f"Critical path of {path.task}")
    tree = Tree(Text(f"{format_time(path.life_ns)}  {path.task}"), guide_style=_QUIET)
    _grow(tree, path.parts, path.life_ns)
    console.print(tree)


def _grow(tree: Tree, steps: Sequence[Step], life: int) -> None:
    for step in steps:
        times = f" x {step.count}" if step.count > 1 else ""
        label = " ".join(filter(None, (step.place.state + times, format_place(step.place))))
        who = f"{step.task}: " if step.task else ""
        text = Text(f"{format_time(step.total_ns)} {format_share(step.total_ns, life)}  {who}{label}")
        _grow(tree.add(text), step.parts, life)


def _changes(console: Console, title: str, changes: Sequence[Change]) -> None:
    if not changes:
        return
    _title(console, title)
    _table(
        console, ("before", "after", "change", "", "what"), "rrrrl",
        [(format_time(each.before_ns), format_time(each.after_ns), _change(each), _verdict(each),
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
