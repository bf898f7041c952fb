"""
One program under fgtrace and under other tools: what each costs, and what it sees of a suspended task.

The program keeps a loop busy with 200 tasks, as in ``workloads.py``, while three more are suspended all
the time, each in two functions of its own. Every traced run has an untraced one of the same interpreter
beside it, in turn first and second, with the allocator pinned. Samplers are asked for 99 Hz where they
can be asked; else they run as they come. What is seen is read from the file that the tool writes: a
function counts if the tool shows it for half of the run, or in three samples, rather than only when
it is entered and left. The tools go into an environment of their own, which is kept.

    python bench/peers.py [RUNS]
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).resolve()
ROOT = PROGRAM.parent.parent
UNTRACED = "{python} {work}"
PINNED = {"MALLOC_MMAP_THRESHOLD_": "4000000", "MALLOC_TRIM_THRESHOLD_": "64000000", "PYTHONHASHSEED": "0"}
TITLE = "Beside other tools: 200 tasks, loop saturated, three more suspended"
HZ = 99
VERSION = "3.12"  # which has wheels of all of them
WAITS = {"sleep": "sleep", "lock": "acquire", "queue": "get"}  # and what each awaits of asyncio's
REASONS = {"sleep": "state:sleep", "lock": "state:lock wait", "queue": "state:queue wait"}
UNPACK = "import sys, zstandard as z; z.ZstdDecompressor().copy_stream(sys.stdin.buffer, sys.stdout.buffer)"


def waits(lock: asyncio.Lock, queue: asyncio.Queue[None]) -> list[asyncio.Task[None]]:
    """Tasks that wait all the time, each in two functions of its own."""

    async def sleep_outer() -> None:
        await sleep_inner()

    async def sleep_inner() -> None:
        await asyncio.sleep(3600)

    async def lock_outer() -> None:
        await lock_inner()

    async def lock_inner() -> None:
        await lock.acquire()

    async def queue_outer() -> None:
        await queue_inner()

    async def queue_inner() -> None:
        await queue.get()

    return [asyncio.create_task(each) for each in (sleep_outer(), lock_outer(), queue_outer())]


async def worker(lock: asyncio.Lock) -> None:
    for _ in range(300):
        async with lock:
            await asyncio.sleep(0)
        sum(range(300))
        await asyncio.sleep(0.001)


async def program() -> None:
    """The work; its seconds are printed."""
    held, lock = asyncio.Lock(), asyncio.Lock()
    await held.acquire()
    waiting = waits(held, asyncio.Queue())
    await asyncio.sleep(0)
    began = time.perf_counter()
    await asyncio.gather(*(worker(lock) for _ in range(200)))
    print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)
    for each in waiting:
        each.cancel()


async def under_pyinstrument(path: str) -> None:
    """The work in pyinstrument's async mode, which its command line does not have."""
    profiler = importlib.import_module("pyinstrument").Profiler(interval=1 / HZ, async_mode="enabled")
    profiler.start()
    await program()
    profiler.stop().save(path)


Weights = dict[str, float]  # by a function's name


@dataclass(frozen=True)
class Reading:
    """
    What a tool's output says: its rate, and for each stack, or track, the weight of its functions.
    """

    rate: float
    unit: str
    groups: list[Weights]
    enough: float = 3  # the weight, in samples or seconds, from which on a function was seen to last


@dataclass(frozen=True)
class Peer:
    """
    A tool: how it is started, how its output is read, what it needs.
    """

    name: str
    note: str
    command: str
    read: Callable[[Path, float], Reading]
    needs: str = ""
    version: str = VERSION


def bare(name: str) -> str:
    """
    A function's own name: without module, class, file, line and what else a tool puts around it.
    """
    name = name.removeprefix("[await] ").split(" (")[0]
    return (name.split(":")[-2] if name.count(":") > 1 else name).rpartition(".")[2]


def load(out: Path) -> Any:
    return json.loads((out / "trace.json").read_text(encoding="utf-8"))


