"""
The states: what the rules make of recorded waits, of unknown code, and of a user's own rules.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgtrace._classify.decision import Rules
from fgtrace._classify.rules import (
    CALL_RULES,
    HANDED_OVER,
    NAMES,
    TASK_RULES,
    THREAD_RULES,
    UNEXPLAINED,
    Effect,
)
from fgtrace._model.states import STATES, TASK_STATES, THREAD_STATES, UNBLOCKED
from fgtrace._model.values import Cpu, FrameName, ThreadSample, Waiter, WaiterKind
from fgtrace.errors import ConfigError

ROOT = Path(__file__).parent.parent
DATA = Path(__file__).parent / "data"
RULES = Rules()

USER = "__main__:user"
BOOT = ("threading:Thread._bootstrap", "threading:Thread._bootstrap_inner", "threading:Thread.run")


def names(*texts: str) -> list[FrameName]:
    return [FrameName(*text.split(":", 1)) for text in texts]


def await_sites() -> list[dict[str, Any]]:
    with gzip.open(DATA / "await_sites.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def thread_sites() -> list[dict[str, Any]]:
    return [
        json.loads(line) for line in (DATA / "thread_sites.jsonl").read_text(encoding="utf-8").splitlines()
    ]


def wait_of(record: dict[str, Any]) -> Waiter:
    """
    Return the waiter that the collector would have found.
    """
    return Waiter(kind_of(record), record["waiter"])


def kind_of(record: dict[str, Any]) -> WaiterKind:
    if record["name"].startswith("running"):
        return "running"
    if "trio_runnable" in record or "wdone" in record or (record["loop"] != "trio" and not record["waiter"]):
        return "runnable"
    if "_SyncSocket" in record["waiter"]:
        return "io"
    kinds: list[WaiterKind] = record.get("leafkind") or [record["futkind"] or "future"]
    return "task" if "task" in kinds else kinds[0]


def frames_of(record: dict[str, Any], *, greenlet: bool) -> list[FrameName]:
    frames: list[str] = record["frames"]
    if greenlet and "greenlet" in record:
        at = frames.index("sqlalchemy.util.concurrency:greenlet_spawn") + 1
        frames = frames[:at] + record["greenlet"] + frames[at:]
    return names(*frames)


class TestCorpus:
    """
    Recorded waits of real programs, where the right state is known.
    """

    def test_size(self) -> None:
        """Nothing of the corpus got lost."""
        assert len(await_sites()) == 1058

    @pytest.mark.parametrize("greenlet", [True, False], ids=["with-greenlets", "without-greenlets"])
    def test_states(self, greenlet: bool) -> None:
        """Every recorded wait gets the state that a person gave it."""
        wrong = [
            f"{r['name']} | {r['py']} | {r['loop']} | got {got} | expected {r['expected']}"
            for r in await_sites()
            if (got := RULES.task(frames_of(r, greenlet=greenlet), wait_of(r)).state) != r["expected"]
        ]
        assert not wrong, "\n".join(wrong)

    def test_what_is_awaited(self) -> None:
        """A wait says on what, in public names; only a bare trio trap has nothing to say."""
        for record in await_sites():
            verdict = RULES.task(frames_of(record, greenlet=True), wait_of(record))
            silent = verdict.state in UNBLOCKED or record["name"] == "wait_task_rescheduled (bare)"
            assert bool(verdict.on) is not silent, record["name"]
            assert "._" not in verdict.on, record["name"]
            assert not verdict.on.startswith("_"), record["name"]

    def test_site_is_the_program(self) -> None:
        """The await site is the program's innermost frame, wherever there is one."""
        for record in await_sites():
            frames = frames_of(record, greenlet=True)
            verdict = RULES.task(frames, wait_of(record))
            own = [index for index, frame in enumerate(frames) if frame.module == "__main__"]
            if verdict.state in UNBLOCKED:
                assert verdict.site == -1
            else:
                assert verdict.site == max(own, default=0), (record["name"], verdict)


