"""
The harness that asks the real Perfetto: it reads what is right, and it can say no.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trace_processor import Engine, EngineError, TraceProcessor, assert_valid_trace, faults

pytestmark = pytest.mark.pure

Event = dict[str, Any]

LIVES = {(7, 8): (0, 20_000), (7, 9): (0, 20_000)}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """
    An engine of these tests' own, so that they need no conftest.
    """
    with Engine() as engine:
        yield engine


def slice_(name: str, ts: float, dur: float, *, tid: int = 8) -> Event:
    return {"ph": "X", "name": name, "cat": "python", "ts": ts, "dur": dur, "pid": 7, "tid": tid}


def encode(*events: Event) -> bytes:
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ns"}, ensure_ascii=False).encode()


VALID = encode(
    slice_("main", 0, 20),
    slice_("handler ü 😀", 1.001, 5.998),
    slice_("leaf", 1.001, 0.001),
    slice_("other thread", 3, 12, tid=9),
    {"ph": "i", "s": "t", "name": "mark", "ts": 7, "pid": 7, "tid": 8},
    {"ph": "M", "name": "process_name", "pid": 7, "tid": 0, "args": {"name": "app"}},
    {"ph": "M", "name": "thread_name", "pid": 7, "tid": 8, "args": {"name": "MainThread"}},
)


def test_slices_of_a_valid_trace(engine: Engine) -> None:
    """
    Nested slices arrive with their depths, to the nanosecond.
    """
    tp = TraceProcessor(VALID, engine=engine)
    assert tp.rows("select name, ts, dur, depth from slice where dur > 0 order by ts, depth") == [
        {"name": "main", "ts": 0, "dur": 20_000, "depth": 0},
        {"name": "handler ü 😀", "ts": 1_001, "dur": 5_998, "depth": 1},
        {"name": "leaf", "ts": 1_001, "dur": 1, "depth": 2},
        {"name": "other thread", "ts": 3_000, "dur": 12_000, "depth": 0},
    ]


def test_names_of_tracks(engine: Engine) -> None:
    """
    Metadata events name threads and processes, also when they come last.
    """
    tp = TraceProcessor(VALID, engine=engine)
    query = "select thread.name as thread, process.name as process from thread join process using (upid)"
    assert tp.rows(f"{query} where tid = 8") == [{"thread": "MainThread", "process": "app"}]


def test_valid_trace_is_accepted(engine: Engine) -> None:
    """
    A valid trace has no faults.
    """
    tp = TraceProcessor(VALID, engine=engine)
    assert tp.errors() == []
    assert_valid_trace(tp, lives=LIVES)


@pytest.mark.parametrize(
    ("events", "fault"),
    [
        pytest.param(
            [slice_("a", 0, 10), slice_("b", 5, 10)],
            "slice_drop_overlapping_complete_event",
            id="overlap",
        ),
        pytest.param(
            [slice_("a", 0, 10), {"ph": "s", "id": 1, "name": "x", "ts": 20, "pid": 7, "tid": 9}],
            "flow_no_enclosing_slice",
            id="loose-flow",
        ),
        pytest.param([slice_("a", 0, 10), slice_("b", -5, 1)], "negative_timestamp", id="negative-time"),
        pytest.param([slice_("a", 0, 10), {}], "json_tokenizer_failure", id="empty-event"),
        pytest.param([slice_("a", 5, -1)], "has no end", id="negative-duration"),
        pytest.param([{**slice_("a", 5, 0), "ph": "B"}], "has no end", id="unclosed"),
        pytest.param(
            [slice_(f"d{i}", i, 1200 - 2 * i) for i in range(513)], "within 512 others", id="too-deep"
        ),
        pytest.param([], "not one slice", id="empty"),
    ],
)
def test_fault_is_found(engine: Engine, events: list[Event], fault: str) -> None:
    """
    Each way to be invalid is named.
    """
    tp = TraceProcessor(encode(*events), engine=engine)
    with pytest.raises(AssertionError, match=fault):
        assert_valid_trace(tp)


def test_empty_trace_on_request(engine: Engine) -> None:
    """
    A trace without slices is fine for one who expects it.
    """
    assert_valid_trace(TraceProcessor(encode(), engine=engine), empty=True)


def test_many_faults_are_cut_short(engine: Engine) -> None:
    """
    The message shows the first faults and counts the others.
    """
    tp = TraceProcessor(encode(*(slice_("a", i, -1) for i in range(30))), engine=engine)
    assert len(list(faults(tp))) > 20
    with pytest.raises(AssertionError, match=r"\.\.\. and \d+ more$"):
        assert_valid_trace(tp)


@pytest.mark.parametrize(
    ("lives", "fault"),
    [
        pytest.param({**LIVES, (7, 8): (0, 19_999)}, "not within the life", id="ends-too-late"),
        pytest.param({**LIVES, (7, 9): (3_001, 20_000)}, "not within the life", id="begins-too-early"),
        pytest.param({(7, 8): (0, 20_000)}, "without a known life", id="unknown-track"),
    ],
)
def test_slice_outside_its_tracks_life(
    engine: Engine, lives: dict[tuple[int, int], tuple[int, int]], fault: str
) -> None:
    """
    No slice lies before or after its track's life.
    """
    with pytest.raises(AssertionError, match=fault):
        assert_valid_trace(TraceProcessor(VALID, engine=engine), lives=lives)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"this is not a trace", id="text"),
        pytest.param(VALID[:-20], id="cut"),
        pytest.param(gzip.compress(VALID)[:-12], id="cut-gzip"),
        pytest.param(b"[1, 2, 3]", id="other-json"),
    ],
)
def test_garbage_is_refused(engine: Engine, data: bytes) -> None:
    """
    What is no trace raises, and the engine takes the next trace all the same.
    """
    with pytest.raises(EngineError):
        TraceProcessor(data, engine=engine)
    assert_valid_trace(TraceProcessor(VALID, engine=engine))


def test_wrong_query(engine: Engine) -> None:
    """
    A wrong query raises with Perfetto's own words.
    """
    tp = TraceProcessor(VALID, engine=engine)
    with pytest.raises(EngineError, match="no such table"):
        tp.rows("select * from nowhere")
    assert tp.rows("select 1 as one, 2.5 as real, 'x' as text, null as absent") == [
        {"one": 1, "real": 2.5, "text": "x", "absent": None}
    ]


def test_stale_processor_is_refused(engine: Engine) -> None:
    """
    A processor whose engine was given another trace does not answer for that one.
    """
    stale = TraceProcessor(VALID, engine=engine)
    same = TraceProcessor(VALID, engine=engine)
    assert stale.rows("select 1 as one") == same.rows("select 1 as one")
    TraceProcessor(VALID + b"\n", engine=engine)
    with pytest.raises(EngineError, match="another trace"):
        stale.rows("select 1")


def test_path_and_own_engine(tmp_path: Path) -> None:
    """
    A gzip file is read from its path, by a process that ends with the block.
    """
    path = tmp_path / "trace.json.gz"
    path.write_bytes(gzip.compress(VALID))
    with TraceProcessor(path) as tp:
        assert_valid_trace(tp)
    with pytest.raises((EngineError, ValueError)):
        tp.rows("select 1")


def test_more_rows_than_one_batch(engine: Engine) -> None:
    """
    A long result comes in several messages, and is whole.
    """
    tp = TraceProcessor(encode(*(slice_(f"s{i}", i, 1) for i in range(50_000))), engine=engine)
    names = [row["name"] for row in tp.rows("select name from slice order by ts")]
    assert names == [f"s{i}" for i in range(50_000)]
