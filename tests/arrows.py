"""
Assert what arrows mean: each begins and ends on the tracks that its program had, at times at which these have
slices.

Perfetto binds an arrow to whatever slice is there. An arrow that lacks its other end is no error to it, nor
is one whose id came twice.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from fgtrace._model.values import Flow
from trace_processor import TraceProcessor

__all__ = ["as_ends", "assert_arrows", "assert_bound", "bound", "ends", "matched"]

#: Both slices of each arrow, as Perfetto has bound it, with the processes and threads of their tracks.
_BOUND = """
    with row as (
        select slice.id, slice.ts, slice.ts + slice.dur as end, slice.name, process.pid, thread.tid,
            coalesce(thread.name, track.name) as track
        from slice join track on track.id = slice.track_id
        left join thread_track on thread_track.id = slice.track_id
        left join thread using (utid) left join process using (upid)
    )
    select a.pid as a_pid, a.tid as a_tid, a.track as a_track, a.name as a_name, a.ts as a_ts, a.end as a_end,
        b.pid as b_pid, b.tid as b_tid, b.track as b_track, b.name as b_name, b.ts as b_ts, b.end as b_end
    from flow join row a on a.id = flow.slice_out join row b on b.id = flow.slice_in
"""

_BEGINS = """
    select slice.ts, process.pid, thread.tid
    from slice join thread_track on thread_track.id = slice.track_id
    join thread using (utid) left join process using (upid)
    order by slice.ts