PRIMITIVES = {
    "sleep": (["asyncio.tasks:sleep"], "sleep", "asyncio.sleep"),
    "lock": (
        ["asyncio.locks:_ContextManagerMixin.__aenter__", "asyncio.locks:Lock.acquire"],
        "lock wait",
        "asyncio.Lock",
    ),
    "lock-again": (
        ["asyncio.locks:Condition.wait", "asyncio.locks:Lock.acquire"],
        "lock wait",
        "asyncio.Lock",
    ),
    "condition": (["asyncio.locks:Condition.wait"], "event wait", "asyncio.Condition"),
    "barrier": (
        ["asyncio.locks:Barrier.wait", "asyncio.locks:Barrier._wait", "asyncio.locks:Condition.wait"],
        "event wait",
        "asyncio.Barrier",
    ),
    "queue": (["asyncio.queues:Queue.get"], "queue wait", "asyncio.Queue"),
    "task-group": (["asyncio.taskgroups:TaskGroup.__aexit__"], "task wait", "asyncio.TaskGroup"),
    "as-completed": (
        ["asyncio.tasks:_AsCompletedIterator.__anext__"],
        "task wait",
        "asyncio.as_completed",
    ),
    "to-thread": (["asyncio.threads:to_thread"], "thread wait", "asyncio.to_thread"),
    "process": (
        ["asyncio.subprocess:Process.wait", "asyncio.base_subprocess:BaseSubprocessTransport._wait"],
        "subprocess wait",
        "asyncio.subprocess.Process",
    ),
    "drain": (
        ["asyncio.streams:StreamWriter.drain", "asyncio.streams:FlowControlMixin._drain_helper"],
        "I/O wait",
        "asyncio.StreamWriter",
    ),
    "sock-recv": (
        ["asyncio.selector_events:BaseSelectorEventLoop.sock_recv"],
        "I/O wait",
        "loop.sock_recv",
    ),
    "sock-recv-in-uvloop": (["uvloop.loop:Loop.sock_recv"], "I/O wait", "loop.sock_recv"),
    "tls-handshake": (
        [
            "asyncio.base_events:BaseEventLoop.create_connection",
            "asyncio.base_events:BaseEventLoop._create_connection_transport",
        ],
        "I/O wait",
        "loop.create_connection",
    ),
    "happy-eyeballs": (
        ["asyncio.base_events:BaseEventLoop.create_connection", "asyncio.staggered:staggered_race"],
        "I/O wait",
        "loop.create_connection",
    ),
    "aiohttp-body": (
        ["aiohttp.client_reqrep:ClientResponse.read", "aiohttp.streams:StreamReader._wait"],
        "I/O wait",
        "aiohttp.StreamReader",
    ),
    "anyio-socket": (
        ["anyio._backends._asyncio:SocketStream.receive", "asyncio.locks:Event.wait"],
        "I/O wait",
        "anyio.SocketStream",
    ),
    "anyio-event": (
        ["anyio._backends._asyncio:Event.wait", "asyncio.locks:Event.wait"],
        "event wait",
        "anyio.Event",
    ),
    "asyncpg-connect": (
        ["asyncpg.connection:connect", "asyncpg.connect_utils:__connect_addr"],
        "I/O wait",
        "asyncpg.connect",
    ),
    "asyncpg-pool": (
        ["asyncpg.pool:Pool._acquire", "asyncio.queues:Queue.get"],
        "pool wait",
        "asyncpg.Pool",
    ),
    "starlette-request": (
        [
            "starlette.requests:Request.body",
            "uvicorn.protocols.http.httptools_impl:RequestResponseCycle.receive",
            "asyncio.locks:Event.wait",
        ],
        "I/O wait",
        "uvicorn.RequestResponseCycle",
    ),
}


