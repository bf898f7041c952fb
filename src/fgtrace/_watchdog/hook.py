"""
The debug hook at work: what `fgtrace.install` starts.

Theory of operation: whatever watches only says that something went wrong. A thread of the hook takes that up,
cuts the flight recorder's window, looks in it for the culprit, and writes it. So no trigger takes the program
longer than to append to a list, not even a signal's handler; and a loop that is blocked is dumped while it is
still blocked, so that what blocks it is what the dump ends with.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import FrameType
from typing import Any, NamedTuple

from fgtrace._formats.destination import FileSink
from fgtrace._output.captured_trace import CapturedTrace
from fgtrace._output.writer_process import write_aside
from fgtrace._sampling.collect.task_discovery import LoopFinder
from fgtrace._sampling.periodic_thread import Worker
from fgtrace._session.flight_recorder import FlightRecorder
from fgtrace._watchdog.blocked_loops import BlockedLoop, LoopWatch, StuckTask, TaskWatch
from fgtrace._watchdog.culprit import of_error, of_frame, of_task, who_held
from fgtrace._watchdog.dump_folder import Dumps
from fgtrace._watchdog.hook_options import HookOptions
from fgtrace._watchdog.loop_exceptions import ErrorWatch
from fgtrace.errors import ConfigError, FgtraceError, TraceStateError

__all__ = ["DebugHook"]

#: Triggers that wait for the hook's thread; of a flood the older ones are forgotten.
MOST_WAITING = 100

_log = logging.getLogger("fgtrace")


class _Trigger(NamedTuple):
    """
    What went wrong: a word, a sentence, and who it was, as far as the captured trace tells.
    """

    reason: str
    said: str
    culprit: Callable[[CapturedTrace], object]  # None: it was nothing after all


class DebugHook:
    """
    Watches this process; see `fgtrace.install`.

    Attributes:
        options: the effective ones.
        recorder: its flight recorder.
        is_active: whether it does anything: see ``when``.
        dumped: how many dumps it wrote.
        left_out: how many triggers came too soon after one.
        pid: of its process.
    """

    def __init__(self, options: HookOptions) -> None:
        self.options = options
        slow = options.slow_callback_duration
        more = {} if slow is None else {"slow_callback_duration": slow}
        self.recorder = FlightRecorder(options.seconds, **{**more, **options.recorder})
        self.is_active = False
        self.dumped = self.left_out = 0
        self.pid = os.getpid()
        self._dumps = Dumps(
            os.fspath(options.folder), max_files=options.max_files, max_bytes=options.max_bytes,
            format_=options.format,
        )  # fmt: skip
        self._finder = LoopFinder()
        self._loops = LoopWatch(slow, self._finder)
        self._tasks = TaskWatch(options.stuck, self._finder) if options.stuck is not None else None
        self._waiting: deque[_Trigger] = deque(maxlen=MOST_WAITING)
        self._worker = Worker("fgtrace watch", self._loops.period, self._look, self._fail)
        self._next = 0.0
        self._told = 0  # of `left_out`
        self._errors = ErrorWatch(self._hear) if options.exceptions else None
        self._signal: signal.Signals | None = None
        self._before: Any = None  # the handler that the signal had

    @property
    def obstacle(self) -> OSError | None:
        """
        Why no dump could be written now; None: nothing is known that stands in the way.
        """
        return self._dumps.obstacle()

    def start(self) -> None:
        """
        Begin, unless it is to be only in debug mode.
        """
        if self.options.when == "debug" and not _is_debugging():
            return
        self._worker.start()  # first: who starts others is paused before them when the program forks
        try:
            self.recorder.start()
            self._take_signal()
        except BaseException:
            self._worker.stop()
            if self.recorder.is_running:
                self.recorder.stop()
            raise
        if self._errors is not None:
            self._errors.start()
        self.is_active = True
        atexit.register(self._at_exit)  # after the recorder's own, so that it comes before

    def stop(self) -> None:
        """
        End, and leave nothing; but what has gone wrong is dumped before.

        Raises:
            TraceStateError: it took a signal, and this is not the main thread.
        """
        self._give_signal_back()
        atexit.unregister(self._at_exit)
        self._worker.stop()
        if self.is_active and self._errors is not None:
            self._errors.stop()
        self.is_active = False
        if self.recorder.is_running:
            while self._waiting:
                self._handle(self._waiting.popleft())
            self.recorder.stop()

    def _at_exit(self) -> None:
        """
        The interpreter ends: what went wrong just now, as programs end by it, is still dumped.
        """
        if self.pid == os.getpid():
            self.stop()

    def trigger(self, reason: str, said: str = "", culprit: object = "") -> None:
        """
        Dump soon, unless there was a dump just now. It returns at once, and may be called anywhere.

        Args:
            reason: a word of small letters, which becomes a part of the file's name.
            said: a sentence for the log.
            culprit: who it was, for the log.

        Raises:
            ConfigError: the reason is no such word.
        """
        if not (reason.isascii() and reason.isalpha() and reason.islower()):
            raise ConfigError("reason", reason, "allowed is a word of small letters")
        self._put(_Trigger(reason, said or reason, lambda _: culprit))

    def _put(self, trigger: _Trigger) -> None:
        self._waiting.append(trigger)
        self._worker.wake()

    # triggers, in the program's threads

    def _hear(self, context: dict[str, Any]) -> None:
        culprit = of_error(context)
        self._put(_Trigger("exception", "an exception reached an event loop's handler", lambda _: culprit))

    def _take_signal(self) -> None:
        number = self.options.signal_number
        if number is None or threading.current_thread() is not threading.main_thread():
            return
        before = signal.getsignal(number)
        if before is None:
            raise ConfigError("signal", number.name, "allowed is one whose handler is Python's")
        self._signal, self._before = number, before
        signal.signal(number, self._on_signal)

    def _give_signal_back(self) -> None:
        if self._signal is None:
            return
        if threading.current_thread() is not threading.main_thread():
            raise TraceStateError(f"only the main thread can give {self._signal.name} back")
        if signal.getsignal(self._signal) == self._on_signal:  # else somebody has taken it from us
            signal.signal(self._signal, self._before)
        self._signal = None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.pid == os.getpid():
            culprit = of_frame("the main thread", frame)
            self._put(_Trigger("signal", f"signal {signal.Signals(number).name}", lambda _: culprit))
        elif self._before == signal.SIG_DFL:  # a child: it is as if we were not there
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if callable(self._before):
            self._before(number, frame)

    # in the hook's thread

    def _look(self) -> None:
        if self.options.blocked:
            for blocked in self._loops.look():
                self._handle(_of_blocked(blocked))
        if self._tasks is not None:
            for stuck in self._tasks.look():
                self._handle(_of_stuck(stuck, self.recorder))
        if self._errors is not None:
            self._errors.look()
        while self._waiting:
            self._handle(self._waiting.popleft())
        self._worker.period = self._loops.period

    def _handle(self, trigger: _Trigger) -> None:
        now = time.monotonic()
        if now < self._next:
            self.left_out += 1
            if trigger.reason == "signal":  # somebody waits for it
                _log.warning(
                    "%s; no dump: the last one is less than %g s old", trigger.said, self.options.interval
                )
            return
        try:
            self._dump(trigger, now)
        except (FgtraceError, OSError) as error:
            _log.warning("%s; no dump: %s", trigger.said, error)

    def _dump(self, trigger: _Trigger, now: float) -> None:
        path = self._dumps.new(trigger.reason, time.time())
        options = replace(self.recorder.config, dst=path, format=self.options.format)
        captured = self.recorder.cut(None, options, trigger.reason)
        culprit = trigger.culprit(captured)
        if culprit is None:
            return
        self._next = now + self.options.interval
        captured.about["fgtrace"]["flight"]["culprit"] = str(culprit)
        sink = FileSink(path)
        sink.begin()
        sink.fill(partial(write_aside, captured))
        self.dumped += 1
        gone = self._dumps.prune()
        more, self._told = self.left_out - self._told, self.left_out
        _log.warning(
            "%s: %s; the %.1f s before are in %s%s%s", trigger.said, culprit, captured.end / 1e9, path,
            f" ({more} more since the last dump)" if more else "",
            f", which is too large to be kept: see max_bytes={self.options.max_bytes}"
            if os.path.basename(path) in gone else "",
        )  # fmt: skip

    def _fail(self, error: Exception) -> None:
        _log.warning("the debug hook failed, and watches no more: %s", error, exc_info=error)


def _of_blocked(blocked: BlockedLoop) -> _Trigger:
    active = threading._active  # type: ignore[attr-defined]  # enumerate() takes a lock of the program's
    native = getattr(active.get(blocked.ident), "native_id", None) or 0

    def culprit(captured: CapturedTrace) -> object:
        since = captured.end - round((time.perf_counter() - blocked.since) * 1e9)
        found = who_held(captured, max(0, since), native)
        return None if blocked.is_guess and found.is_thread else found

    said = f"was blocked for {blocked.seconds:.3f} s" if blocked.is_over else "is blocked"
    return _Trigger("blocked", f"an event loop {said}", culprit)


def _of_stuck(stuck: StuckTask, recorder: FlightRecorder) -> _Trigger:
    said = f"a task is in one await for {stuck.seconds:.1f} s"
    return _Trigger("stuck", said, lambda _: of_task(stuck.task, recorder.config))


def _is_debugging() -> bool:
    """
    Whether asyncio's debug mode is on: for the loop that runs here, else for new ones.
    """
    events = sys.modules.get("asyncio.events")
    loop = events._get_running_loop() if events is not None else None
    if loop is not None:
        return bool(loop.get_debug())
    from_environment = not sys.flags.ignore_environment and bool(os.environ.get("PYTHONASYNCIODEBUG"))
    return sys.flags.dev_mode or from_environment
