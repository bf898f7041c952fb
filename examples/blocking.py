"""
One coroutine blocks the event loop, and all others must wait: the classic mistake.

    python examples/blocking.py [OUT]

Open the trace in https://ui.perfetto.dev. The workers wait for orders in `queue wait`. The boss puts
an order in the queue for each of them, which wakes them all; but then it blocks the loop, first in
`time.sleep`, then with a computation. As long as the boss is `running`, the workers are `runnable`: they
have work and cannot run. The innermost slices of the boss show the culprit. The counter `ready queue` says
how many tasks wait.
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
        wait_for_disk()  # right would be: await asyncio.to_thread(wait_for_disk)
        compute()  # and here: await asyncio.to_thread(compute)
        await orders.join()


def wait_for_disk() -> None:
    time.sleep(0.2)


def compute() -> int:
    total = 0
    for number in range(2_000_000):
        total += number * number
    return total


async def work(orders: asyncio.Queue[int]) -> None:
    for _ in range(ROUNDS):
        await orders.get()
        await asyncio.sleep(0.1)
        orders.task_done()


async def main(out: str = "fgtrace.json") -> None:
    orders: asyncio.Queue[int] = asyncio.Queue()
    async with fgtrace.trace(out), asyncio.TaskGroup() as group:
        for number in range(WORKERS):
            group.create_task(work(orders), name=f"worker {number}")
        await asyncio.sleep(0.1)  # let them come to their queue
        group.create_task(give_orders(orders), name="boss")
    print(f"the trace is in {out}: open it in https://ui.perfetto.dev")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