class TestTasks:
    """
    Tasks in situations that are written out here.
    """

    @pytest.mark.parametrize("row", PRIMITIVES.values(), ids=PRIMITIVES)
    def test_primitives(self, row: tuple[list[str], str, str]) -> None:
        """State, what is awaited, and the frame of the program that awaits it."""
        library, state, on = row
        frames = names("__main__:main", USER, *library)
        assert RULES.task(frames, Waiter("future", "_asyncio.Future")) == (state, on, 1)

    @pytest.mark.parametrize(
        ("wait", "state", "on"),
        [
            pytest.param(Waiter("future", "_asyncio.Future"), "future wait", "asyncio.Future", id="future"),
            pytest.param(Waiter("task", "_asyncio.Task"), "task wait", "asyncio.Task", id="task"),
            pytest.param(Waiter("task", "_asyncio.Future"), "task wait", "asyncio.Task", id="shield"),
            pytest.param(
                Waiter("task", "asyncio.tasks._GatheringFuture"), "task wait", "asyncio.gather", id="gather"
            ),
            pytest.param(
                Waiter("thread", "_asyncio.Future"), "thread wait", "concurrent.futures.Future", id="executor"
            ),
            pytest.param(
                Waiter("io", "uvloop.loop._SyncSocketReaderFuture"), "I/O wait", "loop.sock_recv", id="uvloop"
            ),
            pytest.param(
                Waiter("future", "tornado.concurrent.Future"), "future wait", "tornado.Future", id="own"
            ),
        ],
    )
    def test_waiter_decides_where_frames_say_nothing(self, wait: Waiter, state: str, on: str) -> None:
        """With nothing but the program's frames, the awaited future tells."""
        assert RULES.task(names(USER), wait) == (state, on, 0)

    @pytest.mark.parametrize("kind", ["running", "runnable"])
    def test_unblocked(self, kind: WaiterKind) -> None:
        """A task that can go on waits nowhere, whatever its frames say."""
        assert RULES.task(names(USER, "asyncio.tasks:sleep"), Waiter(kind)) == (kind, "", -1)

    @pytest.mark.parametrize(
        ("kind", "state"), [("task", "task wait"), ("thread", "thread wait"), ("future", "future wait")]
    )
    def test_asyncio_wait_follows_what_it_waits_for(self, kind: WaiterKind, state: str) -> None:
        """asyncio.wait is a task wait only over tasks."""
        frames = names(USER, "asyncio.tasks:wait", "asyncio.tasks:_wait")
        assert RULES.task(frames, Waiter(kind, "_asyncio.Future")) == (state, "asyncio.wait", 0)

    def test_asyncio_wait_inside_a_driver(self) -> None:
        """A driver that waits with asyncio.wait waits for its socket."""
        frames = names(USER, "websockets.asyncio.client:ClientConnection.handshake", "asyncio.tasks:_wait")
        assert RULES.task(frames, Waiter("task")).state == "I/O wait"

    def test_greenlet_of_the_program(self) -> None:
        """A synchronous function under SQLAlchemy's run_sync is the await site."""
        frames = names(
            USER,
            "sqlalchemy.ext.asyncio.engine:AsyncConnection.run_sync",
            "sqlalchemy.util.concurrency:greenlet_spawn",
            "__main__:in_sync",
            "sqlalchemy.pool.impl:QueuePool._do_get",
            "sqlalchemy.util.queue:AsyncAdaptedQueue.get",
            "sqlalchemy.util.concurrency:await_",
            "asyncio.queues:Queue.get",
        )
        assert RULES.task(frames, Waiter("future")) == ("pool wait", "sqlalchemy.AsyncAdaptedQueuePool", 3)

    def test_cython_frames_without_module(self) -> None:
        """A frame without a module is matched by its qualname, or is unknown code."""
        known = names(USER, ":_MessageReceiver._async_message_receiver")
        assert RULES.task(known, Waiter("future")) == ("I/O wait", "grpc.aio.Call", 0)
        unknown = [FrameName("", ""), FrameName("", "Reader.read")]
        verdict = RULES.task(unknown, Waiter("future", "_asyncio.Future"))
        assert verdict == ("future wait", "asyncio.Future", 1)


EVENT = "asyncio.locks:Event.wait"

