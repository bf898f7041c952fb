"""
One coroutine blocks the event loop, and all the others must wait: the classic mistake.

    python examples/blocking.py [OUT]

Open the trace in https://ui.perfetto.dev. The workers wait for orders in `queue wait`. `give_orders`
puts one in the queue for each of them, and so wakes them all; but then it blocks, first in
`time.sleep`, then in a loop of its own. As long as its track says `running`, theirs say `runnable`:
there is work, and nobody who lets them do it. Its innermost slice is the one to blame. The track of
`heartbeat` shows a `sleep` of 10 ms that takes a third of a second.
"""

import asyncio
import sys
import time

import fgtrace

WORKERS = 5
ROUNDS = 3


async def give_orders(orders: asyncio.Queue[int]) -> None:
    for number in range(ROUNDS):
        for _ in range(WORKERS):
            orders.put_nowait(number)
        wait_for_disk()
        compute()
        await orders.join()


def wait_for_disk() -> None:
    time.sleep(0.2)  # what would be right: await asyncio.sleep(0.2)


def compute() -> None:
    end = time.monotonic() + 0.15
    while time.monotonic() < end:  # what would be right: await asyncio.to_thread(compute)
        pass


async def work(orders: asyncio.Queue[int]) -> None:
    for _ in range(ROUNDS):
        await orders.get()
        await asyncio.sleep(0.05)
        orders.task_done()


async def heartbeat() -> None:
    longest = 0.0
    while True:
        began = time.monotonic()
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            print(f"the longest sleep of 0.01 s took {longest:.2f} s")
            raise
        longest = max(longest, time.monotonic() - began)


async def main(out: str = "fgtrace.json") -> None:
    orders: asyncio.Queue[int] = asyncio.Queue()
    async with fgtrace.trace(out):
        heart = asyncio.create_task(heartbeat(), name="heartbeat")
        async with asyncio.TaskGroup() as group:
            for number in range(WORKERS):
                group.create_task(work(orders), name=f"worker {number}")
            group.create_task(give_orders(orders), name="boss")
        heart.cancel()
    print(f"the trace is in {out}: open it in https://ui.perfetto.dev")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
