"""
The recording of one trace: rows that collectors append, and the tables that give the rows meaning.

The rules of this module
- Hot code fills it, under the GIL, in one thread: a tick compares and appends integers.
- Strong references are kept to code objects only. A task, a future, a loop or a frame that the recording kept
  alive would change the program.
- Code objects are told apart by identity: two may be equal and yet be different functions, and hashing one
  costs a microsecond. The table goes by ``id()``, which is safe because it keeps the object.
- Memory is bounded. Rows and steps, which grow with time, go to temporary files when they exceed their half
  of ``max_memory``. The tables grow with the number of different stacks; when they exceed the other half, a
  new stack is cut to the longest part that is known, and the cut is counted.

Theory of operation: a stack is a node of a tree. A node is (parent node, element), and an element is ``code
index << 24 | instruction offset``. So equal stacks are one integer, and stacks that share their outer frames
share nodes. A row is four integers: time, track, stack and detail. The meaning of ``detail`` depends on the
track: for a task it is the index of a `Waiter`, for a thread that of a `ThreadSample`. Two stacks are
special: `GONE` ends a track, and `EMPTY` has no frames. A step of a task, where awaits are exact, is five
integers: see `fgtrace._recording.step_records`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from copy import copy
from types import CodeType
from typing import Self

from fgtrace._model.values import Collection, FrameName, Gap, Observation, RequestRow, ThreadSample, Waiter
from fgtrace._recording.spill import Spill, in_blocks
from fgtrace._recording.step_records import STEP_BYTES, StepRecord, pack_step, unpack_steps
from fgtrace._recording.table_entries import FORGOTTEN, CallbackEntry, CodeEntry, LoopEntry, TrackEntry

__all__ = [
    "EMPTY",
    "FORGOTTEN",
    "GONE",
    "OFFSET_BITS",
    "ROW_BYTES",
    "CallbackEntry",
    "CodeEntry",
    "LoopEntry",
    "Recording",
    "TrackEntry",
]

OFFSET_BITS = 24
_NODE_SHIFT = 48
EMPTY = 0
GONE = -1
#: Measured bytes of a node: its dict entry, its key, and eight bytes in each of two arrays.
_NODE_BYTES = 150
_CODE_BYTES = 700
TRACK_BYTES = 400
#: Bytes of a waiter, with the two dictionaries that know it; of a loop.
_WAITER_BYTES, _LOOP_BYTES = 500, 300
ROW_BYTES = 32
_ROWS_BYTES = 1024 * ROW_BYTES
_STEPS_BYTES = 8192 * STEP_BYTES
#: Runs of the garbage collector, and requests, that are kept; later ones are only counted.
MOST_COLLECTIONS = 100_000
MOST_REQUESTS = 100_000


class Recording:
    """
    Hold the observations of one trace with their tables.

    Methods that begin with ``intern`` return the index of an equal entry and add one only if there is none;
    those with ``add`` always add one; those with ``note`` and `observe` append a fact.

    Args:
        max_memory: bytes, half of them for rows and steps, half for tables; see the module's rules.

    Attributes:
        codes, callbacks, tracks, loops, waiters, thread_samples: the tables; an index is a place in them.
        rows: observations in memory, four numbers each. steps: five numbers each. counters: time, loop and
            the length of its ready queue, three numbers each.
        gaps, collections, requests: as `fgtrace._model.values` has them.
        holders: at the end of the trace, pairs of a task's name and the name of the task that holds its lock.
        observations: how many were noted. cut: how many stacks were cut. collections_dropped,
            requests_dropped: how many were too many to keep.
        spills: whether `trim` moves anything; False where rows are drained instead (see
            `fgtrace._recording.ring`).
        forgotten: how many tracks were forgotten.
    """

    def __init__(self, max_memory: int = 256 * 1024 * 1024) -> None:
        self.codes: list[CodeEntry] = []
        self.tracks: list[TrackEntry] = []
        self.loops: list[LoopEntry] = []
        self.waiters: list[Waiter] = []
        self.thread_samples: list[ThreadSample] = []
        self.gaps: list[Gap] = []
        self.counters: array[int] = array("q")
        self.rows: array[int] = array("q")
        self.steps: array[int] = array("q")
        self.callbacks: list[CallbackEntry] = []
        self.collections: list[Collection] = []
        self.collections_dropped = 0
        self.holders: list[tuple[str, str]] = []
        self.requests: list[RequestRow] = []
        self.requests_dropped = 0
        self.observations = 0
        self.cut = 0
        self.spills = True
        self.forgotten = 0
        self._parents: array[int] = array("q", [-1])
        self._elements: array[int] = array("q", [0])
        self._nodes: dict[int, int] = {}
        self._code_ids: dict[object, int] = {}
        self._waiter_ids: dict[Waiter, int] = {}
        self._thread_sample_ids: dict[ThreadSample, int] = {}
        self._spilled_rows = Spill()
        self._spilled_steps = Spill()
        self._half = max_memory // 2
        self._table_bytes = 0

    # hot: these are called while the program runs

    def observe(self, time: int, track: int, stack: int, detail: int) -> None:
        """
        Append an observation: from ``time`` (ns) on, a track has this stack and this detail.
        """
        self.rows.extend((time, track, stack, detail))
        self.observations += 1

    def note_step(  # noqa: PLR0913, PLR0917 - keywords would cost more
        self, start: int, end: int, ready: int, track: int, waker: int, stack: int, detail: int
    ) -> None:
        """
        Append a step of a task or a callback that has just ended: see `fgtrace._recording.step_records`.
        """
        self.steps.extend(pack_step(start, end, ready, track, waker, stack, detail))

    def note_collection(self, collection: Collection) -> None:
        """
        Append a run of the garbage collector, unless there are too many.
        """
        if len(self.collections) < MOST_COLLECTIONS:
            self.collections.append(collection)
        else:
            self.collections_dropped += 1

    def note_request(self, request: RequestRow) -> None:
        """
        Append a request that was handled, unless there are too many.
        """
        if len(self.requests) < MOST_REQUESTS:
            self.requests.append(request)
        else:
            self.requests_dropped += 1

    def note_ready_queue(self, time: int, loop: int, length: int) -> None:
        """
        Append the length of a loop's ready queue from ``time`` (ns) on.
        """
        self.counters.extend((time, loop, length))

    def intern_code(self, code: CodeType, module: object) -> int:
        """
        Return the index of a code object that `code_ids` does not have, adding it. Hot code reads `code_ids`
        first, without a call.

        Args:
            code: the code object.
            module: ``__name__`` in the function's globals.
        """
        return self._add_code(id(code), CodeEntry.of(code, module))

    def intern_name(self, name: FrameName, file: str) -> int:
        """
        Return the index of a function that has no code object, such as Cython's, adding it if new.
        """
        found = self._code_ids.get(name)
        return self._add_code(name, CodeEntry(None, name, file, 0)) if found is None else found

    @property
    def code_ids(self) -> dict[object, int]:
        """
        The indices of code objects by their ``id()``; also those of `FrameName` for functions without one.
        """
        return self._code_ids

    def intern_stack(self, elements: list[int]) -> int:
        """
        Return the node of a stack, adding what is new of it.

        Args:
            elements: its frames, leaf first; see the module for an element.
        """
        node = EMPTY
        nodes = self._nodes
        for element in reversed(elements):
            key = node << _NODE_SHIFT | element
            found = nodes.get(key)
            if found is None:
                found = self._add_node(key, node, element)
                if found < 0:
                    return node
            node = found
        return node

    def intern_waiter(self, waiter: Waiter) -> int:
        """
        Return the index of a waiter, adding it if new.
        """
        found = self._waiter_ids.get(waiter)
        if found is None:
            found = self._waiter_ids[waiter] = len(self.waiters)
            self.waiters.append(waiter)
        return found

    def intern_thread_sample(self, sample: ThreadSample) -> int:
        """
        Return the index of what was sampled of a thread besides its stack, adding it if new.
        """
        found = self._thread_sample_ids.get(sample)
        if found is None:
            found = self._thread_sample_ids[sample] = len(self.thread_samples)
            self.thread_samples.append(sample)
        return found

    def add_track(self, entry: TrackEntry) -> int:
        """
        Add a track, and return its id.
        """
        self.tracks.append(entry)
        self._table_bytes += TRACK_BYTES
        return len(self.tracks) - 1

    def note_parent(self, parent: int, child: int) -> None:
        """
        Make a track the child of another one, unless it has a parent, is older than that one, or is its
        ancestor.
        """
        tracks = self.tracks
        if tracks[parent] is FORGOTTEN or tracks[child] is FORGOTTEN:
            return
        if tracks[child].parent >= 0 or tracks[parent].start > tracks[child].start:
            return
        at = parent
        while at >= 0 and at != child:
            at = tracks[at].parent
        if at != child:
            tracks[child].parent = parent

    def add_callback(self, entry: CallbackEntry) -> int:
        """
        Add a function that loops call back, and return its index.
        """
        self.callbacks.append(entry)
        self._table_bytes += TRACK_BYTES
        return len(self.callbacks) - 1

    def add_loop(self, entry: LoopEntry) -> int:
        """
        Add an event loop, and return its index.
        """
        self.loops.append(entry)
        return len(self.loops) - 1

    def _add_code(self, key: object, entry: CodeEntry) -> int:
        index = self._code_ids[key] = len(self.codes)
        self.codes.append(entry)
        self._table_bytes += _CODE_BYTES
        return index

    def _add_node(self, key: int, parent: int, element: int) -> int:
        if self._table_bytes > self._half:
            self.cut += 1
            return -1
        self._table_bytes += _NODE_BYTES
        node = self._nodes[key] = len(self._parents)
        self._parents.append(parent)
        self._elements.append(element)
        return node

    # between ticks

    def add_rows(self, rows: bytes) -> None:
        """
        Append observations from elsewhere, four numbers of 64 bits each; they are later than all that are
        here.
        """
        self.rows.frombytes(rows)

    def add_steps(self, steps: bytes) -> None:
        """
        Append steps from elsewhere, `STEP_BYTES` each; they ended later than all that are here.
        """
        self.steps.frombytes(steps)

    def trim(self) -> None:
        """
        Move rows and steps to temporary files if they exceed their share of the memory.

        Raises:
            OSError: there is no room in the files; rows and steps stay in memory.
        """
        if not self.spills or (len(self.rows) + len(self.steps)) * 8 <= self._half:
            return
        # Threads of other loops may append at any time, and no array can grow while it is being written.
        rows, self.rows = self.rows, array("q")
        steps, self.steps = self.steps, array("q")
        try:
            self._spilled_rows.write(rows)
            rows = array("q")
            self._spilled_steps.write(steps)
        except OSError:
            self.rows, self.steps = rows + self.rows, steps + self.steps
            raise

    def fetch(self) -> None:
        """
        Have all rows, steps and notes here: nothing to do, unless the C core still has some.
        """

    def forget(self, tracks: Iterable[int]) -> None:
        """
        Replace tracks by `FORGOTTEN`: nothing will be read of them any more. Their ids are not given out
        again.
        """
        for track in tracks:
            if self.tracks[track] is not FORGOTTEN:
                self.tracks[track] = FORGOTTEN
                self.forgotten += 1
                self._table_bytes -= TRACK_BYTES

    @property
    def held(self) -> int:
        """
        Bytes of what is never given back: the tables, without living tracks, rows and steps.
        """
        tables = len(self._parents) * _NODE_BYTES + len(self.codes) * _CODE_BYTES
        return tables + self._numbered_bytes()

    def _numbered_bytes(self) -> int:
        waiters, callbacks = len(self.waiters) * _WAITER_BYTES, len(self.callbacks) * TRACK_BYTES
        return waiters + callbacks + len(self.loops) * _LOOP_BYTES + len(self.tracks) * 8

    def tables(self) -> tuple[array[int], array[int]]:
        """
        Return the parents and the elements of all nodes, by node: the arrays themselves, which grow.
        """
        return self._parents, self._elements

    @property
    def spilled(self) -> int:
        """
        Bytes that are in temporary files.
        """
        return self._spilled_rows.size + self._spilled_steps.size

    @property
    def stepped(self) -> int:
        """
        The number of steps that were noted.
        """
        return (self._spilled_steps.size + len(self.steps) * 8) // STEP_BYTES

    # cold: after the trace

    def read(self) -> Iterator[Observation]:
        """
        Yield every observation (time, track, stack, detail) in the order of time.
        """
        for block in self.row_blocks():
            values = iter(array("q", block))
            yield from zip(values, values, values, values, strict=True)

    def read_steps(self) -> Iterator[StepRecord]:
        """
        Yield every step (start, end, ready, track, waker, stack, detail) in the order of the ends.
        """
        for block in self.step_blocks():
            yield from unpack_steps(block)

    def row_blocks(self) -> Iterator[bytes]:
        """
        Yield the observations as bytes, four numbers of 64 bits each, in blocks of whole rows.
        """
        yield from self._spilled_rows.blocks(_ROWS_BYTES)
        yield from in_blocks(self.rows, _ROWS_BYTES)

    def step_blocks(self) -> Iterator[bytes]:
        """
        Yield the steps as bytes, `STEP_BYTES` each, in blocks of whole steps.
        """
        yield from self._spilled_steps.blocks(_STEPS_BYTES)
        yield from in_blocks(self.steps, _STEPS_BYTES)

    def snapshot(self) -> Self:
        """
        Return a copy of what was noted so far, to be read while more is noted. It must not be asked for
        during `trim`.
        """
        found = copy(self)
        # Rows and steps are copied first: what they refer to was added to the tables before.
        for name in ("rows", "steps", "counters", "gaps", "collections", "tracks", "loops"):
            setattr(found, name, getattr(self, name)[:])
        found._spilled_rows, found._spilled_steps = copy(self._spilled_rows), copy(self._spilled_steps)
        return found

    def elements(self, stack: int) -> list[tuple[int, int]]:
        """
        Return a stack as (code index, instruction offset), from root to leaf.
        """
        found = []
        while stack > EMPTY:
            element = self._elements[stack]
            found.append((element >> OFFSET_BITS, element & (1 << OFFSET_BITS) - 1))
            stack = self._parents[stack]
        found.reverse()
        return found

    def close(self) -> None:
        """
        Delete the temporary files, if there are any.
        """
        self._spilled_rows.close()
        self._spilled_steps.close()