def tracks(events: list[dict[str, Any]]) -> list[Weights]:
    """
    The seconds of every function on each track of a Chrome trace.
    """
    groups: dict[Any, Weights] = defaultdict(lambda: defaultdict(float))
    for event in events:
        if event["ph"] == "X":
            name = "state:" + event["name"] if event.get("cat") == "state" else bare(event["name"])
            groups[event["pid"], event["tid"]][name] += event["dur"] / 1e6
    return list(groups.values())


def of_suspended(groups: list[Weights], seconds: float) -> Reading:
    """
    A reading whose rate is how often each suspended task was sampled, the median of the three.
    """
    counts = [sum(group.get(f"{kind}_outer", 0) for group in groups) for kind in WAITS]
    return Reading(statistics.median(counts) / seconds, "of each suspended task", groups)


def read_fgtrace(out: Path, seconds: float) -> Reading:
    found = load(out)
    stats = found["metadata"]["fgtrace"]["stats"]
    unit = f"of every task (core: {stats['core']})"
    return Reading(stats.get("hz_tasks", stats["hz"]), unit, tracks(found["traceEvents"]), seconds / 2)


def read_viztracer(out: Path, seconds: float) -> Reading:
    events = [each for each in load(out)["traceEvents"] if each["ph"] == "X"]
    ends = [each["ts"] + each["dur"] for each in events]  # the buffer drops what ended first
    span = (max(ends) - min(ends)) / 1e6
    unit = f"calls, every one; its buffer kept {min(1, span / seconds):.0%} of the run"
    return Reading(len(events) / span, unit, tracks(events), seconds / 2)


def read_pyinstrument(out: Path, seconds: float) -> Reading:
    found = load(out)
    groups = [
        {bare(frame.split("\0")[0]): lasted for frame in stack} for stack, lasted in found["frame_records"]
    ]
    return Reading(found["sample_count"] / found["duration"], "of the loop", groups, seconds / 2)


def read_scalene(out: Path, seconds: float) -> Reading:
    stacks = load(out)["combined_stacks"]
    groups = [{bare(frame["display_name"]): count for frame in stack} for stack, count in stacks]
    return of_suspended(groups, seconds)


def collapsed(out: Path) -> list[Weights]:
    """
    The stacks of a file whose lines are ``frame;frame;frame count``.
    """
    lines = (out / "trace.txt").read_text(encoding="utf-8").splitlines()
    split = [line.rpartition(" ") for line in lines]
    return [{bare(frame): int(count) for frame in stack.split(";")} for stack, _, count in split]


def read_py_spy(out: Path, seconds: float) -> Reading:
    groups = collapsed(out)
    rate = sum(group.get("run_forever", 0) for group in groups) / seconds
    return Reading(rate, "of the loop's thread", groups)


def read_sampling(out: Path, seconds: float) -> Reading:
    return of_suspended(collapsed(out), seconds)


def varint(stream: io.BytesIO) -> int:
    value = shift = 0
    while (byte := stream.read(1)[0]) > 127:
        value |= (byte & 127) << shift
        shift += 7
    return value | byte << shift


def packed(data: bytes) -> list[int]:
    stream, found = io.BytesIO(data), []
    while stream.tell() < len(data):
        found.append(varint(stream))
    return found


def fields(data: bytes) -> dict[int, list[Any]]:
    """
    The fields of a protocol buffer that has only numbers and bytes, as pprof's format does.
    """
    stream, found = io.BytesIO(data), defaultdict[int, list[Any]](list)
    while stream.tell() < len(data):
        key, value = varint(stream), varint(stream)
        found[key >> 3].append(stream.read(value) if key & 7 == 2 else value)
    return found


def pprof(data: bytes) -> list[Weights]:
    """
    The stacks of a profile in pprof's format, with the number of their wall-clock samples.
    """
    profile = fields(data)
    texts = [each.decode() for each in profile[6]]
    wall = [texts[fields(each)[1][0]] for each in profile[1]].index("wall-samples")
    functions = {each[1][0]: bare(texts[(each[2] or [0])[0]]) for each in map(fields, profile[5])}
    places = {each[1][0]: functions[fields(each[4][0])[1][0]] for each in map(fields, profile[4])}
    return [
        {places[place]: packed(each[2][0])[wall] for place in packed(each[1][0])}
        for each in map(fields, profile[2])
    ]


