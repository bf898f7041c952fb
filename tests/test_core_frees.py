"""
The end of a task that the C core knows by its address (3.14+) or by a weak reference: what the trace says,
and that the program sees none of it.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fgtrace._options.options import Options
from fgtrace._sampling.choose import make_sampler
from fgtrace._sampling.core_calibration import load_core
from fgtrace._sampling.core_sampler import CoreSampler
from test_core import only_c, run

pytestmark = [only_c, pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")]

#: Whether the core knows tasks of asyncio's own type by their addresses.
BY_ADDRESS = sys.version_info >= (3, 14)
MANY = 1000


class Looks:
    """
    A core that looks when it is told to, and what it has found.
    """

    def __init__(self) -> None:
        sampler = make_sampler(Options())
        assert isinstance(sampler, CoreSampler)
        self._sampler = sampler
        self.core = sampler._core
        self._times = itertools.count(1)

    def look(self) -> None:
        """
        Ticks until all that is new was seen, and a whole round: the budget of one may not be enough for that.
        """
        self._until(lambda stats: not stats["behind"])
        rounds = self.core.stats()["rounds"]
        self._until(lambda stats: stats["rounds"] > rounds)

    def _until(self, is_done: Callable[[dict[str, Any]], bool]) -> None:
        while True:
            self.core.tick(next(self._times))
            if is_done(self.core.stats()):
                break

    def ends(self, name: str) -> list[bool]:
        """
        Of each track with this name whether it has ended.
        """
        self._sampler.recording.drain()
        return [track.end >= 0 for track in self._sampler.recording.tracks if track.name == name]


@pytest.fixture
def looks(core: str) -> Iterator[Looks]:
    """
    A core that looks when it is told to.
    """
    found = Looks()
    yield found
    found.core.close()


class Plain(asyncio.Task):  # type: ignore[type-arg]
    """
    A task of the program's own class.
    """


class Slotted(asyncio.Task):  # type: ignore[type-arg]
    """
    One with a field more.
    """

    __slots__ = ("field",)


class Finalized(asyncio.Task):  # type: ignore[type-arg]
    """
    One with a finalizer.
    """

    def __del__(self) -> None:
        super().__del__()


KINDS = [asyncio.Task, Plain, Slotted, Finalized]


async def wait(future: asyncio.Future[None]) -> None:
    await future


def make(kind: Any, name: str) -> Any:
    """
    A task that nothing but its first step refers to, and the cycle that it will be in.
    """
    loop = asyncio.get_running_loop()
    return kind(wait(loop.create_future()), loop=loop, name=name)


def drop(tasks: list[Any]) -> None:
    """
    The last references go: ours, and that of the first step, which the loop forgets.
    """
    tasks.clear()
    asyncio.get_running_loop()._ready.clear()  # type: ignore[attr-defined]


def silence() -> None:
    """
    No word of tasks that are destroyed.
    """
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)


@pytest.mark.parametrize("kind", KINDS)
def test_address_is_used_again(looks: Looks, kind: Any) -> None:
    """
    A task that takes another's address between two ticks has a track of its own, and the other's has ended.
    """

    async def main() -> bool:
        silence()
        loop = asyncio.get_running_loop()
        coros = [wait(loop.create_future()) for _ in range(MANY)]  # made later, they could take it
        neighbours = [kind(coros.pop(), loop=loop) for _ in range(50)]  # else its page is for others, too
        tasks = [kind(coros.pop(), loop=loop, name="first")]
        looks.look()
        address = id(tasks[0])
        drop(tasks)
        while coros and (not tasks or id(tasks[-1]) != address):
            tasks.append(kind(coros.pop(), loop=loop, name=f"one of {len(tasks)}"))
        name, is_same = tasks[-1].get_name(), id(tasks[-1]) == address
        for _ in range(100):
            looks.look()
        assert looks.ends(name) == [False]
        drop(tasks)
        drop(neighbours)
        return is_same

    if not asyncio.run(main()):
        pytest.skip(f"this allocator gave that address to none of {MANY} others")
    assert looks.ends("first") == [True]


async def collect(tasks: list[Any]) -> None:
    """
    Only a cycle refers to it, in mid-wait.
    """
    await asyncio.sleep(0)
    tasks.clear()
    gc.collect()


COLLECTED = pytest.param(
    asyncio.Task,
    True,
    marks=pytest.mark.skipif(not BY_ADDRESS, reason="weak references: the collector clears them first"),
    id="collected",
)


@pytest.mark.parametrize(
    ("kind", "is_collected"), [*(pytest.param(kind, False, id=kind.__name__) for kind in KINDS), COLLECTED]
)
def test_resurrected(looks: Looks, kind: Any, is_collected: bool) -> None:
    """
    A task that is kept by who is told of its end lives on in its track; only with the second end that ends.
    """

    async def main() -> None:
        kept: list[Any] = []

        def handler(_: object, context: dict[str, Any]) -> None:
            looks.look()
            kept.append(context["task"])

        asyncio.get_running_loop().set_exception_handler(handler)
        tasks = [make(kind, "lost")]
        looks.look()
        if is_collected:
            await collect(tasks)
        else:
            drop(tasks)
        looks.look()
        assert [task.get_name() for task in kept] == ["lost"]
        assert looks.ends("lost") == [False]
        kept.clear()
        gc.collect()
        looks.look()
        assert looks.ends("lost") == [True]

    asyncio.run(main())


def test_begun_within_a_finalizer(core: str) -> None:
    """
    A core that begins as a task is destroyed, and sees it, is told of its end, too.
    """
    begun: list[Looks] = []

    def handler(*_: object) -> None:
        begun.append(Looks())
        begun[0].look()

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(handler)
        drop([make(asyncio.Task, "lost")])
        assert begun[0].ends("lost") == [False]
        begun[0].look()
        assert begun[0].ends("lost") == [True]
        begun[0].core.close()

    asyncio.run(main())


def test_nested(looks: Looks) -> None:
    """
    Tasks that are held by one another, and go one within the other, have all ended.
    """

    async def main() -> None:
        silence()
        tasks = [make(asyncio.Task, "nested") for _ in range(MANY)]
        for outer, inner in itertools.pairwise(tasks):
            outer.inner = inner
        looks.look()
        assert len(looks.ends("nested")) == MANY
        assert not any(looks.ends("nested"))
        del outer, inner
        drop(tasks)
        while not all(looks.ends("nested")):  # a round that is over may have begun before
            looks.look()

    asyncio.run(main())
    assert len(looks.ends("nested")) == MANY


def test_more_cores_than_are_told(core: str) -> None:
    """
    Of many cores the last ones go by weak references, and see the same.
    """
    crowd = [Looks() for _ in range(20)]

    def look() -> None:
        for each in crowd:
            each.look()

    async def main() -> None:
        silence()
        tasks = [make(asyncio.Task, "lost"), make(asyncio.Task, "last")]
        look()
        del tasks[0]
        asyncio.get_running_loop()._ready.popleft()  # type: ignore[attr-defined]
        look()
        assert [each.ends("lost") for each in crowd] == [[True]] * 20
        assert [each.ends("last") for each in crowd] == [[False]] * 20
        drop(tasks)

    asyncio.run(main())
    for each in crowd:
        each.core.close()


def told_at_its_end(is_collected: bool, look: Callable[[], None]) -> list[str]:
    """
    In which order a program is told of the end of a task that nobody refers to; at each, there is a look.
    """
    told: list[str] = []

    def tell(what: str) -> None:
        look()
        told.append(what)
        look()

    class Knot:
        def __del__(self) -> None:
            tell("a local is gone")

    async def lost(future: Any) -> None:
        knot = Knot()
        try:
            await future
        finally:
            tell(f"the coroutine is closed, and has {type(knot).__name__}")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(
            lambda _, context: tell(f"{context['message']} {len(asyncio.all_tasks())}")
        )
        tasks = [asyncio.create_task(lost(loop.create_future()), name="lost")]
        reference = weakref.ref(tasks[0], lambda _: tell("the reference is dead"))
        look()
        if is_collected:
            await collect(tasks)
        else:
            drop(tasks)
        assert reference() is None
        look()

    gc.disable()  # what it has moved before is destroyed in another order
    try:
        asyncio.run(main())
    finally:
        gc.enable()
    return told


@pytest.mark.parametrize("is_collected", [False, True], ids=["dropped", "collected"])
def test_program_is_told_as_ever(core: str, is_collected: bool) -> None:
    """
    Who is told of an orphaned task's end is told the same in the same order as without a trace; and may look.
    """
    untraced = told_at_its_end(is_collected, lambda: None)
    looks = Looks()
    assert told_at_its_end(is_collected, looks.look) == untraced
    assert any(each.startswith("Task was destroyed but it is pending!") for each in untraced)
    assert looks.ends("lost") == [True]
    looks.core.close()


@pytest.mark.skipif(not BY_ADDRESS, reason="weak references: it is looked at when it is its turn")
def test_ends_among_many(looks: Looks) -> None:
    """
    Where a tick visits marked tasks only, one that ends without a step is visited at the next.
    """

    async def main() -> None:
        silence()
        future = asyncio.get_running_loop().create_future()
        idle = [asyncio.create_task(wait(future)) for _ in range(2000)]
        orphans = [make(asyncio.Task, "orphan")]
        looks.core.mark_steps(True)
        await asyncio.sleep(0)
        for _ in range(10):
            looks.look()
        assert looks.core.marks_suffice()
        await collect(orphans)
        looks.look()
        looks.core.mark_steps(False)
        future.set_result(None)
        await asyncio.gather(*idle)

    asyncio.run(main())
    assert looks.ends("orphan") == [True]


def words() -> tuple[int, ...]:
    """
    What the type of tasks consists of, but for its count of references.
    """
    found: tuple[int, ...] = load_core().memory_words(asyncio.Task)[1:]
    return found


@pytest.mark.skipif(not BY_ADDRESS, reason="the type is not touched")
def test_type_is_as_before(core: str) -> None:
    """
    Of the type of tasks one word is exchanged; with the last of two cores all of it is as it was.
    """
    Looks()  # what is the same ever after the first
    gc.collect()
    before = words()
    first, second = Looks(), Looks()
    exchanged = {place for place, word in enumerate(words()) if word != before[place]}
    assert load_core().watches_freed_tasks(asyncio.Task)
    assert len(exchanged) == 1
    first.core.close()
    assert load_core().watches_freed_tasks(asyncio.Task)
    second.core.close()
    assert not load_core().watches_freed_tasks(asyncio.Task)
    assert words() == before


def test_dropped_core(core: str) -> None:
    """
    A core that nobody has stopped leaves nothing either, and the tasks that it knew go on.
    """

    async def main() -> None:
        looks = Looks()
        tasks = [make(asyncio.Task, "task") for _ in range(10)]
        looks.look()
        del looks
        gc.collect()
        assert not load_core().watches_freed_tasks(asyncio.Task)
        silence()
        drop(tasks)

    asyncio.run(main())


FORKS = """
import asyncio, gc, os, warnings
import fgtrace
from fgtrace import _core
warnings.simplefilter("ignore")  # whether our thread is gone for the system, too, is a matter of luck
async def main():
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)
    tasks = [asyncio.create_task(asyncio.sleep(60)) for _ in range(100)]
    trace = fgtrace.trace("t.json", hz=1000).start()
    while trace._sampler.taken < 5:
        await asyncio.sleep(0.01)
    here = _core.watches_freed_tasks(asyncio.Task)
    child = os.fork()
    tasks.clear()
    loop._scheduled.clear()
    gc.collect()
    if child == 0:
        asyncio.run(asyncio.wait_for(asyncio.sleep(0), 60))
        os._exit(_core.watches_freed_tasks(asyncio.Task))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), here == _core.watches_freed_tasks(asyncio.Task))
    await asyncio.sleep(0.05)
    trace.stop()
asyncio.run(main())
"""


def test_fork(core: str, tmp_path: Any) -> None:
    """
    In the child of a fork the type is as before, and tasks that were known end; in the parent all goes on.
    """
    assert run(FORKS, tmp_path, "c").split() == ["0", "True"]
