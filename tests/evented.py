"""
A speedscope file as times, whoever wrote it.
"""

from __future__ import annotations

import json
from collections import Counter

__all__ = ["Stack", "profiles"]

Stack = tuple[str, ...]


def profiles(data: bytes) -> dict[str, Counter[Stack]]:
    """
    Each speedscope profile's own time of each stack; whatever is not well nested is an error.
    """
    document = json.loads(data)
    names = [frame["name"] for frame in document["shared"]["frames"]]
    found = {}
    for profile in document["profiles"]:
        stack: list[int] = []
        times: Counter[Stack] = Counter()
        last = profile["startValue"]
        for event in profile["events"]:
            assert last <= event["at"] <= profile["endValue"]
            if stack and event["at"] > last:
                times[tuple(names[frame] for frame in stack)] += event["at"] - last
            last = event["at"]
            if event["type"] == "O":
                stack.append(event["frame"])
            else:
                assert stack.pop() == event["frame"]
        assert not stack
        found[profile["name"]] = times
    return found
