"""
The debug hook, which `fgtrace.install` starts.

Theory of operation: a trigger only says that something went wrong. A thread of the hook handles it: the
thread cuts the flight recorder's window, finds the culprit in it, and writes a dump. So no trigger takes the
program longer than an append to a list, not even in a signal's handler; and a blocked loop is dumped while it
is still blocked, so that the dump ends with the culprit.
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
from fgtrace._output.writer_process import write_by_process
from fgtrace._sampling.collect.task_discovery import LoopFinder
from fgtrace._sampling.periodic_thread import PeriodicThread
from fgtrace._session.flight_recorder import FlightRecorder
from fgtrace._watchdog.blocked_loops import BlockedLoop, BlockedLoopDetector
from fgtrace._watchdog.culprit import Culprit, of_error, of_frame, of_task, who_held
from fgtrace._watchdog.dump_folder import DumpFolder
from fgtrace._watchdog.hook_options import HookOptions
from fgtrace._watchdog.loop_exceptions import LoopExceptions
from fgtrace._watchdog.stuck_tasks import StuckTask, StuckTaskDetector
from fgtrace.errors import ConfigError, FgtraceError, TraceStateError

__all__ = ["DebugHook"]

#: Triggers that wait for the hook's thread; in a flood the oldest are dropped.
MOST_WAITING = 100

_log = logging.getLogger("fgtrace")


class _Trigger(NamedTuple):
    """
    Something that went wrong.

    Args:
        reason: a word, for the dump's name.
        message: a sentence, for the log.
        culprit: finds the culprit in the captured trace; it returns None for a false alarm.
    """

    reason: str
    message: str
    culprit: Callable[[CapturedTrace], object]


class DebugHook:
    """
    Watches this process; see `fgtrace.install`.

    Attributes:
        options: the effective options.
        recorder: its flight recorder.
        is_active: whether it watches: see ``when``.
        dumped: how many dumps it wrote.
        left_out: how many triggers came too soon after a dump.
        pid: the id of its process.
    """

    def __init__(self, options: HookOptions) -> None:
        self.options = options
        slow = options.slow_callback_duration
        more = {} if slow is None else {"slow_callback_duration": slow}
        self.recorder = FlightRecorder(options.seconds, **{**more, **options.recorder})
        self.is_active = False
        self.dumped = self.left_out = 0
        self.pid = os.getpid()
        self._dumps = DumpFolder(
            os.fspath(options.folder), max_files=options.max_files, max_bytes=options.max_bytes,
            format_=options.format,
        )  # fmt: skip
        self._finder = LoopFinder()
        self._loops = BlockedLoopDetector(slow, self._finder)
        self._tasks = StuckTaskDetector(options.stuck, self._finder) if options.stuck is not None else None
        self._waiting: deque[_Trigger] = deque(maxlen=MOST_WAITING)
        self._worker = PeriodicThread("fgtrace watch", self._loops.period, self._check, self._fail)
        self._next = 0.0  # from when on it may dump
        self._reported = 0  # how many of `left_out` the log has
        self._exceptions = LoopExceptions(self._on_exception) if options.exceptions else None
        self._signal: signal.Signals | None = None
        self._before: Any = None  # the program's handler of that signal

    @property
    def obstacle(self) -> OSError | None:
        """
        Return why no dump could be written now; None: no reason is known.
        """
        return self._dumps.obstacle()

    def start(self) -> None:
        """
        Start watching, unless ``when`` says only in debug mode.
        """
        if self.options.when == "debug" and not _is_debugging():
            return
        self._worker.start()  # first: at a fork a thread that starts others is paused before them
        try:
            self.recorder.start()
            self._install_signal_handler()
        except BaseException:
            self._worker.stop()
            if self.recorder.is_running:
                self.recorder.stop()
            raise
        if self._exceptions is not None:
            self._exceptions.start()
        self.is_active = True
        atexit.register(self._at_exit)  # after the recorder's own, so that it is called before

    def stop(self) -> None:
        """
        Dump what has gone wrong until now, stop watching, and leave nothing behind.

        Raises:
            TraceStateError: it took a signal, and this is not the main thread.
        """
        self._restore_signal_handler()
        atexit.unregister(self._at_exit)
        self._worker.stop()
        if self.is_active and self._exceptions is not None:
            self._exceptions.stop()
        self.is_active = False
        if self.recorder.is_running:
            while self._waiting:
                self._handle(self._waiting.popleft())
            self.recorder.stop()

    def _at_exit(self) -> None:
        """
        Stop as the interpreter ends: the trigger that ended the program is still dumped.
        """
        if self.pid == os.getpid():
            self.stop()

    def trigger(self, reason: str, said: str = "", culprit: object = "") -> None:
        """
        Request a dump, unless there was one just now. It returns at once, and may be called anywhere.

        Args:
            reason: a word of small letters, which becomes a part of the file's name.
            said: a sentence for the log.
            culprit: the culprit, for the log.

        Raises:
            ConfigError: the reason is no such word.
        """
        if not (reason.isascii() and reason.isalpha() and reason.islower()):
            raise ConfigError("reason", reason, "allowed is a word of small letters")
        self._put(_Trigger(reason, said or reason, lambda _: culprit))

    def _put(self, trigger: _Trigger) -> None:
        self._waiting.append(trigger)
        self._worker.wake()

    # triggers: these run in the program's threads

    def _on_exception(self, context: dict[str, Any]) -> None:
        culprit = of_error(context)
        self._put(_Trigger("exception", "an exception reached an event loop's handler", lambda _: culprit))

    def _install_signal_handler(self) -> None:
        number = self.options.signal_number
        if number is None or threading.current_thread() is not threading.main_thread():
            return
        before = signal.getsignal(number)
        if before is None:
            raise ConfigError("signal", number.name, "allowed is one whose handler is Python's")
        self._signal, self._before = number, before
        signal.signal(number, self._on_signal)

    def _restore_signal_handler(self) -> None:
        if self._signal is None:
            return
        if threading.current_thread() is not threading.main_thread():
            raise TraceStateError(f"only the main thread can give {self._signal.name} back")
        if signal.getsignal(self._signal) == self._on_signal:  # else the program has set another handler
            signal.signal(self._signal, self._before)
        self._signal = None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.pid == os.getpid():
            culprit = of_frame("the main thread", frame)
            self._put(_Trigger("signal", f"signal {signal.Signals(number).name}", lambda _: culprit))
        elif self._before == signal.SIG_DFL:  # in a child: as if the hook were not there
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if callable(self._before):
            self._before(number, frame)

    # these run in the hook's thread

    def _check(self) -> None:
        if self.options.blocked:
            for blocked in self._loops.check():
                self._handle(_of_blocked(blocked))
        if self._tasks is not None:
            for stuck in self._tasks.check():
                self._handle(_of_stuck(stuck, self.recorder))
        if self._exceptions is not None:
            self._exceptions.wrap_new_loops()
        while self._waiting:
            self._handle(self._waiting.popleft())
        self._worker.period = self._loops.period

    def _handle(self, trigger: _Trigger) -> None:
        now = time.monotonic()
        if now < self._next:
            self.left_out += 1
            if trigger.reason == "signal":  # a person waits for the dump
                _log.warning(
                    "%s; no dump: the last one is less than %g s old", trigger.message, self.options.interval
                )
            return
        try:
            self._dump(trigger, now)
        except (FgtraceError, OSError) as error:
            _log.warning("%s; no dump: %s", trigger.message, error)

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
        sink.write_with(partial(write_by_process, captured))
        self.dumped += 1
        gone = self._dumps.prune()
        more, self._reported = self.left_out - self._reported, self.left_out
        _log.warning(
            "%s: %s; the %.1f s before are in %s%s%s", trigger.message, culprit, captured.end / 1e9, path,
            f" ({more} more since the last dump)" if more else "",
            f", which is too large to be kept: see max_bytes={self.options.max_bytes}"
            if os.path.basename(path) in gone else "",
        )  # fmt: skip

    def _fail(self, error: Exception) -> None:
        _log.warning("the debug hook failed and has stopped watching: %s", error, exc_info=error)


def _of_blocked(blocked: BlockedLoop) -> _Trigger:
    active = threading._active  # type: ignore[attr-defined]  # enumerate() would take a lock of the program's
    thread = active.get(blocked.ident)
    native, name = getattr(thread, "native_id", None) or 0, getattr(thread, "name", "")

    def culprit(captured: CapturedTrace) -> object:
        since = captured.end - round((time.perf_counter() - blocked.since) * 1e9)
        found = who_held(captured, max(0, since), native, name)
        return None if blocked.is_guess and found.is_thread else found

    what = f"was blocked for {blocked.seconds:.3f} s" if blocked.is_over else "is blocked"
    return _Trigger("blocked", f"an event loop {what}", culprit)


def _of_stuck(stuck: StuckTask, recorder: FlightRecorder) -> _Trigger:
    message = f"a task is in one await for {stuck.seconds:.1f} s"

    def culprit(_: CapturedTrace) -> Culprit | None:
        task = stuck.task()
        return None if task is None else of_task(task, recorder.config)  # None: it went on meanwhile

    return _Trigger("stuck", message, culprit)


def _is_debugging() -> bool:
    """
    Return whether asyncio's debug mode is on for the loop that runs here, or without one for new loops.
    """
    events = sys.modules.get("asyncio.events")
    loop = events._get_running_loop() if events is not None else None
    if loop is not None:
        return bool(loop.get_debug())
    from_environment = not sys.flags.ignore_environment and bool(os.environ.get("PYTHONASYNCIODEBUG"))
    return sys.flags.dev_mode or from_environment
