"""
The threads of fgtrace itself take no signals: the program's go to the program.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

import fgtrace
from live import until
from tick_count import wait_for_ticks

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="masks of other threads are read in /proc"),
    pytest.mark.usefixtures("core"),
]

#: What a program may take by ``sigwait``; not what a thread brings upon itself.
TAKEN = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD, signal.SIGRTMIN)

#: What it brings upon itself.
FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE}


def masks() -> dict[str, set[int]]:
    """
    The blocked signals of each thread of this process, by its native id.
    """
    found = {}
    for task in Path("/proc/self/task").iterdir():
        try:
            lines = (task / "status").read_text().splitlines()
        except OSError:  # it has ended
            continue
        (mask,) = [int(line.split()[1], 16) for line in lines if line.startswith("SigBlk:")]
        found[task.name] = {number for number in range(1, 65) if mask >> (number - 1) & 1}
    return found


@pytest.mark.parametrize("awaits", ["sampled", "exact"])
def test_all_signals_are_blocked(awaits: str, tmp_path: Path) -> None:
    """
    In each thread that the doors start, while the program's own threads have theirs as before.
    """
    before = masks()
    with ExitStack() as stack:
        stack.callback(fgtrace.uninstall)
        fgtrace.install(tmp_path, awaits=awaits)
        stack.enter_context(fgtrace.trace(tmp_path / "t.json", awaits=awaits))
        server = stack.enter_context(fgtrace.serve(port=0))
        wait_for_ticks(3)
        listening = masks()
        stack.enter_context(socket.create_connection((server.host, server.port)))
        until(lambda: bool(masks().keys() - listening.keys()))  # a connection has a thread of its own
        until(
            lambda: not any(mask & FAULTS for mask in masks().values())
        )  # the C library blocks all at first
        during = masks()
    ours = during.keys() - before.keys()
    assert len(ours) >= 5
    for each in ours:
        assert during[each].issuperset(TAKEN)
        assert during[each].isdisjoint(FAULTS)
    assert {each: during[each] for each in before if each in during} == {
        each: mask for each, mask in before.items() if each in during
    }


PROGRAM = """
import os, signal, sys, time
import fgtrace
how, folder = sys.argv[1:]
if how == "hook":
    fgtrace.install(folder)
elif how != "nothing":
    fgtrace.trace(folder + "/t.json", awaits=how).start()
time.sleep(0.1)
for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGRTMIN):
    signal.pthread_sigmask(signal.SIG_BLOCK, [number])
    os.kill(os.getpid(), number)
    print(signal.sigwait([number]) == number, flush=True)
"""


@pytest.mark.parametrize("how", ["nothing", "sampled", "exact", "hook"])
def test_program_that_waits_for_signals(how: str, tmp_path: Path) -> None:
    """
    It gets those that were sent to its process, and is not ended by them.
    """
    command = [sys.executable, "-c", PROGRAM, how, str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["True"] * 3, "")


def test_handler_that_raises_as_a_trace_starts(tmp_path: Path) -> None:
    """
    The program's mask is as before, whatever its handlers do meanwhile.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, seen.append, 1)
        for _ in range(20):
            os.kill(os.getpid(), signal.SIGUSR1)
            with fgtrace.trace(tmp_path / "t.json"):
                os.kill(os.getpid(), signal.SIGUSR1)
                await asyncio.sleep(0)
        await asyncio.to_thread(until, lambda: bool(seen))
        loop.remove_signal_handler(signal.SIGUSR1)

    seen: list[int] = []
    asyncio.run(main())
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
