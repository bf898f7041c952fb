r"""
Chrome's Trace Event Format, as Perfetto, DevTools and speedscope really read it.

Source: "Trace Event Format" (Google, 2016), and what these viewers do with it:

- slices are complete events (``X``), times in microseconds from the trace's start: seconds since
  the epoch do not fit in a double with nanoseconds;
- of two slices with the same start and duration the first in the file is the parent;
- names are raw UTF-8, for ``\uXXXX`` is shown as it stands; lone surrogates become ``?``;
- flows (``s``, ``f``) bind to the slice around their time; ids are numbers, never used twice.

orjson writes whatever varies. The text that is the same for every slice of a frame is one fragment, made
once, so a slice costs its two numbers and a concatenation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import orjson

from fgtrace._formats.write.safe_text import safe_json, safe_name
from fgtrace._model.drawing import Drawing
from fgtrace._model.values import Counter, Flow, Frame, Instant, Slice, Track

__all__ = ["encode"]

#: Slices in a chunk: a millisecond's work, so that no other thread waits long.
CHUNK = 1000


def encode(drawing: Drawing, metadata: Mapping[str, Any]) -> Iterator[bytes]:
    """
    Yield a whole file in chunks.

    Args:
        drawing: what to write.
        metadata: goes into the file's ``metadata``.
    """
    yield b'{"displayTimeUnit":"ns","metadata":' + safe_json(metadata) + b',"traceEvents":[\n'
    yield b",\n".join(
        safe_json(event)
        for track in _first_of_each_process(drawing.tracks)
        for event in _process_names(track)
    )
    yield from _names(drawing.tracks)
    fragments = _Fragments()
    slices = drawing.slices()
    while chunk := fragments.events(islice(slices, CHUNK)):
        yield chunk
    yield from _batches(_counter(counter) for counter in drawing.counters())
    yield from _batches(
        event for number, flow in enumerate(drawing.flows(), 1) for event in _flow(number, flow)
    )
    yield from _batches(_instant(instant) for instant in drawing.instants())
    yield b"\n]}\n"


class _Fragments:
    """
    The unchanging parts of slice events: a head for each frame, a tail for each track.
    """

    def __init__(self) -> None:
        self._heads: dict[int, tuple[str, Frame]] = {}
        self._tails: dict[int, tuple[str, Track]] = {}

    def events(self, chunk: Iterable[Slice]) -> bytes:
        """
        Return the events of some slices.

        Their times go through orjson in one list, since it formats a double in a quarter of the time that
        Python takes.
        """
        heads, tails = self._heads, self._tails
        before, after, times = [], [], []
        for track, start, end, _, frame in chunk:
            before.append((heads.get(id(frame)) or self._head(frame))[0])
            after.append((tails.get(id(track)) or self._tail(track))[0])
            times.append(start / 1000)
            times.append((end - start) / 1000)
        texts = iter(orjson.dumps(times)[1:-1].decode().split(","))
        rows = zip(before, texts, texts, after, strict=False)
        return "".join([f'{head}{ts},"dur":{dur}{tail}' for head, ts, dur, tail in rows]).encode()

    def _head(self, frame: Frame) -> tuple[str, Frame]:
        args: dict[str, str | int] = {"file": frame.file, "line": frame.line} if frame.file else {}
        args.update(frame.args)
        event = {
            "name": safe_name(frame.name),
            "cat": frame.category,
            "ph": "X",
            **({"args": args} if args else {}),
        }
        text = ",\n" + safe_json(event)[:-1].decode() + ',"ts":'
        found = self._heads[id(frame)] = (text, frame)  # the frame stays, and so its id
        return found

    def _tail(self, track: Track) -> tuple[str, Track]:
        found = self._tails[id(track)] = (f',"pid":{track.pid},"tid":{track.tid}}}', track)
        return found


def _batches(events: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    while batch := list(islice(events, 500)):
        yield b"".join(b",\n" + safe_json(event) for event in batch)


def _first_of_each_process(tracks: list[Track]) -> list[Track]:
    found: dict[int, Track] = {}
    for track in tracks:
        found.setdefault(track.pid, track)
    return list(found.values()) or [Track(kind="tracer", id=0, name="fgtrace")]


def _process_names(track: Track) -> list[dict[str, Any]]:
    name = track.group or f"python {track.pid}"
    return [
        {"name": "process_name", "ph": "M", "pid": track.pid, "tid": track.tid, "args": {"name": name}},
        {
            "name": "process_sort_index",
            "ph": "M",
            "pid": track.pid,
            "tid": track.tid,
            "args": {"sort_index": track.pid},
        },
    ]


def _names(tracks: list[Track]) -> Iterator[bytes]:
    def events() -> Iterator[dict[str, Any]]:
        for place, track in enumerate(tracks):
            row = {"ph": "M", "pid": track.pid, "tid": track.tid}
            yield {"name": "thread_name", **row, "args": _track_args(track)}
            yield {"name": "thread_sort_index", **row, "args": {"sort_index": place}}

    return _batches(events())


def _track_args(track: Track) -> dict[str, Any]:
    """
    Return the arguments of a track: viewers read the name, `fgtrace.load` the rest.
    """
    return {
        "name": "└ " * track.level + safe_name(track.name),
        "kind": track.kind,
        "id": track.id,
        "parent": track.parent,
        "life": [track.start, track.end],
        **dict(track.args),
    }


def _counter(counter: Counter) -> dict[str, Any]:
    args = {counter.unit: counter.value}
    return {"name": counter.name, "ph": "C", "pid": counter.pid, "ts": counter.time / 1000, "args": args}


def _instant(instant: Instant) -> dict[str, Any]:
    """
    Return an instant on its track alone (``s``: ``t``); viewers draw others through all tracks.
    """
    row = {"pid": instant.track.pid, "tid": instant.track.tid, "ts": instant.time / 1000}
    return {"name": instant.name, "cat": "loop", "ph": "i", "s": "t", **row, "args": dict(instant.args)}


def _flow(number: int, flow: Flow) -> list[dict[str, Any]]:
    common = {"name": flow.name, "cat": "flow", "id": number}
    source, target = flow.source, flow.target
    return [
        {**common, "ph": "s", "pid": source.pid, "tid": source.tid, "ts": flow.source_time / 1000},
        {**common, "ph": "f", "bp": "e", "pid": target.pid, "tid": target.tid, "ts": flow.target_time / 1000},
    ]
