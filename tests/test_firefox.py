"""
The Firefox Profiler's format: the rules of its processed profile, and the same times as the slices'.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

import drawn
import fgtrace
from drawn import LOOP, TASK, Drawn, nested
from fgtrace._formats import rows_by_track as _by_track
from fgtrace._formats.write import encoder_of
from fgtrace._model.values import Frame, Instant, Slice, Track
from fgtrace._timeline.timeline import Timeline
from scripted import Script

pytestmark = pytest.mark.pure

Profile = dict[str, Any]

#: Table -> its columns, as ``src/types/profile.ts`` has them at version 60.
SHARED = {
    "stackTable": {"frame", "prefix"},
    "frameTable": {
        "address", "inlineDepth", "category", "subcategory", "func", "nativeSymbol", "innerWindowID",
        "line", "column",
    },
    "funcTable": {"name", "isJS", "relevantForJS", "resource", "source", "lineNumber", "columnNumber"},
    "resourceTable": {"lib", "name", "host", "type"},
    "nativeSymbols": {"libIndex", "address", "name", "functionSize"},
    "sources": {"uuid", "filename"},
}  # fmt: skip
SAMPLES = {"time", "weight", "stack"}
MARKERS = {"name", "startTime", "endTime", "phase", "category", "data"}
COLORS = {
    "transparent", "purple", "green", "orange", "yellow", "lightblue", "blue", "brown", "magenta", "red",
    "lightred", "darkgrey", "grey",
}  # fmt: skip
DISPLAYS = {"marker-chart", "marker-table", "timeline-overview"}
INSTANT, INTERVAL = 0, 1


def written(drawn: Drawn | Timeline, metadata: Mapping[str, Any] | None = None) -> bytes:
    return b"".join(encoder_of("firefox")(drawn, metadata or {}))


def profile_of(data: bytes) -> Profile:
    """
    The profile, its rules checked.
    """
    profile: Profile = json.loads(data)
    meta, shared = profile["meta"], profile["shared"]
    assert meta["preprocessedProfileVersion"] == 60
    assert profile["libs"] == []
    assert meta["interval"] > 0
    check_meta(meta)
    check_shared(shared, len(meta["categories"]))
    assert len({(thread["pid"], thread["tid"]) for thread in profile["threads"]}) == len(profile["threads"])
    for thread in profile["threads"]:
        check_thread(thread, profile)
    return profile


def check_table(table: Mapping[str, Any], columns: set[str], also: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    assert set(table) == columns | also | {"length"}
    assert {len(table[name]) for name in columns} == {table["length"]}


def check_indices(column: list[int | None], size: int, *, nulls: bool = False) -> None:
    assert all((value is None and nulls) or (type(value) is int and 0 <= value < size) for value in column)


def check_meta(meta: Mapping[str, Any]) -> None:
    names = [category["name"] for category in meta["categories"]]
    assert len(set(names)) == len(names)
    assert meta["categories"][0] == {"name": "Other", "color": "grey", "subcategories": ["Other"]}
    assert {category["color"] for category in meta["categories"]} <= COLORS
    assert all(category["subcategories"] == ["Other"] for category in meta["categories"])
    for schema in meta["markerSchema"]:
        assert set(schema["display"]) <= DISPLAYS
        assert all(set(field) == {"key", "label", "format"} for field in schema["fields"])
        keys = [field["key"] for field in schema["fields"]]
        assert len(set(keys)) == len(keys)
        assert "type" not in keys


def check_shared(shared: Mapping[str, Any], categories: int) -> None:
    for name, columns in SHARED.items():
        check_table(shared[name], columns)
    stacks, frames, functions = (shared[name] for name in ("stackTable", "frameTable", "funcTable"))
    strings, sources = len(shared["stringArray"]), shared["sources"]
    assert len(set(shared["stringArray"])) == strings
    for place, prefix in enumerate(stacks["prefix"]):
        assert prefix is None or 0 <= prefix < place
    check_indices(stacks["frame"], frames["length"])
    check_indices(frames["func"], functions["length"])
    check_indices(frames["category"], categories, nulls=True)
    assert all(
        (a is None) == (b is None) for a, b in zip(frames["category"], frames["subcategory"], strict=True)
    )
    check_indices(functions["name"], strings)
    check_indices(functions["source"], sources["length"], nulls=True)
    check_indices(sources["filename"], strings)


def check_thread(thread: Mapping[str, Any], profile: Profile) -> None:
    samples, markers, meta = thread["samples"], thread["markers"], profile["meta"]
    assert type(thread["pid"]) is str
    assert thread["registerTime"] <= thread["unregisterTime"]
    check_table(samples, SAMPLES, {"weightType"})
    assert samples["weightType"] == "tracing-ms"
    assert all(before <= after for before, after in pairwise(samples["time"]))
    check_indices(samples["stack"], profile["shared"]["stackTable"]["length"], nulls=True)
    assert all(weight >= 0 for weight in samples["weight"])
    assert samples["stack"][-1:] in ([], [None])
    check_table(markers, MARKERS)
    check_indices(markers["name"], len(profile["shared"]["stringArray"]))
    check_indices(markers["category"], len(meta["categories"]))
    known = {schema["name"]: {field["key"] for field in schema["fields"]} for schema in meta["markerSchema"]}
    for data in markers["data"]:
        assert set(data) - {"type"} <= known[data["type"]]
    for start, end, phase in zip(markers["startTime"], markers["endTime"], markers["phase"], strict=True):
        assert start >= 0
        assert (phase, end) == (INSTANT, None) or (phase == INTERVAL and end >= start)


def stack_of(profile: Profile, number: int | None) -> tuple[str, ...]:
    """
    The names of a stack, from the outermost on.
    """
    shared, found = profile["shared"], list[str]()
    while number is not None:
        function = shared["frameTable"]["func"][shared["stackTable"]["frame"][number]]
        found.append(shared["stringArray"][shared["funcTable"]["name"][function]])
        number = shared["stackTable"]["prefix"][number]
    return tuple(reversed(found))


def times(profile: Profile) -> dict[str, Counter[tuple[str, ...]]]:
    """
    Thread -> stack -> its own time (ns).
    """
    found = {}
    for thread in profile["threads"]:
        rows = zip(thread["samples"]["stack"], thread["samples"]["weight"], strict=True)
        own = found[thread["name"]] = Counter[tuple[str, ...]]()
        for stack, weight in rows:
            own[stack_of(profile, stack)] += round(weight * 1e6)
    return found


def markers(profile: Profile, thread: str) -> Iterator[tuple[Any, ...]]:
    """
    The markers of a thread: name, category, start and end (ns), what they say.
    """
    (table,) = (each["markers"] for each in profile["threads"] if each["name"] == thread)
    for row in range(table["length"]):
        end = table["endTime"][row]
        yield (
            profile["shared"]["stringArray"][table["name"][row]],
            profile["meta"]["categories"][table["category"][row]]["name"],
            round(table["startTime"][row] * 1e6),
            end if end is None else round(end * 1e6),
            table["data"][row],
        )


SLICES = [*drawn.SLICES, Slice(TASK, 90, 95, 0, Frame("sleep", "state"))]


def test_samples() -> None:
    """
    A sample for each moment at which the stack changes, which weighs as long as it holds.
    """
    profile = profile_of(written(Drawn(SLICES)))
    assert times(profile) == {
        "main": {("running", "m.main"): 600, ("running", "m.main", "m.f"): 400, (): 0},
        "Task-1 f": {("lock wait",): 30, (): 10, ("sleep",): 5},
    }
    assert [(thread["pid"], thread["tid"], thread["isMainThread"]) for thread in profile["threads"]] == [
        ("7", 7, True),
        ("4194304", 1, False),
    ]


def test_states() -> None:
    """
    A state is the category of its stacks, and a marker that says what is awaited.
    """
    flags = [Instant("loop blocked", TASK, 60, (("duration (ms)", 1.5), ("type", "x")))]
    profile = profile_of(written(Drawn(SLICES, instants=flags)))
    assert list(markers(profile, "Task-1 f")) == [
        ("loop blocked", "Other", 60, None, {"duration (ms)": "1.5", "type": "flag"}),
        ("lock wait", "lock wait", 50, 80, {"on": "asyncio.Lock", "type": "state"}),
        ("sleep", "sleep", 90, 95, {"type": "state"}),
    ]
    colors = {category["name"]: category["color"] for category in profile["meta"]["categories"]}
    assert colors == {"Other": "grey", "running": "green", "lock wait": "red", "sleep": "lightblue"}


def test_places() -> None:
    """
    A function has its file, and each of its frames its line.
    """
    shared = profile_of(written(Drawn(SLICES)))["shared"]
    names = [shared["stringArray"][name] for name in shared["funcTable"]["name"]]
    place = names.index("m.f")
    file = shared["sources"]["filename"][shared["funcTable"]["source"][place]]
    assert shared["stringArray"][file] == "a.py"
    frames = zip(shared["frameTable"]["func"], shared["frameTable"]["line"], strict=True)
    assert [line for function, line in frames if function == place] == [7, 8]


def test_moment() -> None:
    """
    The trace's beginning and its rate are the profile's.
    """
    metadata = {"fgtrace": {"started": "2026-01-02T03:04:05+00:00", "config": {"hz": 100}}}
    meta = profile_of(written(Drawn(SLICES), metadata))["meta"]
    assert (meta["startTime"], meta["interval"]) == (1767323045000, 10)


def test_odd_names() -> None:
    """
    Control characters become spaces, and lone surrogates question marks.
    """
    task = Track(kind="task", id=3, name="a\ud800\nb", tid=3, **LOOP)  # type: ignore[arg-type]
    profile = profile_of(written(Drawn([Slice(task, 0, 5, 0, Frame('"\x00\ud800', "state"))])))
    assert set(times(profile)) == {"a? b"} or set(times(profile)) == {"a  b"}


@given(slices=nested())
def test_times_add_up(slices: list[Slice]) -> None:
    """
    Whatever the slices, every nanosecond of a track is in one stack.
    """
    own: Counter[str] = Counter()
    for each in slices:
        if each.depth == 0:
            own[each.track.name] += each.end - each.start
    found = times(profile_of(written(Drawn(slices))))
    assert {name: sum(stacks.values()) - stacks[()] for name, stacks in found.items()} == own


def recording(length: int) -> Timeline:
    script = Script()
    for time in range(length):
        script.at(time, f"t{time % 20}", "abc" + "defgh"[time % 5] + "ijk"[time % 3])
    return Timeline(script.recording, fgtrace.Config(), length, 1)


def test_more_than_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What waits in a temporary file comes back in its place.
    """
    whole = times(profile_of(written(recording(5000))))
    monkeypatch.setattr(_by_track, "MOST_WAITING", 3000)
    assert times(profile_of(written(recording(5000)))) == whole
    assert len(whole) == 20