def read_ddtrace(out: Path, seconds: float) -> Reading:
    command = [str(interpreter(VERSION)), "-c", UNPACK]
    groups = []
    for path in out.glob("*.pprof"):
        found = subprocess.run(command, input=path.read_bytes(), capture_output=True, check=True, timeout=60)
        groups += pprof(found.stdout)
    return of_suspended(groups, seconds)


def reason(text: str) -> str:
    """
    The line of a program's complaint that says most: its first error, else its last line.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["no word why"]
    line = next((each for each in lines if re.match(r"[\w.]*error", each, re.IGNORECASE)), lines[-1])
    return line.replace(str(ROOT), ".").replace("|", "/")[:160]


def run(command: Sequence[str], limit: float = 180, **options: Any) -> str:
    """
    What a program prints; it and what it started are ended if it takes too long.
    """
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    with subprocess.Popen(command, text=True, start_new_session=True, **pipes) as process:
        try:
            said, complaint = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"no end within {limit} s") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        raise RuntimeError(reason(complaint or said))
    return str(said)


@functools.cache
def interpreter(version: str) -> Path:
    """
    The Python to measure on: for 3.12 an environment of its own, since tools are installed into it.
    """
    try:
        found = run([str(ROOT / "scripts" / "find-python"), version]).strip()
    except RuntimeError:
        raise RuntimeError(f"there is no Python {version} here") from None
    if version != VERSION:
        return Path(found)
    venv = ROOT / f".venv-peers-{version}"
    if not (venv / "bin" / "python").exists():
        run([found, "-m", "venv", str(venv)])
    return venv / "bin" / "python"


def install(peer: Peer, python: Path) -> str:
    """
    Install a tool if need be; its version is returned.
    """
    if peer.version != VERSION:
        return run([str(python), "-c", "import platform; print(platform.python_version())"]).strip()
    pip = [str(python), "-m", "pip", "install", "-qq"]
    environ = os.environ | {"PIP_CACHE_DIR": str(ROOT / ".venv-cache")}
    if peer.name != "fgtrace":
        run([*pip, peer.name, *peer.needs.split()], 600, env=environ)
    else:  # from a copy, since setuptools leaves things behind
        with tempfile.TemporaryDirectory() as folder:
            away = shutil.ignore_patterns(".*", "build", "dist", "tests", "*.egg-info", "*.so")
            shutil.copytree(ROOT, Path(folder) / "fgtrace", ignore=away)
            for options in (["--force-reinstall", "--no-deps"], []):
                run([*pip, *options, str(Path(folder) / "fgtrace")], 600, env=environ)
    ask = f"import importlib.metadata as m; print(m.version({peer.name!r}))"
    return run([str(python), "-c", ask]).strip()


def written(out: Path) -> int:
    return sum(each.stat().st_size for each in out.iterdir())


def once(python: Path, command: str, out: Path) -> float:
    """
    The seconds of the work in one run.
    """
    known = {"python": python, "bin": python.parent, "out": out, "work": f"{PROGRAM} work", "hz": HZ}
    known |= {"json": out / "trace.json", "text": out / "trace.txt", "every": f"{1 / HZ:.6f}"}
    environ = os.environ | PINNED
    said = run(shlex.split(command.format(**known)), cwd=out, env=environ, stderr=subprocess.STDOUT)
    found = re.search(r'{"seconds": ([\d.]+)}', said)
    if found is None:
        raise RuntimeError(reason(said))
    if command != UNTRACED and not written(out):
        raise RuntimeError(f"it wrote nothing: {reason(said)}")
    return float(found[1])


def seen(kind: str, reading: Reading) -> str:
    """
    What is seen of the task that waits like this.
    """
    names = {f"{kind}_outer", f"{kind}_inner"}
    weights: Weights = defaultdict(float)
    for group in reading.groups:
        if names & group.keys():
            for name, weight in group.items():
                weights[name] += weight
    lasting = {name for name, weight in weights.items() if weight >= reading.enough}
    if not names & lasting:
        return "nothing but the moments when it runs" if weights else "nothing"
    if not names <= lasting:
        return "outermost frame" if f"{kind}_outer" in lasting else "innermost frame"
    if WAITS[kind] not in lasting:
        return "whole await chain but for asyncio's own frame"
    return "whole await chain" + (" and reason" if REASONS[kind] in lasting else "")


def measure(peer: Peer, python: Path, count: int) -> list[str]:
    """
    What the pairs of one tool come to: the cells after its name.
    """
    ratios, readings, sizes = [], [], []
    for number in range(count):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder)
            sides = (UNTRACED, peer.command) if number % 2 else (peer.command, UNTRACED)
            took = {side: once(python, side, out) for side in sides}
            ratios.append(took[peer.command] / took[UNTRACED])
            sizes.append(written(out))
            readings.append(peer.read(out, took[peer.command]))
    rate = statistics.median(each.rate for each in readings)
    found = {kind: " or ".join(sorted({seen(kind, each) for each in readings})) for kind in WAITS}
    same = len(set(found.values())) == 1
    return [
        f"{statistics.median(ratios):.2f}x",
        f"{rate:,.0f}/s {readings[-1].unit}",
        found["sleep"] if same else "; ".join(f"{kind}: {text}" for kind, text in found.items()),
        f"{statistics.median(sizes):,.0f}",
    ]


def row(peer: Peer, count: int) -> list[str]:
    """
    A tool's row; where it could not be installed or run, that and why.
    """
    label = peer.name
    try:
        python = interpreter(peer.version)
        label = f"{peer.name} {install(peer, python)}"
        cells = measure(peer, python, count)
    except (RuntimeError, OSError, LookupError, ValueError, subprocess.SubprocessError) as error:
        cells = ["-", f"not measured: {reason(str(error) or repr(error))}", "-", "-"]
    return [f"{label} ({peer.note})", *cells]


DDTRACE = """
env DD_PROFILING_ENABLED=1 DD_PROFILING_OUTPUT_PPROF={out}/trace DD_TRACE_ENABLED=0
    DD_INSTRUMENTATION_TELEMETRY_ENABLED=0 DD_REMOTE_CONFIGURATION_ENABLED=0
    {python} -m ddtrace.commands.ddtrace_run {python} {work}
