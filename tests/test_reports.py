"""
Reports of programs with known answers: a trace agrees with the times that a program noted of itself, and
every table with the trace.

No figure is compared with one that the machine may have changed meanwhile. With exact awaits each wait lies
within the times that its program noted before and after it, and for what is left of them the task was on its
way. Where tasks are sampled, a wait may seem longer or shorter by two ticks, by the ticks that the trace says
it missed, and by the time for which the kernel says that it let other programs run.
"""

from __future__ import annotations

import asyncio
import io
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import fgtrace
import fgtrace.asgi
from answers import PROGRAMS, Known, Span
from fgtrace import reports
from fgtrace.reports import Part, Report, Step, Wait
from fgtrace.reports import Path as CriticalPath
from forking import fork

pytestmark = pytest.mark.usefixtures("core")

HZ = 200
PERIOD = 1_000_000_000 // HZ
ON_ITS_WAY = {"runnable", "running"}
RULES = {"answers:Pool.get": "pool wait"}


@dataclass
class Answers:
    """
    A program that ran under a trace: what it noted, what the trace shows, and what is reported of that.

    Args:
        known: the program's own; times are those of the trace, from its start.
        lines: the states of each task as (state, start, end), by the task's name.
        report: of the same file.
        slack: by how much a sampled wait may differ from the program's, ns.
    """

    known: Known
    lines: dict[str, list[tuple[str, int, int]]]
    report: Report
    slack: int

    @property
    def is_exact(self) -> bool:
        return self.report.awaits == "exact"

    def stretches(self, task: str, state: str) -> list[tuple[int, int]]:
        """
        When a task was in a state.
        """
        return [(start, end) for name, start, end in self.lines.get(task, ()) if name == state]

    def total(self, task: str, state: str) -> int:
        """
        How long a task was in a state, together.
        """
        return sum(end - start for start, end in self.stretches(task, state))

    def agree(self, name: str, state: str) -> None:
        """
        Assert that what the program noted under a name is this state of its tasks in the trace.
        """
        by_task: dict[str, list[Span]] = {}
        for span in self.known.spans[name]:
            by_task.setdefault(span.task, []).append(span)
        for task, spans in by_task.items():
            if self.is_exact:
                self._is_within(task, spans, state)
            else:
                noted = sum(span.end - span.start for span in spans)
                assert abs(self.total(task, state) - noted) <= len(spans) * self.slack, (name, task)

    def _is_within(self, task: str, spans: list[Span], state: str) -> None:
        for start, end in self.stretches(task, state):
            assert any(span.start <= start and end <= span.end for span in spans), (task, start, end)
        for span in spans:
            inside = [
                (name, max(start, span.start), min(end, span.end))
                for name, start, end in self.lines.get(task, ())
                if start < span.end and end > span.start
            ]
            assert {name for name, *_ in inside} <= {state} | ON_ITS_WAY, (task, span)
            assert sum(end - start for _, start, end in inside) == span.end - span.start, (task, span)


Check = Callable[[Answers], None]


def delayed() -> int:
    """
    How long the threads of this process could run and were not let, so far (ns): the kernel's own count.
    """
    found = 0
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # the thread has ended meanwhile
            found += int((task / "schedstat").read_text().split()[1])
    return found


def zero(trace: fgtrace.Trace) -> int:
    """
    The start of a trace on the machine's clock, ns: a little later than it was.
    """
    assert trace._sampler is not None
    found = []
    for _ in range(20):  # the least is the one that nothing came between
        now = trace._sampler.now()
        found.append(time.perf_counter_ns() - now)
    return min(found)


def run(program: str, path: Path, awaits: str, task: str | None = None) -> Answers:
    """
    Run a program under a trace, up to its end.
    """
    known = Known()

    async def main() -> tuple[int, int]:
        before = delayed()
        trace = fgtrace.trace(path, hz=HZ, awaits=awaits, rules=RULES, max_overhead=1.0).start()
        start = zero(trace)
        await PROGRAMS[program](known)
        waited = delayed() - before
        trace.stop()
        return start, waited

    start, waited = asyncio.run(main())
    lines: dict[str, list[tuple[str, int, int]]] = {}
    unseen = 0
    for each in fgtrace.load(path):
        if each.frame.category == "gap":
            unseen += each.end - each.start
        elif each.track.kind == "task" and each.frame.category == "state":
            lines.setdefault(each.track.name.rpartition(" ")[0], []).append(
                (each.frame.name, each.start, each.end)
            )
    report = reports.report(path, reports.Ask(top=None, task=task))
    for name, spans in known.spans.items():
        known.spans[name] = [Span(task, since - start, until - start) for task, since, until in spans]
    return Answers(known, lines, report, waited + unseen + 2 * PERIOD)


