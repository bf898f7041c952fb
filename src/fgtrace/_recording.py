"""
The recording: what the collectors noted, compactly, and the tables that give it meaning.

The rules of this module
- It is filled by hot code, under the GIL, by one thread: a look compares and appends integers.
- Strong references are kept to code objects only. A task, a future, a loop or a frame that the
  recording kept alive would change the program.
- Identity, not equality: two code objects may be equal and yet different functions, and hashing
  one costs a microsecond. The table goes by ``id()``, which is safe since it keeps the object.
- Memory is bounded. The rows, which grow with time, go to a temporary file when they exceed
  their half of ``max_memory``. The tables grow with the number of different stacks; when they
  exceed theirs, a new stack is cut to the longest part that is known, and the cut is counted.

Theory of operation: a stack is a node of a tree. A node is (parent node, element); an element
is ``code index << 24 | instruction offset``. So equal stacks are one integer, and stacks that
share their outer frames share nodes. A row is four integers: time, track, stack, detail. What
``detail`` means depends on the track: for a task the index of a `Wait`, for a thread of a
`ThreadLook`. Two stacks are special: `GONE` ends a track, `EMPTY` has no frames.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from types import CodeType
from typing import Any, NamedTuple

from fgtrace._model import FrameName, Gap, ThreadLook, Wait

__all__ = ["EMPTY", "GONE", "OFFSET_BITS", "CodeEntry", "LoopEntry", "Recording", "TrackEntry"]

OFFSET_BITS = 24
_NODE_SHIFT = 48
EMPTY = 0
GONE = -1
#: Measured size of a node: its dict entry, its key, and eight bytes in each of two arrays.
_NODE_BYTES = 150
_CODE_BYTES = 700
_TRACK_BYTES = 400
_READ_BYTES = 8192 * 32


class CodeEntry(NamedTuple):
    """
    One function: its code object (None for compiled code without one) and its names.
    """

    code: CodeType | None
    name: FrameName
    file: str
    line: int


class TrackEntry:
    """
    What is known of a thread or task while the trace runs; times in ns on the trace's clock.
    """

    __slots__ = ("args", "end", "kind", "loop", "name", "parent", "root", "start", "tid")

    def __init__(self, kind: str, name: str, start: int, *, loop: int = -1, tid: int = 0) -> None:
        self.kind = kind
        self.name = name
        self.root = ""
        self.start = start
        self.end = -1
        self.parent = -1
        self.loop = loop
        self.tid = tid
        self.args: dict[str, str | int] = {}


class LoopEntry:
    """
    One event loop: the thread it was seen in ("" until known), and its class.
    """

    __slots__ = ("thread", "type")

    def __init__(self, type_: str, thread: str = "") -> None:
        self.type = type_
        self.thread = thread


class Recording:
    """
    The observations of one trace with their tables.

    Args:
        max_memory: bytes; see the module's rules.
    """

    def __init__(self, max_memory: int = 256 * 1024 * 1024) -> None:
        self.codes: list[CodeEntry] = []
        self.tracks: list[TrackEntry] = []
        self.loops: list[LoopEntry] = []
        self.waits: list[Wait] = []
        self.looks: list[ThreadLook] = []
        self.gaps: list[Gap] = []
        self.counters: array[int] = array("q")
        self.rows: array[int] = array("q")
        self.observations = 0
        self.cut = 0
        self.spilled = 0
        self._parents: array[int] = array("q", [-1])
        self._elements: array[int] = array("q", [0])
        self._nodes: dict[int, int] = {}
        self._code_ids: dict[object, int] = {}
        self._wait_ids: dict[Wait, int] = {}
        self._look_ids: dict[ThreadLook, int] = {}
        self._spill: Any = None  # a raw file
        self._half = max_memory // 2
        self._table_bytes = 0

    # hot: called while the program runs

    def observe(self, time: int, track: int, stack: int, detail: int) -> None:
        """
        Note that from this time on, a track has this stack and detail.
        """
        self.rows.extend((time, track, stack, detail))
        self.observations += 1

    def count(self, time: int, loop: int, value: int) -> None:
        """
        Note the length of a loop's ready queue.
        """
        self.counters.extend((time, loop, value))

    def code(self, code: CodeType, module: object) -> int:
        """
        The index of a code object; known ones are found by `code_ids` without a call.
        """
        name = FrameName(module if type(module) is str else "", code.co_qualname)
        return self._add_code(id(code), CodeEntry(code, name, code.co_filename, code.co_firstlineno))

    def named(self, name: FrameName, file: str) -> int:
        """
        The index of a function that has no code object, such as Cython's.
        """
        found = self._code_ids.get(name)
        return self._add_code(name, CodeEntry(None, name, file, 0)) if found is None else found

    @property
    def code_ids(self) -> dict[object, int]:
        """
        ``id(code)`` -> index: read by the walkers, filled by `code`.
        """
        return self._code_ids

    def stack(self, elements: list[int]) -> int:
        """
        The node of a stack, given as elements from leaf to root.
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

    def wait(self, wait: Wait) -> int:
        """
        The index of a wait.
        """
        found = self._wait_ids.get(wait)
        if found is None:
            found = self._wait_ids[wait] = len(self.waits)
            self.waits.append(wait)
        return found

    def look(self, look: ThreadLook) -> int:
        """
        The index of a thread's look.
        """
        found = self._look_ids.get(look)
        if found is None:
            found = self._look_ids[look] = len(self.looks)
            self.looks.append(look)
        return found

    def track(self, entry: TrackEntry) -> int:
        """
        Add a track; its id is returned.
        """
        self.tracks.append(entry)
        self._table_bytes += _TRACK_BYTES
        return len(self.tracks) - 1

    def adopt(self, above: int, child: int) -> None:
        """
        Note whose child a track is: once, and never of a track that came later.
        """
        tracks = self.tracks
        if tracks[child].parent >= 0 or tracks[above].start > tracks[child].start:
            return
        at = above
        while at >= 0 and at != child:
            at = tracks[at].parent
        if at != child:
            tracks[child].parent = above

    def loop(self, entry: LoopEntry) -> int:
        """
        Add an event loop; its index is returned.
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
        Observations from elsewhere, four numbers of 64 bits each, later than all that are here.
        """
        self.rows.frombytes(rows)

    def trim(self) -> None:
        """
        Move the rows to a temporary file if they exceed their share of the memory.

        Raises:
            OSError: no room there; the rows stay in memory.
        """
        if len(self.rows) * 8 <= self._half:
            return
        if self._spill is None:
            import tempfile  # costs 10 ms to import, and few traces need it

            # not a `with`: it lives as long as the recording
            self._spill = tempfile.TemporaryFile(prefix="fgtrace-", buffering=0)  # noqa: SIM115
        self._spill.seek(self.spilled)
        with memoryview(self.rows) as rows, rows.cast("B") as view:
            done = 0
            while done < len(view):
                done += self._spill.write(view[done:])
        self.spilled += done  # only now: what was written of rows that are still here does not count
        self.rows = array("q")

    # cold: after the trace

    def read(self) -> Iterator[tuple[int, int, int, int]]:
        """
        Every observation (time, track, stack, detail) in the order of time.
        """
        for start in range(0, self.spilled, _READ_BYTES):
            yield from _rows(array("q", self._spilled_bytes(start, min(start + _READ_BYTES, self.spilled))))
        yield from _rows(self.rows)

    def _spilled_bytes(self, start: int, end: int) -> bytes:
        found = b""
        while self._spill is not None and start + len(found) < end:
            self._spill.seek(start + len(found))
            found += self._spill.read(end - start - len(found))
        return found

    def elements(self, stack: int) -> list[tuple[int, int]]:
        """
        A stack as (code index, instruction offset), from root to leaf.
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
        Give back the temporary file, if there is one.
        """
        if self._spill is not None:
            self._spill.close()
            self._spill = None


def _rows(rows: array[int]) -> Iterator[tuple[Any, ...]]:
    values = iter(rows)
    return zip(values, values, values, values, strict=True)