"""


class Bound(NamedTuple):
    """
    One end of an arrow: the track and the slice that it is bound to.
    """

    pid: int | None
    tid: int | None
    track: str
    name: str
    start: int
    end: int


class End(NamedTuple):
    """
    One end of an arrow in a file: a track, and a time (ns).
    """

    pid: int
    tid: int
    time: int

    def is_at(self, bound: Bound, begins: Begins | None = None) -> bool:
        """
        Whether a slice is on this track at this time; with the times at which slices begin on the tracks,
        also whether it is the one that ended last, if none has begun since.

        Perfetto closes a slice of a JSON file only when the next one begins on its track, so until then it
        binds arrows to the slice, a flag of no length included.
        """
        if (self.pid, self.tid) != (bound.pid, bound.tid) or bound.start > self.time:
            return False
        if self.time < bound.end:
            return True
        times = [] if begins is None else begins[self.pid, self.tid]
        return begins is not None and bisect_right(times, bound.end) == bisect_right(times, self.time)


Arrow = tuple[str, End, End]
#: The times at which slices begin, by process and thread.
Begins = Mapping[tuple[int | None, int | None], list[int]]


def bound(processor: TraceProcessor) -> list[tuple[Bound, Bound]]:
    """
    The arrows as Perfetto has bound them.
    """
    return [
        (
            Bound(*(row[f"a_{key}"] for key in ("pid", "tid", "track", "name", "ts", "end"))),
            Bound(*(row[f"b_{key}"] for key in ("pid", "tid", "track", "name", "ts", "end"))),
        )
        for row in processor.rows(_BOUND)
    ]


def end_of(event: dict[str, Any]) -> End:
    """
    The end of an arrow that an event of a file in JSON is.
    """
    return End(event["pid"], event["tid"], round(event["ts"] * 1000))


def ends(events: Iterable[dict[str, Any]]) -> list[Arrow]:
    """
    The arrows of a file in JSON; each id must have one start and one end.
    """
    starts: dict[int, dict[str, Any]] = {}
    finishes: dict[int, dict[str, Any]] = {}
    counts: Counter[tuple[str, int]] = Counter()
    for event in events:
        if event["ph"] in ("s", "f"):
            counts[event["ph"], event["id"]] += 1
            (starts if event["ph"] == "s" else finishes)[event["id"]] = event
    assert set(counts.values()) <= {1}, f"ids that were used more than once: {counts.most_common(3)}"
    assert starts.keys() == finishes.keys()
    return [(start["name"], end_of(start), end_of(finishes[number])) for number, start in starts.items()]


def assert_bound(arrows: list[Arrow], processor: TraceProcessor) -> None:
    """
    Assert that Perfetto has bound each arrow to slices on its tracks, around its times.

    Several pairs of slices may fit an arrow: a flag is a slice of no length, and Perfetto does not say which
    arrow a pair is of. So the arrows and the pairs are matched as a whole, by augmenting paths.
    """
    pairs = bound(processor)
    assert len(pairs) == len(arrows)
    unmatched = matched(_fits(arrows, pairs))
    if unmatched is not None:
        unmatched = matched(_fits(arrows, pairs, _begins(processor)))
    assert unmatched is None, "{} from {} to {} is bound to none of its slices".format(*arrows[unmatched])


def _begins(processor: TraceProcessor) -> Begins:
    found: dict[tuple[int | None, int | None], list[int]] = defaultdict(list)
    for row in processor.rows(_BEGINS):
        found[row["pid"], row["tid"]].append(row["ts"])
    return found


def _fits(
    arrows: list[Arrow], pairs: list[tuple[Bound, Bound]], begins: Begins | None = None
) -> list[list[int]]:
    """
    Return the places of the pairs that fit each arrow.
    """
    by_tracks: dict[tuple[int | None, ...], list[int]] = {}
    for place, (source, target) in enumerate(pairs):
        by_tracks.setdefault((source.pid, source.tid, target.pid, target.tid), []).append(place)
    return [
        [
            place
            for one, other in ((source, target), (target, source))
            for place in by_tracks.get((one.pid, one.tid, other.pid, other.tid), ())
            if one.is_at(pairs[place][0], begins) and other.is_at(pairs[place][1], begins)
            # Perfetto has the slice that begins first as the first
            if one is source or pairs[place][0].start <= pairs[place][1].start
        ]
        for _, source, target in arrows
    ]


def matched(fits: list[list[int]]) -> int | None:
    """
    Match each arrow with a pair of its own among those that fit it; the first arrow that cannot be, or None.
    """
    arrow_of: dict[int, int] = {}
    pair_of: dict[int, int] = {}
    for first in range(len(fits)):
        asked_by: dict[int, int] = {}
        asking, free = [first], None
        while asking and free is None:
            arrow = asking.pop()
            for pair in fits[arrow]:
                if pair not in asked_by:
                    asked_by[pair] = arrow
                    if pair not in arrow_of:
                        free = pair
                        break
                    asking.append(arrow_of[pair])
        if free is None:
            return first
        step: int | None = free
        while step is not None:  # back along the way: each arrow gets the pair that it asked for
            arrow = asked_by[step]
            arrow_of[step] = arrow
            pair_of[arrow], step = step, pair_of.get(arrow)
    return None


def assert_arrows(document: dict[str, Any], processor: TraceProcessor) -> None:
    """
    Assert of a file of fgtrace that its arrows are bound as they should be, and mean what they are called.
    """
    events = document["traceEvents"]
    arrows = ends(events)
    assert_bound(arrows, processor)
    if not arrows or "stats" not in document["metadata"]["fgtrace"]:  # none, or drawn by hand
        return
    tracks = {(e["pid"], e["tid"]): e["args"] for e in events if e["name"] == "thread_name"}
    ready: dict[tuple[int, int, int], dict[str, Any]] = {}
    for event in events:
        if event["ph"] == "X" and event["name"] == "runnable" and event.get("cat") == "state":
            until = round(event["ts"] * 1000 + event["dur"] * 1000)
            ready[event["pid"], event["tid"], until] = event
    for name, source, target in arrows:
        from_, to = tracks[source.pid, source.tid], tracks[target.pid, target.tid]
        assert source.time <= target.time, name
        if "lane" in (from_["kind"], to["kind"]):
            continue  # a lane has the slices of many tasks
        if name == "create_task":
            assert (to["parent"], to["life"][0]) == (from_["id"], source.time), (from_, to)
        else:
            assert from_["kind"] == ("task" if name == "wakes" else "callbacks"), (name, from_)
            _assert_woken(name, from_, ready.get((target.pid, target.tid, target.time)))


def _assert_woken(name: str, source: dict[str, Any], runnable: dict[str, Any] | None) -> None:
    """
    Assert that the slice before a step says the same waker as the arrow to it does.
    """
    said = (runnable or {}).get("args", {}).get("woken by")
    if said is None:  # it ran at once, or no states were asked for
        return
    if name == "wakes":
        names = source["name"].replace("└ ", ""), str(source.get("task", ""))
        assert any(each.startswith(said) for each in names), (said, source)
    else:
        assert said.partition(" ")[0] == name, (said, name)


def as_ends(flows: Iterable[Flow]) -> list[Arrow]:
    """
    Arrows as a timeline gives them, in the words of a file.
    """
    return [
        (
            flow.name,
            End(flow.source.pid, flow.source.tid, flow.source_time),
            End(flow.target.pid, flow.target.tid, flow.target_time),
        )
        for flow in flows
    ]
