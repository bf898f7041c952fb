"""
The flight recorder under load that lasts: simulated for ten minutes, and for real for some seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import fgtrace
import fgtrace._session.flight_recorder
from fgtrace._model.values import FrameName, Waiter
from fgtrace._options.options import Options
from fgtrace._recording.recording import GONE, OFFSET_BITS, LoopEntry, Recording, TrackEntry
from fgtrace._sampling.collect.requests import RequestNotes
from fgtrace._sampling.collect.task_discovery import LoopFinder
from reading import Trace

MIB = 1024 * 1024
SECOND = 1_000_000_000
MINUTES = 10
TASKS_A_SECOND = 100


class Service:
    """
    A simulated service and its clock: all samplers that run see its tasks, each in its own way.
    """

    def __init__(self) -> None:
        self.time = 0
        self.samplers: list[SimulatedSampler] = []

    def second(self) -> None:
        """
        A second of short tasks, each waiting in a stack that was never seen before.
        """
        for number in range(TASKS_A_SECOND):
            self.time += SECOND // TASKS_A_SECOND
            for sampler in self.samplers:
                sampler.see(self.time - sampler.began, number)


class SimulatedSampler:
    """
    Notes what the service does, as the samplers do; it has neither clock nor thread.
    """

    awaits = "sampled"

    def __init__(self, service: Service, options: Options) -> None:
        self.service = service
        self.began = service.time
        self.recording = Recording(options.max_memory)
        self.finder = LoopFinder()
        self.stats = fgtrace.Stats()
        self.requests = RequestNotes(self.recording, lambda _: -1, self.now, lambda *_: None)
        self.before = -1
        self.recording.add_loop(LoopEntry("asyncio.Loop", "MainThread"))
        self.steady = self.recording.add_track(TrackEntry("task", "steady", 0, loop=0))
        self.see_steady(0)

    def see_steady(self, now: int) -> None:
        code = self.recording.intern_name(FrameName("app", "serve"), "app.py")
        wait = self.recording.intern_waiter(Waiter("future"))
        self.recording.observe(now, self.steady, self.recording.intern_stack([code << OFFSET_BITS]), wait)

    def see(self, now: int, number: int) -> None:
        recording = self.recording
        track = recording.add_track(TrackEntry("task", f"request {now}", now, loop=0))
        code = recording.intern_name(FrameName("app", f"handler{number}"), "app.py")
        stack = recording.intern_stack([code << OFFSET_BITS | now // SECOND, code << OFFSET_BITS])
        recording.observe(
            now, track, stack, recording.intern_waiter(Waiter("task", "app.Task", max(0, self.before)))
        )
        if self.before >= 0:
            recording.tracks[self.before].end = now
            recording.observe(now, self.before, GONE, 0)
        self.before = track

    def now(self) -> int:
        return self.service.time - self.began

    def open_steps(self, _now: int) -> bytes:
        return b""

    def measure(self) -> None:
        self.stats.observations = self.recording.observations

    def start(self) -> None:
        self.service.samplers.append(self)

    def stop(self) -> None:
        self.service.samplers.remove(self)


@pytest.mark.once
def test_ten_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_trace: Callable[..., Trace]
) -> None:
    """
    Ten minutes of ever new tasks and stacks stay within the memory, no moment is missing when one sampler
    follows another, and a dump at any moment is whole.
    """
    service = Service()
    monkeypatch.setattr(
        fgtrace._session.flight_recorder, "make_sampler", lambda options: SimulatedSampler(service, options)
    )
    with fgtrace.FlightRecorder(30, max_memory=20 * MIB) as recorder:
        for second in range(MINUTES * 60):
            service.second()
            recorder._roll()
            stats = recorder.stats
            assert stats.memory <= 20 * MIB
            assert len(service.samplers) <= 2
            assert stats.seconds == pytest.approx(min(30, second + 1), abs=1.1)
            assert not stats.shortened
            if second % 97 == 50:
                assert recorder.dump(tmp_path / "t.json") == pytest.approx(30)
                trace = read_trace()
                assert len(list(trace.all("request*"))) == pytest.approx(30 * TASKS_A_SECOND, abs=2)
                assert [row.dur for row in trace.track("steady*")] == [30 * SECOND] * 2
        assert recorder.stats.generation > 3


def test_too_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where a window does not fit, it is shorter, and the recorder says so.
    """
    service = Service()
    monkeypatch.setattr(
        fgtrace._session.flight_recorder, "make_sampler", lambda options: SimulatedSampler(service, options)
    )
    with fgtrace.FlightRecorder(60, max_memory=4 * MIB) as recorder:
        for _ in range(100):
            service.second()
            recorder._roll()
            assert recorder.stats.memory <= 4 * MIB
        assert recorder.stats.shortened
        assert 1 < recorder.stats.seconds < 60


@pytest.mark.once
@pytest.mark.parametrize("awaits", ["sampled", "exact"])
def test_thousands_of_short_tasks(
    core: str, awaits: str, tmp_path: Path, read_trace: Callable[..., Trace]
) -> None:
    """
    A real loop that makes thousands of tasks a second: the memory is kept, dumps are whole.
    """
    recorder = fgtrace.FlightRecorder(1, max_memory=16 * MIB, awaits=awaits)
    made = [0]

    async def short(number: int) -> None:
        await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0.001 * (number % 5)))
        made[0] += 1

    async def main() -> None:
        steady = asyncio.create_task(asyncio.sleep(600), name="steady")
        began = time.monotonic()
        for dump in range(3):
            while time.monotonic() < began + 1.25 * (dump + 1):
                await asyncio.gather(*(short(number) for number in range(100)))
            await asyncio.to_thread(recorder.dump, tmp_path / f"{dump}.json", seconds=0.25)
            assert recorder.stats.memory <= 16 * MIB
        steady.cancel()

    with recorder:
        asyncio.run(main())
        assert not recorder.stats.sampling.failed
    assert made[0] > 1000
    for path in sorted(tmp_path.glob("*.json")):
        trace = read_trace(path)
        steady = trace.track("steady*")
        end = max(row.end for rows in trace.all() for row in rows)
        assert (steady[0].ts, steady[0].end, steady[0].name) == (0, end, "sleep")