UNKNOWN = {
    "program-between-two-libraries": (
        ["aiohttp.web_protocol:RequestHandler.start", "__main__:handler", "asyncio.locks:Lock.acquire"],
        "lock wait",
        1,
    ),
    "program-inside-a-pool": (
        ["asyncpg.pool:Pool._acquire", "__main__:setup", EVENT],
        "event wait",
        1,
    ),
    "unlisted-library": ([USER, "novelty.client:Client.get", "asyncio.locks:Lock.acquire"], "lock wait", 1),
    "unlisted-library-on-a-future": ([USER, "novelty.client:Client.get"], "future wait", 1),
    "renamed-helper-of-a-listed-library": (
        [USER, "aiohttp.brand_new:Thing._renamed", EVENT],
        "I/O wait",
        0,
    ),
    "renamed-helper-of-asyncio": ([USER, "asyncio.locks:Gate._renamed", EVENT], "event wait", 0),
    "renamed-helper-without-primitive": ([USER, "asyncio.brand_new:pause"], "future wait", 0),
    "same-letters": ([USER, "redistribute.core:Share.out", EVENT], "event wait", 1),
    "same-letters-as-module": ([USER, "redis:connect", EVENT], "I/O wait", 0),
    "same-letters-in-asyncio": ([USER, "asyncio_extras.streams:Reader.read", EVENT], "event wait", 1),
    "program-named-like-a-function": ([USER, "__main__:Lock.acquire"], "future wait", 1),
    "library-only": (["aiohttp.web:_run_app", "asyncio.tasks:sleep"], "sleep", 0),
    "no-frames": ([], "future wait", -1),
}


class TestUnknown:
    """
    Code that the rules were not fitted to.
    """

    @pytest.mark.parametrize("row", UNKNOWN.values(), ids=UNKNOWN)
    def test_states(self, row: tuple[list[str], str, int]) -> None:
        """The walk ends at unknown code, and what lies further in decides."""
        frames, state, site = row
        verdict = RULES.task(names(*frames), Waiter("future", "_asyncio.Future"))
        assert (verdict.state, verdict.site) == (state, site)


class TestUsersRules:
    """
    Rules that a user adds.
    """

    def test_decides(self) -> None:
        """A user's rule speaks for a function that fgtrace does not know."""
        rules = Rules([("myapp.throttle:Throttle.", "pool wait")])
        frames = names(USER, "myapp.throttle:Throttle.enter", EVENT)
        assert rules.task(frames, Waiter("future")) == ("pool wait", "myapp.Throttle", 0)

    def test_wins_at_equal_length(self) -> None:
        """Of two equal prefixes the user's counts."""
        frames = names(USER, "redis.client:Redis.get")
        assert Rules([("redis.", "pool wait")]).task(frames, Waiter("future")).state == "pool wait"

    def test_wins_over_a_turning_rule(self) -> None:
        """A rule that replaces suggestions is replaced as well."""
        spawn = "sqlalchemy.util.concurrency:greenlet_spawn"
        frames = names(USER, spawn, "asyncio.queues:Queue.get")
        assert Rules([(spawn, "event wait")]).task(frames, Waiter("future")).state == "event wait"

    def test_longer_prefix_wins(self) -> None:
        """The longer prefix counts, whoever gave it."""
        rules = Rules([("redis.", "pool wait"), ("redis.client:Redis.get", "queue wait")])
        assert rules.task(names(USER, "redis.client:Redis.get"), Waiter("future")).state == "queue wait"
        assert rules.task(names(USER, "redis.client:Redis.set"), Waiter("future")).state == "pool wait"

    def test_shorter_prefix_loses(self) -> None:
        """A user's short prefix does not undo what is known more closely."""
        rules = Rules([("asyncio.", "I/O wait")])
        assert rules.task(names(USER, "asyncio.tasks:sleep"), Waiter("future")).state == "sleep"

    def test_only_for_tracks_that_can_be_in_the_state(self) -> None:
        """A state of tasks leaves threads alone, and the other way round."""
        rules = Rules([("myapp.work:", "pool wait"), ("myapp.rest:", "idle")])
        look = ThreadSample("still")
        assert rules.thread(names("myapp.work:take"), "x.acquire", look).state == "lock wait"
        assert rules.thread(names("myapp.rest:take"), "x.acquire", look).state == "idle"
        assert rules.task(names("myapp.rest:take"), Waiter("future")).state == "future wait"

    @pytest.mark.parametrize(
        ("rule", "said"),
        [
            pytest.param(("myapp.", "nap"), "'nap' is none of running, .*sleep.*idle", id="unknown-state"),
            pytest.param(("", "sleep"), "prefix must not be empty", id="empty-prefix"),
        ],
    )
    def test_bad(self, rule: tuple[str, str], said: str) -> None:
        """A bad rule is refused at once, with what is allowed."""
        with pytest.raises(ValueError, match=said) as caught:
            Rules([rule])
        assert isinstance(caught.value, ConfigError)
        assert caught.value.value == rule


