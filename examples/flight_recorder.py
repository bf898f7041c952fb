"""
A service that always keeps its last seconds, and dumps them after a slow request.

    python examples/flight_recorder.py [OUT]

The recorder runs all the time. One request of many waits for a lock that another one holds for too long; when
its response is late, the service dumps the seconds before. In the trace the slow request is in `lock wait`,
and the track of the request that holds the lock shows why.
"""

import asyncio
import sys
import time

import fgtrace

REQUESTS = 40
TOO_SLOW = 0.2


async def answer(number: int, lock: asyncio.Lock) -> float:
    began = time.monotonic()
    async with lock:
        await ask_database(number)
    return time.monotonic() - began


async def ask_database(number: int) -> None:
    await asyncio.sleep(0.5 if number == REQUESTS // 2 else 0.001)


async def serve(number: int, lock: asyncio.Lock, recorder: fgtrace.FlightRecorder, out: str) -> None:
    if await answer(number, lock) > TOO_SLOW and not recorder.stats.dumps:
        seconds = await asyncio.to_thread(recorder.dump, out, reason="slow request")
        print(f"request {number} was slow: the {seconds:.1f} s before are in {out}")


async def main(out: str = "fgtrace.json") -> None:
    with fgtrace.FlightRecorder(seconds=10) as recorder:
        lock = asyncio.Lock()
        async with asyncio.TaskGroup() as group:
            for number in range(REQUESTS):
                group.create_task(serve(number, lock, recorder, out), name=f"request {number}")
                await asyncio.sleep(0.02)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
