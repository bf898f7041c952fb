"""
The same short program twice: sampled at 99 Hz, and with exact awaits.

    python examples/exact.py [OUT]        (a folder)

One task sleeps ten times for 10 ms; two others pass a lock to each other. Sampled, most of that looks like
one long sleep and one long wait; with exact awaits each await has its own slice, which says what ended it.
"""

from __future__ import annotations

import asyncio
import os
import sys

import fgtrace


async def naps() -> None:
    for _ in range(10):
        await asyncio.sleep(0.01)


async def player(lock: asyncio.Lock) -> None:
    for _ in range(40):
        async with lock:
            await asyncio.sleep(0.001)


async def work() -> None:
    lock = asyncio.Lock()
    async with asyncio.TaskGroup() as group:
        group.create_task(naps(), name="naps")
        group.create_task(player(lock), name="ping")
        group.create_task(player(lock), name="pong")


async def main(folder: str) -> None:
    await work()  # once without a trace, to warm up
    async with fgtrace.trace(os.path.join(folder, "sampled.json")):
        await work()
    async with fgtrace.trace(os.path.join(folder, "exact.json"), awaits="exact"):
        await work()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "."))