class TestThreads:
    """
    Threads: frames, native call and CPU clock together.
    """

    @pytest.mark.parametrize("record", thread_sites(), ids=lambda record: record["name"].replace(" ", "-"))
    def test_sites(self, record: dict[str, Any]) -> None:
        """Every row of the table gets its state, and says what it waits on."""
        verdict = RULES.thread(names(*record["frames"]), record["callee"], ThreadSample(record["cpu"]))
        assert (verdict.state, verdict.on) == (record["state"], record["on"])

    def test_site_is_the_program(self) -> None:
        """The site is the program's innermost frame, past the standard library's."""
        frames = names(*BOOT, USER, "http.client:HTTPResponse.begin", "socket:SocketIO.readinto")
        assert RULES.thread(frames, "self._sock.recv_into", ThreadSample("still")).site == 3

    @pytest.mark.parametrize("cpu", get_args(Cpu))
    def test_clock(self, cpu: Cpu) -> None:
        """A blocking call counts unless the clock ran all the time."""
        expected = "running" if cpu == "busy" else "lock wait"
        assert RULES.thread(names(USER), "lock.acquire", ThreadSample(cpu)).state == expected

    @pytest.mark.parametrize("cpu", get_args(Cpu))
    def test_clock_of_a_weak_rule(self, cpu: Cpu) -> None:
        """A name that may not block counts only where the clock stood still."""
        expected = "queue wait" if cpu in ("still", "starved") else "running"
        assert RULES.thread(names(USER), "box.get", ThreadSample(cpu)).state == expected

    def test_caller_decides(self) -> None:
        """The same leaf is a different wait under a different caller."""
        leaf, look = "threading:Condition.wait", ThreadSample("still")
        callers = ["threading:Event.wait", "queue:Queue.get", "concurrent.futures._base:Future.result"]
        states = [RULES.thread(names(USER, caller, leaf), "waiter.acquire", look).state for caller in callers]
        assert states == ["event wait", "queue wait", "thread wait"]

    def test_no_frames(self) -> None:
        """A thread without frames has no site."""
        assert RULES.thread([], "time.sleep", ThreadSample("still")) == ("sleep", "time.sleep", -1)


KNOWN_TEXTS = sorted({prefix for rule in (*TASK_RULES, *THREAD_RULES) for prefix in rule.prefixes})
KNOWN_CALLS = sorted({call.replace("*", "x") for rule in CALL_RULES for call in rule.calls})

any_frame = st.one_of(
    st.builds(FrameName, st.text(max_size=8), st.text(max_size=8)),
    st.builds(
        lambda known, tail: FrameName(known.partition(":")[0], known.partition(":")[2] + tail),
        st.sampled_from(KNOWN_TEXTS),
        st.text(alphabet="a._<>", max_size=5),
    ),
)
any_frames = st.lists(any_frame, max_size=8)


