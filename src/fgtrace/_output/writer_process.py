"""
The writer process: it makes the file of a captured trace, so that the program goes on as if nothing were
written.

A timeline and its encoder are seconds of work in Python, and within the program's own interpreter the program
waits for every moment of it. So the captured trace goes to a temporary file (see `fgtrace._output.transfer`),
and an interpreter of its own makes the trace file of that. It works with the lowest priority, so that it
takes what processors have to spare; after a while it works as any other process, since a user waits for the
file.

The interpreter is the program's once more, without site and isolated (``-S -I``): neither environment
variables nor the program's own modules affect it. Its input, its output and its last word are files or pipes;
it inherits no socket of the program, and no signal handler is needed, as `subprocess` waits for this one
process. Where no process can be had, the caller's thread writes the file.
"""

from __future__ import annotations

import marshal
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any

from fgtrace._formats.destination import packing
from fgtrace._options.options import GZIPPED
from fgtrace._output.captured_trace import CapturedTrace
from fgtrace._output.pacing import PATIENCE, considerate, paced
from fgtrace._output.transfer import pack_trace, unpack_trace

if TYPE_CHECKING:
    from subprocess import Popen

__all__ = ["write_by_process", "write_for_parent"]

#: Observations and steps that are worth a process: its start takes as long as writing some hundred of them.
WORTH = 500
#: What the writer process sends last.
_WHOLE = b"whole"
#: Milliseconds between two calls of `check` while the writer process works.
_CHECK_EVERY = 100
_LOWEST = 19
_CALL = (
    "import sys; sys.path += sys.argv[1:]; "
    "from fgtrace._output import writer_process; writer_process.write_for_parent()"
)


def write_by_process(
    captured: CapturedTrace,
    file: IO[bytes],
    *,
    compress: bool = False,
    check: Callable[[], object] = lambda: None,
) -> None:
    """
    Write a captured trace to a file: by a writer process where one can be had, else here, with pauses.

    Args:
        captured: the trace; it stays as it is.
        file: a real file, empty.
        compress: whether to use gzip; packed formats are packed in any case.
        check: called now and then; what it raises ends the writing, and is raised again.

    Raises:
        OSError: the file could not be written.
    """
    compress = compress or captured.format in GZIPPED
    if not _is_written_by_process(captured, file, check, compress=compress):
        pace = considerate(captured.options.max_overhead, PATIENCE + captured.end / 1e9)
        with packing(file, compress=compress) as target:
            for chunk in pace(captured.chunks()):
                check()
                target.write(chunk)
        file.flush()  # its descriptor has all of it now


def _is_written_by_process(
    captured: CapturedTrace,
    file: IO[bytes],
    check: Callable[[], object],
    *,
    compress: bool,
) -> bool:
    if captured.recording.observations + captured.recording.stepped < WORTH:
        return False
    name = os.path.basename(sys.executable or "")
    if os.name != "posix" or getattr(sys, "frozen", False) or not name.startswith(("python", "pypy")):
        return False  # there is no interpreter that could be started
    try:
        with TemporaryFile(prefix="fgtrace-") as transfer:
            for value in paced(map(marshal.dumps, _packed(captured, compress=compress))):
                transfer.write(value)
                check()
            transfer.seek(0)
            process = _start(transfer, file)
    except (OSError, ValueError):  # no room, no process; or something that is no plain value
        return False
    with process:
        try:
            is_whole = _is_whole(process, check)
        except BaseException:
            process.kill()
            raise
    if not is_whole:
        file.seek(0)
        file.truncate()
    return is_whole


def _packed(captured: CapturedTrace, *, compress: bool) -> Iterator[Any]:
    yield compress, PATIENCE + captured.end / 1e9
    yield from pack_trace(captured)
    yield None


def _start(source: IO[bytes], target: IO[bytes]) -> Popen[bytes]:
    import subprocess  # costs 8 ms to import

    import orjson

    package = os.path.dirname(os.path.dirname(__file__))
    places = [os.path.dirname(each) for each in (package, os.path.dirname(str(orjson.__file__)))]
    return subprocess.Popen(  # noqa: S603 - this interpreter, and where its modules are
        [sys.executable, "-S", "-I", "-c", _CALL, *places],
        stdin=source, stdout=target, stderr=subprocess.PIPE,
    )  # fmt: skip


def _is_whole(process: Popen[bytes], check: Callable[[], object]) -> bool:
    assert process.stderr is not None  # noqa: S101 - it has a pipe
    message, stream = b"", process.stderr.fileno()
    poll = select.poll()
    poll.register(stream, select.POLLIN)
    while True:
        if poll.poll(_CHECK_EVERY):
            chunk = os.read(stream, 4096)
            if not chunk:
                break
            message = (message + chunk)[-4096:]
        check()
    if message != _WHOLE:
        import logging  # costs 10 ms to import, and is needed when something failed

        logging.getLogger("fgtrace").debug(
            "writing in a process of its own failed, and is done here: %s", message.decode(errors="replace")
        )
    return message == _WHOLE


# in the writer process


def write_for_parent() -> None:
    """
    Read a captured trace from the standard input, and write its file to the standard output.
    """
    _give_way()
    values = iter(lambda: marshal.load(sys.stdin.buffer), None)  # noqa: S302 - it is from ourselves
    compress, patience = next(values)
    with packing(sys.stdout.buffer, compress=compress) as file:
        _run_at_low_priority(map(file.write, _chunks(values)), patience)
    sys.stdout.buffer.flush()
    os.write(sys.stderr.fileno(), _WHOLE)


def _give_way() -> None:
    """
    Leave to the program what is meant for it: an interrupt from the terminal, and memory where it is short.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):  # a thread that blocks them may have started this
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
    with suppress(OSError), open("/proc/self/oom_score_adj", "wb") as score:  # Linux; not in every sandbox
        score.write(b"1000")


def _chunks(values: Iterator[Any]) -> Iterator[bytes]:
    yield from unpack_trace(values).chunks()


def _run_at_low_priority(work: Iterator[object], patience: float) -> None:
    """
    Consume an iterator with the lowest priority for some seconds, then with that of the process.

    An unprivileged thread may lower its priority and cannot raise it again. So a thread of its own begins the
    work with nice 19 and `SCHED_IDLE`, under which any other thread that wakes runs first; when the time is
    over, this thread goes on.
    """
    is_over = threading.Event()
    failed: list[BaseException] = []

    def work_at_low_priority() -> None:
        try:
            with suppress(OSError):  # a sandbox
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST)
            for place, _ in enumerate(work):
                if is_over.is_set():
                    return
                if place == 0:  # not before: the first item is much work, which `thread.join` would wait for
                    with suppress(OSError):
                        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        except BaseException as error:  # raised below
            failed.append(error)

    if sys.platform == "linux":  # elsewhere priorities are of processes
        thread = threading.Thread(target=work_at_low_priority)
        thread.start()
        thread.join(patience)
        is_over.set()
        thread.join()
    for error in failed:
        raise error
    for _ in work:
        pass
