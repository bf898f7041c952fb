"""
`trace`, `Config` and `Trace`: what a program uses to trace itself.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, cast

from fgtrace._formats.destination import make_sink
from fgtrace._options.options import CHECKS, Destination, Options
from fgtrace._options.parsing import refuse_unknown
from fgtrace._output.metadata import metadata
from fgtrace._recording.wrappers import wrapper
from fgtrace._sampling.choose import make_sampler, tell_running_loop
from fgtrace._sampling.sampler import Sampler
from fgtrace._sampling.stats import Stats
from fgtrace.errors import SinkError, TraceStateError

if TYPE_CHECKING:  # the imports take 20 ms, and only the end of a trace needs them
    from fgtrace._output.captured_trace import CapturedTrace
    from fgtrace.reports import Report

__all__ = ["Config", "Trace", "trace"]

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Options):
    __doc__ = Options.__doc__

    def trace(self) -> Trace:
        """
        Return a trace with these options, not yet started.

            config = fgtrace.Config(hz=200)
            with config.trace():
                work()
        """
        return Trace(self)


def trace(dst: Destination | None = None, **options: Any) -> Trace:
    """
    Return a trace of this process, not yet started; use it with ``with``, ``async with`` or as a decorator.

        async with fgtrace.trace("slow.json", hz=200):
            await my_service()

    Args:
        dst: where the trace goes; None means ``fgtrace.json``.
        options: see `Config`.

    Raises:
        ConfigError: an option has a value that is not allowed.
        UnknownOptionError: an option does not exist.
    """
    if dst is not None:
        options["dst"] = dst
    refuse_unknown("fgtrace.trace", options, CHECKS)
    return Config(**options).trace()


class Trace:
    """
    A trace of this process, from `start` to `stop`; `stop` also writes the file.

    With ``async with`` a thread writes the file, so that the event loop goes on meanwhile. As a decorator the
    trace covers each call of a function or coroutine function; the file is that of the last call.

    While the sampler in Python runs, the interpreter's switch interval is 1 ms; afterwards it is as before.
    The C core, which is the default, leaves it alone.

    A child process (after ``os.fork``) is not traced: `stop` does nothing there.

    Attributes:
        config: the options.
        stats: what the sampler did and what it cost; complete after `stop`.

    The idea of one timeline for all that a program does and does not do, with the state as a frame, is Felix
    Geisendörfer's fgtrace for Go.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.stats = Stats()
        self._sampler: Sampler | None = None
        self._pid = 0
        self._began = 0.0
        self._seconds = 0.0
        self._stopped = False
        # why the destination cannot be written to, as found at the start
        self._obstacle: SinkError | None = None
        self._busy = threading.Lock()  # held while the trace starts, and while its file is written

    def __repr__(self) -> str:
        state = "stopped" if self._stopped else "new" if self._sampler is None else "running"
        return f"<fgtrace.Trace {state} dst={self.config.dst!r}>"

    def start(self) -> Self:
        """
        Start the trace.

        Raises:
            TraceStateError: the trace was started before.
        """
        if self._sampler is not None or self._stopped:
            raise TraceStateError("this trace was started before; make another one with fgtrace.trace()")
        from fgtrace._formats.write import encoder_of

        # the imports take 20 ms, which are better spent now than as the interpreter ends
        importlib.import_module("fgtrace._output.captured_trace")
        encoder_of(str(self.config.effective_format))
        self._pid = os.getpid()
        self._began = time.time()
        self._sampler = make_sampler(self.config)
        self._sink = make_sink(self.config.dst, str(self.config.effective_format))
        self._obstacle = self._sink.begin()
        self.stats = self._sampler.stats
        tell_running_loop(self._sampler)
        with self._busy:
            atexit.register(self._at_exit)
            try:
                self._sampler.start()
            except BaseException:  # the system may give no thread: leave nothing behind
                self._sampler = None
                atexit.unregister(self._at_exit)
                self._sink.abandon()
                raise
        return self

    def stop(self, *, progress: Callable[[int, int], None] | None = None) -> None:
        """
        Stop the trace, and write its file.

        Args:
            progress: called now and then, with the observations written and their total.

        Raises:
            TraceStateError: the trace is not running.
            SinkError: the destination could not be opened or written.
        """
        sampler = self._finish()
        if sampler is not None:
            self._write(sampler, progress)

    def report(self, **asked: Any) -> Report:
        """
        Return where the time went: of a running trace from what was recorded so far, afterwards from its
        file.

            with fgtrace.trace("job.json") as trace:
                work()
            print(trace.report(top=3).to_json())

        Args:
            asked: see `fgtrace.reports.Ask`.

        Raises:
            ConfigError: a value is not allowed, or the task does not exist.
            TraceStateError: the trace was not started, or its file has a format that cannot be read back.
            OSError, TraceFormatError: the file cannot be read any more.
        """
        from fgtrace._output.live_report import of_captured, of_file

        if self._stopped:
            return of_file(self.config, asked)
        sampler = self._sampler
        if sampler is None or os.getpid() != self._pid:
            raise TraceStateError(
                "this trace is not running in this process, and has written no file: nothing to report"
            )
        recording, end = sampler.snapshot()
        return of_captured(self._captured(sampler)._replace(recording=recording, end=end), asked)

    def _stop_and_report(self, progress: Callable[[int, int], None], most: int) -> Report | None:
        """
        Stop as `stop` does, and return a report; None: the trace has no states, or more than ``most``
        observations.
        """
        from fgtrace._output.live_report import of_captured

        sampler, found = self._finish(), []
        if sampler is not None:
            seen = sampler.recording.observations + sampler.recording.stepped
            has_report = seen <= most and self.config.state_frames != "no"
            report = [lambda captured: found.append(of_captured(captured, {}))]
            self._write(sampler, progress, also=report if has_report else ())
        return found[0] if found else None

    def _capture(self) -> CapturedTrace | None:
        """
        Stop the trace without writing it, and return what it recorded; None: this is a child process.

        The caller writes it, and closes its recording.

        Raises:
            TraceStateError: the trace is not running.
        """
        sampler = self._finish()
        if sampler is None:
            return None
        self._sink.abandon()
        atexit.unregister(self._at_exit)
        return self._captured(sampler)

    def abandon(self) -> None:
        """
        Stop the trace and discard what it recorded; the destination stays as it was.

        Raises:
            TraceStateError: the trace is not running.
        """
        captured = self._capture()
        if captured is not None:
            captured.recording.close()

    @property
    def seconds(self) -> float:
        """
        Return how long the trace has been running, or ran; 0 before `start`.
        """
        return self._sampler.now() / 1e9 if self._sampler is not None else self._seconds

    def _finish(self) -> Sampler | None:
        """
        End the sampling and return the sampler; None in a child process, which has none.
        """
        sampler, self._sampler = self._sampler, None
        if sampler is None:
            raise TraceStateError(
                "this trace is not running" + (": it was stopped before" if self._stopped else "")
            )
        self._stopped = True
        if os.getpid() != self._pid:
            return None
        sampler.stop()
        self._seconds = sampler.end / 1e9
        return sampler

    def _write(
        self,
        sampler: Sampler,
        progress: Callable[[int, int], None] | None = None,
        pace: Callable[[Iterable[bytes]], Iterable[bytes]] = iter,
        also: Iterable[Callable[[CapturedTrace], None]] = (),
    ) -> None:
        with self._busy:
            try:
                captured = self._captured(sampler)
                self._sink.write(pace(captured.chunks(progress)))
                for each in also:
                    each(captured)
            finally:
                sampler.recording.close()
                atexit.unregister(self._at_exit)

    def _captured(self, sampler: Sampler) -> CapturedTrace:
        from fgtrace._output.captured_trace import CapturedTrace  # `start` has imported it

        about = metadata(self.config, sampler, self._pid, self._began)
        return CapturedTrace(sampler.recording, self.config, sampler.end, self._pid, about)

    def _at_exit(self) -> None:
        """
        Write the trace as the interpreter ends, or wait for the thread that is writing it.
        """
        with self._busy:  # another thread may just be starting the trace
            pass
        with suppress(TraceStateError):
            self._quietly(self.stop)
        with self._busy:
            pass

    def _quietly(self, do: Callable[[], None]) -> None:
        """
        Call a function whose `SinkError` nobody could handle, and log that.
        """
        try:
            do()
        except SinkError as error:
            import logging  # the import takes 10 ms, and only a failure needs it

            logging.getLogger("fgtrace").warning("%s", error)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is None:
            self.stop()
        else:
            self._quietly(self.stop)

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(self, kind: object, *rest: object) -> None:
        sampler = self._finish()
        if sampler is None:
            return
        from fgtrace._output.pacing import paced  # only `async with` needs these
        from fgtrace._output.side_threads import in_thread

        failed = await in_thread(functools.partial(self._write, sampler, pace=paced))
        if failed is not None and kind is None:
            raise failed
        if failed is not None:
            self._quietly(functools.partial(_raise, failed))

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """
        Trace each call of a function or coroutine function.

            @fgtrace.trace("handler.json")
            async def handler(request): ...

        Raises:
            TypeError: the function is a generator function, whose body does not run while it is called.
        """
        import inspect  # the import takes 15 ms, and only decorators need it

        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"{function.__qualname__} is a generator function: say `with fgtrace.trace()` within it"
            )
        config = self.config
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            @wrapper("call")
            async def wrapped_coroutine(*args: P.args, **kwargs: P.kwargs) -> Any:
                async with config.trace():
                    return await function(*args, **kwargs)

            return cast("Callable[P, R]", wrapped_coroutine)

        @functools.wraps(function)
        @wrapper("call")
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
            with config.trace():
                return function(*args, **kwargs)

        return wrapped


def _raise(error: BaseException) -> None:
    raise error