def assert_sums(report: Report) -> None:
    """
    What must add up, does.
    """
    for group in report.groups:
        assert sum(part.total_ns for part in group.parts) == group.total_ns
    for loop in report.loops:
        assert loop.busy_ns + loop.idle_ns == loop.life_ns
    for thread in report.threads:
        assert sum(thread.states.values()) == thread.life_ns
    for path in report.paths:
        assert sum(step.total_ns for step in path.parts) == path.life_ns
        assert all(
            sum(part.total_ns for part in step.parts) == step.total_ns
            for step in every_step(path.parts)
            if step.parts
        )


def every_step(steps: tuple[Step, ...]) -> Iterator[Step]:
    for step in steps:
        yield step
        yield from every_step(step.parts)


def the_part(report: Report, coroutine: str, state: str) -> Part:
    """
    The part of the tasks of a coroutine in one state.
    """
    group = next(each for each in report.groups if each.name.endswith(coroutine))
    return next(part for part in group.parts if part.name == state)


def the_wait(report: Report, state: str, function: str) -> Wait:
    """
    The waits in a state within a function of the program's own.
    """
    found = [
        wait
        for wait in report.waits
        if wait.place.state == state and any(name.endswith(function) for name in wait.place.chain)
    ]
    assert len(found) == 1, report.waits
    return found[0]


def lock(found: Answers) -> None:
    report, names = found.report, [f"waiter {number}" for number in range(10)]
    for name in names:
        found.agree(name, "lock wait")
    found.agree("held", "sleep")
    waited = [found.total(name, "lock wait") for name in names]
    wait = the_wait(report, "lock wait", "want")
    assert wait.tasks == 10
    assert wait.place.on == "asyncio.Lock"
    assert wait.place.file.endswith("answers.py")
    assert wait.total_ns == sum(waited)
    part = the_part(report, "want", "lock wait")
    assert part.each.max_ns == max(waited)
    assert part.each.p50_ns == sorted(waited)[4]
    assert the_part(report, "hold", "sleep").total_ns == found.total("holder", "sleep")
    if found.is_exact:
        (holder, *_) = wait.holders
        assert wait.count == 30
        assert holder.task.startswith("holder ")
        assert found.total("holder", "sleep") <= holder.held_ns <= found.known.total("holding")
        assert holder.kept_ns >= 10 * found.total("holder", "sleep")
        assert sum(each.kept_ns for each in wait.holders) <= wait.total_ns


def blocked(found: Answers) -> None:
    report = found.report
    ((_, start, end),) = found.known.spans["blocked"]
    longest = report.blocked[0]
    assert (longest.kind, longest.name.partition(" ")[0]) == ("task", "bad")
    assert longest.duration_ns == max(end - start for start, end in found.stretches("bad", "running"))
    assert longest.stack[-1] == "time.sleep"
    assert longest.stack[-2].endswith("handler")
    assert longest.kept_waiting == 5
    loop = report.loops[0]
    assert loop.longest_ns == longest.duration_ns
    part = the_part(report, "handler", "running")
    assert part.total_ns == found.total("bad", "running")
    if found.is_exact:
        assert longest.start_ns <= start
        assert end <= longest.start_ns + longest.duration_ns
        assert loop.late_max_ns >= end - start
        ready = [stretch for name in found.lines for stretch in found.stretches(name, "runnable")]
        assert loop.late_max_ns == max(end - start for start, end in ready)
    else:
        assert abs(longest.duration_ns - (end - start)) <= found.slack


def pool(found: Answers) -> None:
    report = found.report
    found.agree("waited", "pool wait")
    found.agree("used", "sleep")
    wait = the_wait(report, "pool wait", "request")
    waited = [end - start for name in found.lines for start, end in found.stretches(name, "pool wait")]
    assert wait.place.on == "answers.Pool"
    assert [name.rpartition(".")[2] for name in wait.place.chain] == ["measure", "request"]
    assert wait.total_ns == sum(waited)
    assert wait.each.max_ns == max(waited)
    assert wait.count == wait.tasks == len(waited)
    if found.is_exact:
        assert len(waited) == 18
    else:  # a wait within a gap between two ticks is not seen
        assert sum(each > found.slack for each in found.known.lengths("waited")) <= len(waited) <= 18
    used = [found.total(name, "sleep") for name in found.lines]
    assert the_part(report, "request", "sleep").each.max_ns == max(used)