class TestAnything:
    """
    Any input has a verdict.
    """

    @given(any_frames, st.builds(Waiter, st.sampled_from(get_args(WaiterKind)), st.text(max_size=8)))
    def test_tasks(self, frames: list[FrameName], wait: Waiter) -> None:
        """A task's state is a task's, and its site is one of its frames."""
        verdict = RULES.task(frames, wait)
        assert verdict.state in TASK_STATES
        assert (verdict.site == -1) == (verdict.state in UNBLOCKED or not frames)
        assert verdict.site < len(frames)

    @given(
        any_frames,
        st.one_of(st.just(""), st.sampled_from(KNOWN_CALLS), st.text(max_size=8)),
        st.sampled_from(get_args(Cpu)),
    )
    def test_threads(self, frames: list[FrameName], callee: str, cpu: Cpu) -> None:
        """A thread's state is a thread's, and a busy one is running."""
        verdict = RULES.thread(frames, callee, ThreadSample(cpu))
        assert verdict.state in THREAD_STATES
        assert verdict.site < max(1, len(frames))
        assert cpu != "busy" or verdict == ("running", "", -1)

    @given(any_frames, st.sampled_from(get_args(WaiterKind)))
    def test_same_again(self, frames: list[FrameName], kind: WaiterKind) -> None:
        """What is remembered of a function does not change the verdict."""
        rules = Rules()
        assert (
            rules.task(frames, Waiter(kind))
            == rules.task(frames, Waiter(kind))
            == Rules().task(frames, Waiter(kind))
        )


class TestTables:
    """
    The tables themselves.
    """

    def test_names_of_states(self) -> None:
        """A state is named once, without digits, since viewers colour by name."""
        found = [state.name for state in STATES]
        assert len(found) == len(set(found))
        assert not any(letter.isdigit() for name in found for letter in name)

    def test_design(self) -> None:
        """Tasks and threads have the states that they are meant to have."""
        assert set(TASK_STATES) ^ set(THREAD_STATES) == {
            "runnable", "pool wait", "task wait", "future wait", "GIL wait", "select", "idle",
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("rules", "states"),
        [
            pytest.param(TASK_RULES, TASK_STATES, id="tasks"),
            pytest.param(THREAD_RULES, THREAD_STATES, id="threads"),
        ],
    )
    def test_rules_give_states_of_their_tracks(self, rules: Any, states: tuple[str, ...]) -> None:
        """A rule gives a state that its track can be in, or none where its effect has none."""
        silent = {Effect.FOLLOWS, Effect.PASSES, Effect.ENDS}
        for rule in rules:
            assert (rule.state == "") if rule.effect in silent else (rule.state in states), rule
            assert rule.replaces == "" or rule.effect is Effect.REPLACES, rule

    @pytest.mark.parametrize("rules", [TASK_RULES, THREAD_RULES], ids=["tasks", "threads"])
    def test_prefixes_are_given_once(self, rules: Any) -> None:
        """No prefix is in two rules, unless they turn different suggestions."""
        keys = [(prefix, rule.replaces) for rule in rules for prefix in rule.prefixes]
        assert len(keys) == len(set(keys))

    def test_prefixes_end_at_a_border(self) -> None:
        """A prefix that is only a module says so with a dot or a colon, lest it hold for others."""
        allowed = (
            "trio._core._io_",
            "trio._core._generated_io_",
            "trio._highlevel_",
            "multiprocessing.popen_",
        )
        prefixes = [*KNOWN_TEXTS, *NAMES]
        assert [p for p in prefixes if ":" not in p and not p.endswith(".") and p not in allowed] == []

    def test_calls(self) -> None:
        """A call is in one rule, and suggests a state of threads."""
        calls = [call for rule in CALL_RULES for call in rule.calls]
        assert len(calls) == len(set(calls))
        assert {rule.state for rule in CALL_RULES} <= set(THREAD_STATES)
        assert {state for pair in UNEXPLAINED.values() for state in pair} <= set(THREAD_STATES)
        assert HANDED_OVER.isdisjoint(calls)

    def test_every_state_is_reached(self) -> None:
        """The corpus and the table of threads show every state that there is."""
        assert {record["expected"] for record in await_sites()} == set(TASK_STATES)
        assert {record["state"] for record in thread_sites()} == set(THREAD_STATES)

    def test_docs(self) -> None:
        """docs/states.md is what the tables say today."""
        script = ROOT / "scripts" / "docs-states"
        done = subprocess.run(
            [sys.executable, script, "--check"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