"""
SCALENE = "{python} -m scalene run --cpu-only --cpu-sampling-rate {every} -o {json} {work}"
PY_SPY = "{bin}/py-spy record --rate {hz} --format raw -o {text} -- {python} {work}"
SAMPLING = "-r {hz} --async-aware --async-mode all --collapsed -o {text} {work}"
PEERS = [
    Peer("fgtrace", "a trace", "{python} -m fgtrace run -q --hz {hz} -o {json} {work}", read_fgtrace),
    Peer(
        "viztracer",
        "`--log_async`, a trace",
        "{python} -m viztracer --quiet --log_async -o {json} {work}",
        read_viztracer,
    ),
    Peer("pyinstrument", "async mode, its session", "{python} {work} {json}", read_pyinstrument),
    Peer("scalene", "`--cpu-only`, a profile with a time axis", SCALENE, read_scalene),
    Peer(
        "ddtrace", "its profiler alone, a packed profile with times", DDTRACE, read_ddtrace, needs="zstandard"
    ),
    Peer("py-spy", "counted stacks", PY_SPY, read_py_spy),
    Peer(
        "profiling.sampling",
        "`--async-aware`, counted stacks",
        "{python} -m profiling.sampling run " + SAMPLING,
        read_sampling,
        version="3.15",
    ),
]


def rows(count: int) -> list[list[str]]:
    """
    The table: tool, slowdown, rate reached, what is seen of a suspended task, bytes written.
    """
    head = ["tool", "slowdown", "rate reached", "seen of a suspended task", "bytes written"]
    return [head, *(row(peer, count) for peer in PEERS)]


def main(*arguments: str) -> None:
    if arguments[:1] == ("work",):
        asyncio.run(under_pyinstrument(arguments[1]) if len(arguments) > 1 else program())
        return
    head, *body = rows(int(arguments[0]) if arguments else 3)
    for line in (head, ["---"] * len(head), *body):
        print("| " + " | ".join(line) + " |")


if __name__ == "__main__":
    main(*sys.argv[1:])
