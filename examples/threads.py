"""
A dozen threads in one second: most wait, each for something else, and some compute.

    python examples/threads.py [OUT]

Open the trace in https://ui.perfetto.dev. Every thread has a track with the name of its function below,
and the outermost slice of a track is its state: `sleep`, `queue wait`, `event wait`, `lock wait`,
`I/O wait`. `compress` is `running` all the time, since zlib releases the GIL while it works. The
three that `count` in Python share one GIL, and are in `GIL wait` while another one has it. Workers of the
executor are `idle` when their job is done, and the main thread is in `thread wait` for the last of them.
"""

import queue
import socket
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import fgtrace

numbers: queue.Queue[int] = queue.Queue(maxsize=1)
lock = threading.Lock()
halftime = threading.Event()
near_end, far_end = socket.socketpair()


def produce() -> None:
    for number in range(10):
        time.sleep(0.1)
        numbers.put(number)


def consume() -> None:
    for _ in range(10):
        numbers.get()


def hold_lock() -> None:
    with lock:
        time.sleep(0.5)
        halftime.set()
        time.sleep(0.5)


def want_lock() -> None:
    halftime.wait()
    with lock:
        pass


def send() -> None:
    with near_end:
        for _ in range(10):
            time.sleep(0.1)
            near_end.send(b"tick")


def receive() -> None:
    with far_end:
        while far_end.recv(100):
            pass


def compress() -> None:
    data = bytes(10_000_000)
    end = time.monotonic() + 1
    while time.monotonic() < end:
        zlib.compress(data)


def count() -> int:
    total = 0
    for number in range(5_000_000):
        total += number
    return total


def job(seconds: float) -> None:
    time.sleep(seconds)


def main(out: str = "fgtrace.json") -> None:
    functions = [produce, consume, hold_lock, want_lock, send, receive, compress, count, count, count]
    threads = [threading.Thread(target=function, name=function.__name__) for function in functions]
    with fgtrace.trace(out), ThreadPoolExecutor(thread_name_prefix="worker") as executor:
        for thread in threads:
            thread.start()
        for future in [executor.submit(job, seconds) for seconds in (0.3, 0.6, 1.2)]:
            future.result()
    print(f"the trace is in {out}: open it in https://ui.perfetto.dev")


if __name__ == "__main__":
    main(*sys.argv[1:])
