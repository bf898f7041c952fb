"""
Writing a captured trace in a process of its own, so that the program goes on as if nothing were written.

To draw and encode a trace is Python's work, seconds of it, and within the program's own interpreter each
moment of it is one that the program waits for. So the captured trace goes to a file (see
`fgtrace._output.transfer`), and an
interpreter that is started for it makes the trace of it. It works with the lowest priority, so that it takes
what processors have to spare; for a while, for somebody waits for the trace.

It is this interpreter once more, without site and isolated (``-S -I``): neither environment variables nor
the program's own modules have a say in it. It gets its input, its output and its end as files, sees no
socket of the program, and needs no signal handler, as `subprocess` waits for this one process. Where no
process can be had, the caller does it in place.
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
from fgtrace._options.options import PACKED
from fgtrace._output.captured_trace import CapturedTrace
from fgtrace._output.pacing import PATIENCE, considerate, paced
from fgtrace._output.transfer import pack_trace, unpack_trace

if TYPE_CHECKING:
    from subprocess import Popen

__all__ = ["write_aside", "write_for_parent"]

#: Observations and steps that are worth a process: it takes as long to start as some hundred to be written.
WORTH = 500
#: What the other process says last.
_WHOLE = b"whole"
#: Milliseconds between two questions whether it is still wanted.
_ASK_EVERY = 100
_LOWEST = 19
_CALL = (
    "import sys; sys.path += sys.argv[1:]; "
    "from fgtrace._output import writer_process; writer_process.write_for_parent()"
)


def write_aside(
    captured: CapturedTrace,
    file: IO[bytes],
    *,
    compress: bool = False,
    check: Callable[[], object] = lambda: None,
) -> None:
    """
    Write a captured trace to a file: in a process of its own where there can be one, else here, with pauses.

    Args:
        captured: stays as it is.
        file: a real one, empty.
        compress: with gzip; formats that are packed anyway are in any case.
        check: called now and then; what it raises ends the writing, and comes out of this.

    Raises:
        OSError: it could not be written.
    """
    compress = compress or captured.format in PACKED
    if not _is_written_apart(captured, file, compress, check):
        pace = considerate(captured.options.max_overhead, PATIENCE + captured.end / 1e9)
        with packing(file, compress=compress) as target:
            for piece in pace(captured.pieces()):
                check()
                target.write(piece)
        file.flush()  # who has only its number sees all of it


def _is_written_apart(
    captured: CapturedTrace,
    file: IO[bytes],
    compress: bool,  # noqa: FBT001 - as of `write_aside`
    check: Callable[[], object],
) -> bool:
    if captured.recording.observations + captured.recording.stepped < WORTH:
        return False
    name = os.path.basename(sys.executable or "")
    if os.name != "posix" or getattr(sys, "frozen", False) or not name.startswith(("python", "pypy")):
        return False  # no interpreter of its own is at hand
    try:
        with TemporaryFile(prefix="fgtrace-") as parcel:
            for value in paced(map(marshal.dumps, _sent(captured, compress))):
                parcel.write(value)
                check()
            parcel.seek(0)
            process = _start(parcel, file)
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


def _sent(captured: CapturedTrace, compress: bool) -> Iterator[Any]:  # noqa: FBT001 - as of `write_aside`
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
    said, stream = b"", process.stderr.fileno()
    poll = select.poll()
    poll.register(stream, select.POLLIN)
    while True:
        if poll.poll(_ASK_EVERY):
            piece = os.read(stream, 4096)
            if not piece:
                break
            said = (said + piece)[-4096:]
        check()
    if said != _WHOLE:
        import logging  # costs 10 ms to import, and is needed when something failed

        logging.getLogger("fgtrace").debug(
            "writing in a process of its own failed, and is done here: %s", said.decode(errors="replace")
        )
    return said == _WHOLE


# in the other process


def write_for_parent() -> None:
    """
    Make a file, the standard output, of the captured trace that comes by the standard input.
    """
    _give_way()
    values = iter(lambda: marshal.load(sys.stdin.buffer), None)  # noqa: S302 - it is from ourselves
    compress, patience = next(values)
    with packing(sys.stdout.buffer, compress=compress) as file:
        _in_turns(map(file.write, _pieces(values)), patience)
    sys.stdout.buffer.flush()
    os.write(sys.stderr.fileno(), _WHOLE)


def _give_way() -> None:
    """
    What is for the program is not for us: an interrupt from the terminal; memory, where there is too little.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(OSError), open("/proc/self/oom_score_adj", "wb") as score:  # Linux; not in every sandbox
        score.write(b"1000")


def _pieces(values: Iterator[Any]) -> Iterator[bytes]:
    yield from unpack_trace(values).pieces()


def _in_turns(work: Iterator[object], patience: float) -> None:
    """
    Do it with the lowest priority for so many seconds, then as any process. Nobody may raise his own
    priority, but a thread can be the one that has the lower: nice 19, and of those, who wakes comes first.
    """
    is_over = threading.Event()
    failed: list[BaseException] = []

    def lowly() -> None:
        try:
            with suppress(OSError):  # a sandbox
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST)
            for place, _ in enumerate(work):
                if is_over.is_set():
                    return
                if place == 0:  # before, much is done in one go, and who takes over would have to wait for it
                    with suppress(OSError):
                        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        except BaseException as error:  # it is handed over
            failed.append(error)

    if sys.platform == "linux":  # elsewhere priorities are of processes
        thread = threading.Thread(target=lowly)
        thread.start()
        thread.join(patience)
        is_over.set()
        thread.join()
    for error in failed:
        raise error
    for _ in work:
        pass