def awaits(found: Answers) -> None:
    for name, state in (("all", "task wait"), ("gathered", "task wait"), ("slept", "sleep")):
        found.agree(name, state)
    path = found.report.paths[0]
    group = path.parts[0]
    assert (group.place.state, group.place.on) == ("task wait", "asyncio.TaskGroup")
    gather = group.parts[0]
    assert (gather.task, gather.place.on) == ("middle", "asyncio.gather")
    assert gather.total_ns == found.total("middle", "task wait")
    sleep = gather.parts[0]
    assert (sleep.place.state, sleep.place.chain[-1].rpartition(".")[2]) == ("sleep", "long")
    assert sleep.total_ns == found.total(found.known.spans["slept"][0].task, "sleep")
    if found.is_exact:
        assert found.known.total("slept") <= found.known.total("gathered") <= path.life_ns


def stuck(found: Answers) -> None:
    report, names = found.report, ("left", "right")
    (cycle,) = report.cycles
    assert sorted(name.partition(" ")[0] for name in cycle.tasks) == ["left", "right"]
    assert [place.state for place in cycle.places] == ["lock wait", "lock wait"]
    found.agree("stuck", "task wait")
    assert the_part(report, "main", "task wait").total_ns == found.total(
        found.known.spans["stuck"][0].task, "task wait"
    )
    wait = the_wait(report, "lock wait", "both")
    assert sorted(holder.task.partition(" ")[0] for holder in wait.holders) == ["left", "right"]
    waited = [found.total(name, "lock wait") for name in names]
    assert (wait.total_ns, wait.each.max_ns) == (sum(waited), max(waited))
    for name in names:
        ((start, end),) = found.stretches(name, "lock wait")
        assert end == report.duration_ns
        ((_, since, _),) = found.known.spans[name]
        if found.is_exact:
            assert start >= since
            assert {state for state, first, last in found.lines[name] if last > since} <= {
                "lock wait"
            } | ON_ITS_WAY
        else:
            assert abs(start - since) <= found.slack


CHECKS: dict[str, Check] = {
    "locked": lock, "blocking": blocked, "pooled": pool, "chain": awaits, "deadlock": stuck,
}  # fmt: skip