@pytest.mark.once
def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A recording that is three times as long takes no more memory.
    """
    monkeypatch.setattr(_by_track, "MOST_WAITING", 10_000)
    peaks = []
    for length in (30_000, 90_000):
        timeline = recording(length)
        tracemalloc.start()
        for _ in encoder_of("firefox")(timeline, {}):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0] + 100_000


@pytest.mark.parametrize("name", ["t.firefox.json", "t.firefox.json.gz"])
def test_traced_program(name: str, tmp_path: Path) -> None:
    """
    The suffix chooses the format, packed or not, and the program's sleep is in it.
    """

    async def work() -> None:
        await asyncio.gather(*(asyncio.sleep(0.05) for _ in range(3)))

    with fgtrace.trace(tmp_path / name, hz=500, max_overhead=1.0):
        asyncio.run(work())
    data = (tmp_path / name).read_bytes()
    profile = profile_of(gzip.decompress(data) if name.endswith(".gz") else data)
    assert any("sleep" in stack for stacks in times(profile).values() for stack in stacks)


def test_nothing_seen(tmp_path: Path) -> None:
    """
    A trace in which nothing was seen is a valid file.
    """
    with fgtrace.trace(tmp_path / "t.firefox.json", hz=0.1, threads=False):
        pass
    assert profile_of((tmp_path / "t.firefox.json").read_bytes())["threads"] == []
