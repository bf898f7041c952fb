"""
A captured trace on its way to another process: packed as plain values that `marshal` writes, and
unpacked there.

Values are packed while the program goes on, so each is small: writing one holds the interpreter for a
fraction of a millisecond. Functions go with their code objects, from which the other process reads lines and
calls. Both sides are the same interpreter and the same version, and no file of this kind outlives the
writing.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

from fgtrace._model.values import Collection, FrameName, Gap, Request, ThreadSample, Waiter
from fgtrace._options.options import Options
from fgtrace._output.captured_trace import CapturedTrace
from fgtrace._recording.recording import Recording
from fgtrace._recording.spill import in_blocks
from fgtrace._recording.table_entries import FORGOTTEN, CallbackEntry, CodeEntry, LoopEntry, TrackEntry
from fgtrace._recording.window import ClippedRecording

__all__ = ["pack_trace", "unpack_trace"]

#: How many entries of a table, or bytes of an array, make one value.
_ENTRIES, _BYTES = 100, 1 << 18
#: The columns of the table of stacks.
_COLUMNS = ("parents", "elements")
#: The attributes of a recording that are single numbers.
_NUMBERS = ("observations", "cut", "collections_dropped", "requests_dropped")
#: The options that drawing a file needs.
_OPTIONS = [each.name for each in fields(Options) if each.name not in ("dst", "labels")]


def pack_trace(captured: CapturedTrace) -> Iterator[tuple[str, Any]]:
    """
    Yield a captured trace as values, each with its name; the first has all but the recording's tables, rows
    and steps.
    """
    recording, options = captured.recording, captured.options
    chosen = {name: getattr(options, name) for name in _OPTIONS} | {"format": captured.format}
    clip = None
    if isinstance(recording, ClippedRecording):
        clip = (recording.cut_at, recording.until, recording.first, recording.open_steps)
    numbers = {name: getattr(recording, name) for name in _NUMBERS}
    yield "about", (chosen, captured.end, captured.pid, captured.about, numbers, clip)
    tables = recording.tables()  # first: a core recording fetches its functions now
    for name, (packed, _) in _TABLES.items():
        table = getattr(recording, name)
        for start in range(0, len(table), _ENTRIES):
            yield name, [packed(entry) for entry in table[start : start + _ENTRIES]]
    for name, column in (*zip(_COLUMNS, tables, strict=True), ("counters", recording.counters)):
        for block in in_blocks(column, _BYTES):
            yield name, (column.typecode, block)
    yield from (("rows", block) for block in recording.row_blocks())
    yield from (("steps", block) for block in recording.step_blocks())


def unpack_trace(values: Iterator[tuple[str, Any]]) -> CapturedTrace:
    """
    Return the captured trace of such values.
    """
    _, (chosen, end, pid, about, numbers, clip) = next(values)
    options = Options(**chosen)
    recording = Recording(options.max_memory) if clip is None else ClippedRecording(options.max_memory)
    for name, number in numbers.items():
        setattr(recording, name, number)
    if isinstance(recording, ClippedRecording):
        recording.cut_at, recording.until, recording.first, recording.open_steps = clip
    columns = dict(zip(_COLUMNS, recording.tables(), strict=True), counters=recording.counters)
    for name in _COLUMNS:
        del columns[name][:]
    for name, value in values:
        if name in columns:
            columns[name].extend(array(*value).tolist())
        elif name in _TABLES:
            make = _TABLES[name][1]
            getattr(recording, name).extend([make(entry) for entry in value])
        else:
            (recording.add_rows if name == "rows" else recording.add_steps)(value)
            recording.trim()
    return CapturedTrace(recording, options, end, pid, about)


def _plain(value: str | int) -> str | int:
    """
    Return a text or a number as the builtin type: a subclass of the program's stays with the program.
    """
    return str.__str__(value) if isinstance(value, str) else int(value)


def _pack_track(entry: TrackEntry) -> tuple[Any, ...] | None:
    if entry is FORGOTTEN:
        return None
    args = {name: _plain(value) for name, value in entry.args.items()}
    return (
        entry.kind, _plain(entry.name), entry.start, entry.loop, entry.tid,
        entry.root, entry.end, entry.parent, args,
    )  # fmt: skip


def _unpack_track(packed: tuple[Any, ...] | None) -> TrackEntry:
    if packed is None:
        return FORGOTTEN
    kind, name, start, loop, tid, *rest = packed
    entry = TrackEntry(kind, name, start, loop=loop, tid=tid)
    entry.root, entry.end, entry.parent, entry.args = rest
    return entry


def _pack_loop(entry: LoopEntry) -> tuple[Any, ...]:
    return entry.type, entry.thread, entry.exact, entry.start, entry.end


def _unpack_loop(packed: tuple[Any, ...]) -> LoopEntry:
    type_, thread, exact, start, end = packed
    entry = LoopEntry(type_, thread, exact=exact, start=start)
    entry.end = end
    return entry


def _pack_code(entry: CodeEntry) -> tuple[Any, ...]:
    return entry.code, tuple(entry.name), entry.file, entry.line, entry.wraps


def _pack_callback(entry: CallbackEntry) -> tuple[Any, ...]:
    return tuple(entry.name), entry.file, entry.line


#: Table -> how an entry is packed, and unpacked.
_TABLES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "codes": (_pack_code, lambda packed: CodeEntry(packed[0], FrameName(*packed[1]), *packed[2:])),
    "callbacks": (_pack_callback, lambda packed: CallbackEntry(FrameName(*packed[0]), *packed[1:])),
    "tracks": (_pack_track, _unpack_track),
    "loops": (_pack_loop, _unpack_loop),
    "waiters": (lambda waiter: (waiter.kind, waiter.type, waiter.task), lambda packed: Waiter(*packed)),
    "thread_samples": (lambda sample: sample.cpu, ThreadSample),
    "gaps": (tuple, Gap._make),
    "collections": (tuple, Collection._make),
    "requests": (tuple, Request._make),
    "holders": (tuple, tuple),
}
