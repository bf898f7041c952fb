"""
A recording whose rows and tables the C core has while the program runs; they are fetched between ticks and
afterwards.

The core numbers functions, stacks, tracks and waiters. What Python adds meanwhile (see
`fgtrace._sampling.core_answers`) asks the core for its numbers, so that both fit. `drain` fetches rows and
notes, `fetch_tables` the tables; then it is a recording like any other.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from types import CodeType
from typing import Any, Literal, TypeVar

from fgtrace._model.values import Collection, FrameName, Gap, Waiter, WaiterKind
from fgtrace._recording.recording import (
    FORGOTTEN,
    GONE,
    ROW_BYTES,
    CallbackEntry,
    CodeEntry,
    LoopEntry,
    Recording,
    TrackEntry,
)

__all__ = ["WAITER_KINDS", "CoreRecording"]

#: The kinds of waiters by the C core's numbers.
WAITER_KINDS: tuple[WaiterKind, ...] = ("running", "runnable", "task", "thread", "io", "future")

#: The kinds of notes, likewise.
(
    NOTE_THREAD, NOTE_TASK, NOTE_NAME, NOTE_END, NOTE_PARENT, NOTE_LOOP,
    NOTE_LOOP_THREAD, NOTE_WAITER, NOTE_GAP, NOTE_EXACT, NOTE_CALLBACK,
) = range(11)  # fmt: skip
#: The kinds of gaps, likewise.
GAPS: tuple[Literal["late", "skipped"], ...] = ("late", "skipped")

T = TypeVar("T")
_Note = tuple[int, int, int, int, int, Any, Any]


class CoreRecording(Recording):
    """
    Hold the observations of one trace that a C core makes.

    Args:
        core: the core, a `Core` of `fgtrace._core`.
        max_memory: bytes, see `Recording`.
    """

    def __init__(self, core: Any, max_memory: int) -> None:
        super().__init__(max_memory)
        self.core = core
        self._lock = threading.RLock()  # several threads of ours may fetch, and the order of rows matters
        self._parents_to_note: list[tuple[int, int]] = []
        self._labels: list[tuple[int, dict[str, str | int]]] = []
        self._roots: dict[int, str] = {}
        self._stubs: dict[int, CodeEntry] = {}
        self._stub_ids: dict[FrameName, int] = {}
        self._named: set[int] = set()
        self._callbacks: list[tuple[int, str]] = []
        self.waiters += [Waiter("running"), Waiter("runnable")]
        self._waiter_ids.update({waiter: place for place, waiter in enumerate(self.waiters)})
        self._note_handlers: dict[int, Callable[[_Note], None]] = {
            NOTE_THREAD: self._thread,
            NOTE_TASK: self._task,
            NOTE_NAME: self._name,
            NOTE_END: self._end,
            NOTE_PARENT: self._parent,
            NOTE_LOOP: self._loop,
            NOTE_LOOP_THREAD: self._place,
            NOTE_WAITER: self._wait,
            NOTE_GAP: self._gap,
            NOTE_EXACT: self._exact,
            NOTE_CALLBACK: self._callback,
        }

    # what Python adds while the program runs

    def observe(self, time: int, track: int, stack: int, detail: int) -> None:
        noted = self.core.observe(time, track, stack, detail)  # later, where the core has ticked meanwhile
        if stack == GONE:
            self.tracks[track].end = noted

    def intern_code(self, code: CodeType, module: object) -> int:
        index: int = self.core.intern_code(code, module if type(module) is str else "")
        self._code_ids[id(code)] = index  # the core keeps the code
        return index

    def intern_name(self, name: FrameName, file: str) -> int:
        """
        Return the index of a function that has no code object. The core knows code objects only, so it is
        given an empty one that stands for the function.
        """
        if name not in self._stub_ids:
            stub = compile("", file or "<compiled>", "exec").replace(co_name=name.qualname or "?")
            self._stub_ids[name] = self.core.intern_code(stub, name.module)
            self._stubs[id(stub)] = CodeEntry(None, name, file, 0)
        return self._stub_ids[name]

    def intern_stack(self, elements: list[int]) -> int:
        found: int = self.core.intern_stack(elements)
        return found

    def intern_waiter(self, waiter: Waiter) -> int:
        found = self._waiter_ids.get(waiter)
        if found is None:
            found = self._waiter_ids[waiter] = self.core.add_waiter()
            _put(self.waiters, found, waiter, Waiter("future"))
        return found

    def add_track(self, entry: TrackEntry) -> int:
        found: int = self.core.add_track()
        self._put_track(found, entry)
        return found

    def note_parent(self, parent: int, child: int) -> None:
        """
        Make a track the child of another one, later: the core may have tracks that were not fetched yet.
        """
        self._parents_to_note.append((parent, child))

    def note_labels(self, track: int, labels: dict[str, str | int]) -> None:
        """
        Add arguments to a track, later: it may not be fetched yet.
        """
        self._labels.append((track, labels))

    def note_root(self, track: int, name: str) -> None:
        """
        Set the name of a task's coroutine where the core could not read it, later: the track may not be
        fetched yet.
        """
        self._roots[track] = name

    # between ticks

    def drain_rows(self) -> None:
        """
        Fetch the observations and the lengths of ready queues. Notes of tracks take less memory in the core,
        and stay there.
        """
        with self._lock:
            rows = self.core.drain_rows()
            self.observations += len(rows) // ROW_BYTES
            self.add_rows(rows)
            self.counters.frombytes(self.core.drain_counters())

    def drain(self) -> None:
        """
        Fetch all rows and notes that the core has.
        """
        with self._lock:
            self.drain_rows()
            while notes := self.core.drain_notes():  # some at a time, since other threads wait for the GIL
                for note in notes:
                    self._note_handlers[note[0]](note)

    def fetch(self) -> None:
        """
        Fetch rows, notes, steps and runs of the garbage collector, and bring the tracks up to date.
        """
        with self._lock:
            self.add_steps(self.core.drain_steps())
            self.drain()  # after the steps: what they refer to was noted before them
            self._settle_tracks()

    def forget(self, tracks: Iterable[int]) -> None:
        gone = list(tracks)
        super().forget(gone)
        self._named.difference_update(gone)

    @property
    def held(self) -> int:
        found: int = self.core.stats()["held"]
        return found + self._numbered_bytes()

    def tables(self) -> tuple[array[int], array[int]]:
        with self._lock:
            for code, module in self.core.codes_since(len(self.codes)):
                self.codes.append(self._stubs.get(id(code)) or CodeEntry.of(code, module))
            entries = self._callbacks[len(self.callbacks) :]
            self.callbacks += [self._callback_entry(code, name) for code, name in entries]
            self.cut = self.core.stats()["cut"]
            parents, elements = self.core.nodes_since(0)
            return array("I", parents), array("Q", elements)

    # cold: after the trace, or of a snapshot

    def fetch_tables(self) -> None:
        """
        Fetch the tables, and bring the tracks up to date: the trace is over, or is read from a snapshot.
        """
        self._settle_tracks()
        self._parents, self._elements = self.tables()

    def _settle_tracks(self) -> None:
        noted, self.collections_dropped = self.core.drain_collections()
        values = iter(array("q", noted))
        self.collections += [Collection(*each) for each in zip(*[values] * 5, strict=True)]
        known = len(self.tracks)  # notes of later tracks were not fetched yet
        pairs, self._parents_to_note = self._parents_to_note, []
        for parent, child in pairs:
            if max(parent, child) < known:
                super().note_parent(parent, child)
            else:
                self.note_parent(parent, child)
        roots, self._roots = self._roots, {}
        for track, name in roots.items():
            if track >= known:
                self._roots[track] = name
            elif not self.tracks[track].root:
                self.tracks[track].root = name
        labels, self._labels = self._labels, []
        for track, found in labels:
            if track >= known:
                self._labels.append((track, found))
            else:
                self.tracks[track].args.update(found)

    # notes: kind, track, time, number, ticks, name, root

    def _put_track(self, track: int, entry: TrackEntry) -> None:
        _put(self.tracks, track, entry, TrackEntry("task", "", 0))

    def _thread(self, note: _Note) -> None:
        _, track, time, native, *_ = note
        self._put_track(track, TrackEntry("thread", f"thread {native}", time, tid=native))

    def _task(self, note: _Note) -> None:
        _, track, time, number, _, name, root = note
        self._named.add(track)
        default, loop = number >> 16, number & 0xFFFF
        entry = TrackEntry("task", name or (f"Task-{default}" if default else ""), time, loop=loop)
        entry.root = root or ""
        self._put_track(track, entry)

    def _name(self, note: _Note) -> None:
        entry, name = self.tracks[note[1]], note[5]
        if name == entry.name or entry is FORGOTTEN:
            return
        if note[1] not in self._named or note[3]:
            self._named.add(note[1])
        elif entry.kind == "thread":
            entry.args["former name"] = entry.name
        else:
            entry.args.setdefault("former name", entry.name)
        entry.name = name

    def _end(self, note: _Note) -> None:
        self.tracks[note[1]].end = note[2]

    def _parent(self, note: _Note) -> None:
        self.note_parent(note[3], note[1])

    def _loop(self, note: _Note) -> None:
        _put(self.loops, note[1], LoopEntry(note[5] or ""), LoopEntry(""))

    def _place(self, note: _Note) -> None:
        self.loops[note[1]].thread = note[5]

    def _wait(self, note: _Note) -> None:
        _, place, task, kind, _, name, _ = note
        _put(self.waiters, place, Waiter(WAITER_KINDS[kind], name or "", task), Waiter("future"))

    def _gap(self, note: _Note) -> None:
        _, kind, start, end, ticks, *_ = note
        self.gaps.append(Gap(start, end, GAPS[kind], ticks))

    def _exact(self, note: _Note) -> None:
        loop = self.loops[note[1]]
        loop.exact = True
        if note[3]:
            loop.end = note[2]
        else:
            loop.start = note[2]

    def _callback(self, note: _Note) -> None:
        _put(self._callbacks, note[1], (note[3], note[5] or ""), (-1, ""))

    def _callback_entry(self, code: int, name: str) -> CallbackEntry:
        if code < 0:
            return CallbackEntry(FrameName("", name), "", 0)
        entry = self.codes[code]
        return CallbackEntry(entry.name, entry.file, entry.line)

    # steps stay in the core, and in its temporary file

    @property
    def stepped(self) -> int:
        found: int = self.core.steps_stats()[0]
        return found

    def step_blocks(self) -> Iterator[bytes]:
        for number in count():
            if (block := self.core.steps_block(number)) is None:
                return
            yield block


def _put(items: list[T], place: int, item: T, empty: T) -> None:
    """
    Put an item at its index. The core and Python both give out numbers, so an item may come before one with a
    lower number: an empty one stands there until then.
    """
    while len(items) <= place:
        items.append(empty)
    items[place] = item
