"""
One line installs the debug hook: when the service's loop is blocked, a file has the seconds before.

    python examples/debug_hook.py [OUT]

OUT is a folder. One of the requests computes for half a second in the event loop; meanwhile the hook dumps,
and logs the file with the culprit. The last long slice of that request's track is what blocks the loop.
"""

import asyncio
import hashlib
import logging
import sys
import time

import fgtrace


async def answer(number: int) -> str:
    await asyncio.sleep(0.01)
    return (
        sign(number) if number == 13 else "unsigned"
    )  # right would be: await asyncio.to_thread(sign, number)


def sign(number: int) -> str:
    end = time.monotonic() + 0.5
    digest = hashlib.sha256(str(number).encode())
    while time.monotonic() < end:
        digest.update(digest.digest())
    return digest.hexdigest()


async def main() -> None:
    for number in range(20):
        await asyncio.create_task(answer(number), name=f"request {number}")


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s", stream=sys.stdout)
    fgtrace.install(*sys.argv[1:], format="json")
    asyncio.run(main())
    fgtrace.uninstall()