@pytest.mark.parametrize("awaits", ["sampled", "exact"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_known_answers(program: str, awaits: str, tmp_path: Path) -> None:
    """
    Every table says what the program knows.
    """
    found = run(program, tmp_path / "t.json", awaits, "outer" if program == "chain" else None)
    assert_sums(found.report)
    CHECKS[program](found)


@pytest.mark.parametrize("awaits", ["sampled", "exact"])
def test_a_running_trace(awaits: str, tmp_path: Path) -> None:
    """
    A trace is reported on while it runs, again and again; and afterwards of what it wrote.
    """
    found: list[Report] = []

    async def main() -> None:
        trace = fgtrace.trace(tmp_path / "t.json", hz=HZ, awaits=awaits, max_memory=1 << 20).start()
        napper = asyncio.create_task(asyncio.sleep(60), name="napper")
        for _ in range(3):
            await asyncio.sleep(0.05)
            found.append(trace.report(group="task"))
        napper.cancel()
        trace.stop()
        found.append(trace.report(group="task"))

    asyncio.run(main())
    assert found[0].duration_ns < found[1].duration_ns < found[2].duration_ns < found[3].duration_ns
    for report in found:
        assert_sums(report)
        assert [group.name for group in report.groups if group.name.startswith("napper")]
        assert report.awaits == awaits
    assert {"sleep"} <= {part.name for group in found[0].groups for part in group.parts}


def test_states_are_needed(tmp_path: Path) -> None:
    """
    Without states there is nothing to say, and that is said, while it runs and afterwards.
    """
    trace = fgtrace.trace(tmp_path / "t.json", state_frames="no").start()
    with pytest.raises(fgtrace.ConfigError, match="state_frames"):
        trace.report()
    trace.stop()
    with pytest.raises(fgtrace.ConfigError, match="state_frames"):
        trace.report()


def test_when_there_is_nothing(tmp_path: Path) -> None:
    """
    A trace that was not started, or cannot be read back, says so.
    """
    trace = fgtrace.trace(tmp_path / "t.folded")
    with pytest.raises(fgtrace.TraceStateError, match="is not running"):
        trace.report()
    trace.start().stop()
    with pytest.raises(fgtrace.TraceStateError, match="as folded"):
        trace.report()
    in_memory = fgtrace.trace(io.BytesIO()).start()
    in_memory.report()
    in_memory.stop()
    with pytest.raises(fgtrace.TraceStateError, match="cannot be read back"):
        in_memory.report()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_not_in_a_child(tmp_path: Path) -> None:
    """
    In the child of a fork there is no such trace.
    """
    trace = fgtrace.trace(tmp_path / "t.json").start()
    reader, writer = os.pipe()
    if (child := fork()) == 0:
        try:
            trace.report()
        except fgtrace.TraceStateError:
            os.write(writer, b"refused")
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with open(reader, "rb") as file:
        assert file.read() == b"refused"
    trace.stop()


@pytest.mark.parametrize("suffix", ["json", "json.gz", "pftrace", "pftrace.gz"])
def test_every_format_that_can_be_read(suffix: str, tmp_path: Path) -> None:
    """
    Who woke whom and who holds what survive all formats.
    """
    first = run("deadlock", tmp_path / f"a.{suffix}", "exact", task="left").report
    assert sorted(name.partition(" ")[0] for name in first.cycles[0].tasks) == ["left", "right"]
    second = run("locked", tmp_path / f"b.{suffix}", "exact").report
    assert the_wait(second, "lock wait", "want").holders[0].task.startswith("holder ")


def test_a_loop_blocked_by_a_callback(tmp_path: Path) -> None:
    """
    What blocks a loop may be no task: the callback is named, sampled or not.
    """

    def slow() -> None:
        time.sleep(0.15)

    async def main(awaits: str) -> None:
        trace = fgtrace.trace(tmp_path / f"{awaits}.json", hz=HZ, awaits=awaits).start()
        await asyncio.sleep(0.02)
        asyncio.get_running_loop().call_soon(slow)
        await asyncio.sleep(0.03)
        trace.stop()

    for awaits in ("sampled", "exact"):
        asyncio.run(main(awaits))
        report = reports.report(tmp_path / f"{awaits}.json")
        longest = report.blocked[0]
        assert longest.kind == "callback"
        assert "slow" in " ".join((longest.name, *longest.stack))
        assert longest.duration_ns > 100_000_000


@pytest.mark.parametrize("awaits", ["sampled", "exact"])
@pytest.mark.parametrize("suffix", ["json", "pftrace"])
def test_requests(suffix: str, awaits: str, tmp_path: Path) -> None:
    """
    A task that serves a request is called by its route alone, and grouped by it.
    """

    async def handle(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.1)
        time.sleep(0.15)

    async def main() -> None:
        app = fgtrace.asgi.RequestMiddleware(handle)
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/users/7",
            "path_template": "/users/{id}",
            "headers": [],
        }
        for _ in range(2):
            await asyncio.create_task(app(scope, None, None))  # type: ignore[arg-type]

    with fgtrace.trace(tmp_path / f"t.{suffix}", hz=HZ, awaits=awaits):
        asyncio.run(main())
    report = reports.report(tmp_path / f"t.{suffix}", reports.Ask(group="task", task="GET /users/*"))
    (group,) = (each for each in report.groups if each.name == "GET /users/{id}")
    assert group.tasks == 2
    assert {each.name for each in report.blocked} == {"GET /users/{id}"}
    assert len(report.paths) == 2
    assert_sums(report)
    by_function = reports.report(tmp_path / f"t.{suffix}")
    assert the_part(by_function, "handle", "sleep").each.max_ns > 0


def test_paths_of_several(tmp_path: Path) -> None:
    """
    A pattern asks for the paths of all tasks that it fits; one that fits none is an error.
    """
    report = run("locked", tmp_path / "t.json", "exact", task="waiter *").report
    assert len(report.paths) == 10
    assert all(isinstance(path, CriticalPath) for path in report.paths)
    assert_sums(report)
    with pytest.raises(fgtrace.ConfigError, match="no task"):
        reports.report(tmp_path / "t.json", reports.Ask(task="nobody"))
