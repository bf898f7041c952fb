"""
Five thousand short jobs, of which three are slow: find them.

    python examples/many_tasks.py [OUT]

So many tasks share tracks, which are called lanes. In https://ui.perfetto.dev the three slow jobs have
tracks of their own, at the top of the loop; the others are on the lanes of `job` and `audit`, each within a
slice with its name. `fgtrace.load` returns a track for each task.
"""

import asyncio
import sys

import fgtrace

JOBS = 5000
AT_ONCE = 25
SLOW = {1200: "Dublin", 2400: "Oslo", 3600: "Rome"}


async def main(out: str = "fgtrace.json") -> None:
    async with fgtrace.trace(out, awaits="exact"):
        for first in range(0, JOBS, AT_ONCE):
            async with asyncio.TaskGroup() as group:
                for number in range(first, first + AT_ONCE):
                    group.create_task(job(number), name=SLOW.get(number))
    slow = {each.track.name for each in fgtrace.load(out) if each.end - each.start > 400_000_000}
    print("slow:", *sorted(name for name in slow if name.endswith(" job")), sep="\n  ")
    print(f"the trace is in {out}: open it in https://ui.perfetto.dev")


async def job(number: int) -> None:
    await query(0.5 if number in SLOW else number % 5 / 1000)
    if number % 2:
        await asyncio.create_task(audit(number))


async def query(seconds: float) -> None:
    await asyncio.sleep(seconds)


async def audit(number: int) -> None:
    await asyncio.sleep(number % 3 / 1000)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
