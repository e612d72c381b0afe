"""A backend call: shielded, with a deadline, repeated after a lost reply."""

from __future__ import annotations

import asyncio
import pickle
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any

import pytest

from kapusta import BaseCRUD, Kapusta, LaunchUnknownError, StoreNotStartedError, StoreUnavailableError
from kapusta._records import Added, NewTask, StoredTask, TaskQuery
from kapusta._store import Store
from kapusta.testing import ManualClock
from kapusta_memory import MemoryCRUD

ALL = TaskQuery()


class Scripted(MemoryCRUD):
    """A store in memory that does, before or after each call, what a test tells it to."""

    def __init__(self, clock: ManualClock | None = None) -> None:
        super().__init__(clock=clock)
        self.before: list[Callable[[], Coroutine[Any, Any, object]]] = []
        self.after: list[Callable[[], Coroutine[Any, Any, object]]] = []
        self.calls = 0

    async def add_tasks(self, tasks: Sequence[NewTask]) -> Sequence[Added]:
        """As told."""
        await self._do(self.before)
        answer = await super().add_tasks(tasks)
        await self._do(self.after)
        return answer

    async def find_tasks(self, query: TaskQuery) -> Sequence[StoredTask]:
        """As told."""
        await self._do(self.before)
        answer = await super().find_tasks(query)
        await self._do(self.after)
        return answer

    async def _do(self, script: list[Callable[[], Coroutine[Any, Any, object]]]) -> None:
        self.calls += script is self.before
        if script:
            await script.pop(0)()


async def fail() -> None:
    """Do not answer."""
    raise StoreUnavailableError(operation="it", problem="gone away")


async def hang() -> None:
    """Never answer."""
    await asyncio.get_running_loop().create_future()


@pytest.fixture
async def scripted(clock: ManualClock) -> AsyncIterator[Scripted]:
    """A started store."""
    crud = Scripted(clock)
    await crud.startup()
    yield crud
    await crud.shutdown()


@pytest.fixture
def store(scripted: Scripted) -> Store:
    """Calls it, with ten seconds for each, and says that there is an outage after ten."""
    return Store(scripted, timeout=timedelta(seconds=10), outage_after=timedelta(seconds=10))


async def test_a_call_without_an_answer_ends_at_its_deadline(
    store: Store, scripted: Scripted, clock: ManualClock
) -> None:
    """Nobody waits for a hanging database for ever, and the call that hung is given up."""
    cancelled = asyncio.Event()

    async def hang_and_say() -> None:
        try:
            await hang()
        finally:
            cancelled.set()

    scripted.before = [hang_and_say]
    call = asyncio.create_task(store.find(ALL))
    await tick(clock, seconds=9.75)
    assert not call.done()
    await tick(clock, seconds=0.25)

    with pytest.raises(StoreUnavailableError, match=r"find_tasks: no answer within 10 s"):
        await call
    assert cancelled.is_set()


async def test_a_call_that_will_not_be_cancelled_keeps_nobody_either(
    store: Store, scripted: Scripted, clock: ManualClock
) -> None:
    """A driver that swallows its cancellation is not waited for a second time; what it does in the end counts."""
    let_go = asyncio.Event()

    async def insist() -> None:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue

    scripted.before = [insist]
    call = asyncio.create_task(store.find(ALL))
    await tick(clock, seconds=25)

    assert call.done()
    with pytest.raises(StoreUnavailableError, match="no answer within 10 s"):
        await call
    let_go.set()
    await turns()


async def tick(clock: ManualClock, seconds: float) -> None:
    """Move time in small steps; a call that hangs is something real, which ``advance`` would wait for."""
    for _ in range(round(seconds * 4)):
        await turns()
        clock.shift(seconds=0.25)
    await turns()


async def turns() -> None:
    """Let the loop turn until all that can run has run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_stalled_loop_uses_up_one_slice_however_long_it_stalls() -> None:
    """A sync task of a minute must not have every open call declared lost, answers and all."""
    crud = Scripted()
    await crud.startup()
    store = Store(crud, timeout=timedelta(seconds=0.5), outage_after=timedelta(seconds=10))
    answered = asyncio.Event()
    crud.before = [answered.wait]
    call = asyncio.create_task(store.find(ALL))
    await asyncio.sleep(0)

    time.sleep(0.7)  # noqa: ASYNC251 - the loop stands still, and the deadline passes meanwhile
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    answered.set()

    assert await call == []


async def test_cancelling_whoever_waits_leaves_the_call_running(store: Store, scripted: Scripted) -> None:
    """A settlement is never cancelled half way; the caller is let go all the same."""
    gate, done = asyncio.Event(), asyncio.Event()

    async def say() -> None:
        done.set()

    scripted.before, scripted.after = [gate.wait], [say]
    caller = asyncio.create_task(store.find(ALL))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    caller.cancel()
    await asyncio.wait({caller})
    assert caller.cancelled()
    assert not done.is_set()
    gate.set()
    await turns()

    assert done.is_set()


async def test_closing_waits_for_the_calls_whose_callers_are_gone() -> None:
    """What was under way is written before the store goes."""
    scripted, gate = Scripted(), asyncio.Event()
    await scripted.startup()
    store = Store(scripted, timeout=timedelta(seconds=10), outage_after=timedelta(seconds=10))
    scripted.before = [gate.wait]
    caller = asyncio.create_task(store.find(ALL))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait({caller})

    closing = asyncio.create_task(store.close())
    await turns()
    assert not closing.done()
    assert scripted._home is not None
    gate.set()
    await closing

    assert scripted._home is None


def launching(kapusta: Kapusta) -> Any:
    """A task of it."""

    @kapusta.task(name="answer")
    def answer() -> int:
        return 42

    return answer


@pytest.mark.parametrize("lost", ["before", "after"])
async def test_a_launch_is_repeated_after_a_lost_reply_and_makes_one_task(
    scripted: Scripted, clock: ManualClock, lost: str
) -> None:
    """Whether the write was done or not: one launch is one task."""
    kapusta = Kapusta(scripted)
    task = launching(kapusta)
    setattr(scripted, lost, [fail, fail])

    launch = asyncio.create_task(task.launch())
    await clock.advance(seconds=5)
    handle = await launch

    assert scripted.calls == 3
    assert [each.id for each in await scripted.find_tasks(ALL)] == [handle]


async def test_a_launch_gives_up_at_its_deadline_though_its_last_try_hangs(
    scripted: Scripted, clock: ManualClock
) -> None:
    """Ten seconds are ten seconds: what is left of them is the deadline of the last try, and says least of what is wrong."""
    kapusta = Kapusta(scripted)
    task = launching(kapusta)
    scripted.before = [*[fail] * 6, hang]

    launch = asyncio.create_task(task.launch())
    await tick(clock, seconds=12)  # the steps of the clock are coarser than its slices

    with pytest.raises(LaunchUnknownError, match=r"gone away \(tried 7 times in 10 s\)"):
        await launch


@pytest.mark.parametrize("lost", ["before", "after"])
async def test_a_launch_that_stays_unknown_can_be_launched_again(
    scripted: Scripted, clock: ManualClock, lost: str
) -> None:
    """The error carries the launch; repeating it is always safe, twice as well."""
    kapusta = Kapusta(scripted)
    task = launching(kapusta)
    setattr(scripted, lost, [fail] * 1000)

    launch = asyncio.create_task(task.launch_many([{}, {}]))
    await clock.advance(seconds=11)
    with pytest.raises(LaunchUnknownError, match="launch_again") as caught:
        await launch
    assert pickle.loads(pickle.dumps(caught.value)).task_ids == caught.value.task_ids
    scripted.before, scripted.after = [], []
    handles = await caught.value.launch_again()
    again = await caught.value.launch_again()

    assert handles == again == list(caught.value.task_ids)
    assert [each.id for each in await scripted.find_tasks(ALL)] == handles
    await kapusta.run_until_idle()
    assert [await handle.result() for handle in handles] == [42, 42]


async def test_a_launch_whose_task_was_deleted_makes_another_when_it_is_repeated(
    scripted: Scripted, clock: ManualClock
) -> None:
    """The promise says "while the first is stored": a store that has deleted a task cannot know it again."""
    kapusta = Kapusta(scripted)
    runs = 0

    async def count() -> None:
        nonlocal runs
        runs += 1

    task = kapusta.register_task(count)
    await kapusta.crud.startup()
    scripted.after = [fail] * 1000
    launch = asyncio.create_task(task.launch())
    await clock.advance(seconds=11)
    with pytest.raises(LaunchUnknownError) as caught:
        await launch
    scripted.before, scripted.after = [], []
    await kapusta.run_until_idle()

    await caught.value.launch_again()
    await kapusta.run_until_idle()
    assert runs == 1  # it has ended, and is stored

    assert await scripted.delete_tasks(caught.value.task_ids) == 1
    await caught.value.launch_again()
    await kapusta.run_until_idle()
    assert runs == 2


async def test_one_launch_that_stays_unknown_answers_one_handle(
    scripted: Scripted, clock: ManualClock
) -> None:
    """`launch_again()` of a `launch()` answers what the launch would have: a handle, and no list."""
    task = launching(Kapusta(scripted))
    scripted.after = [fail] * 1000

    launch = asyncio.create_task(task.launch())
    await clock.advance(seconds=11)
    with pytest.raises(LaunchUnknownError) as caught:
        await launch
    scripted.after = []

    assert await caught.value.launch_again() == caught.value.task_ids[0]


async def test_an_id_that_is_taken_is_drawn_again(scripted: Scripted) -> None:
    """Two processes that draw one id make two tasks."""
    kapusta = Kapusta(scripted)
    task = launching(kapusta)
    first = await task.launch()
    ids = iter([range(first, first + 1), range(first + 1, first + 2)])
    kapusta._launcher._ids.draw_many = lambda _: next(ids)  # type: ignore[method-assign]  # chance, arranged

    second = await task.launch()

    assert second == first + 1
    assert len(await scripted.find_tasks(ALL)) == 2


async def test_an_error_that_is_no_outage_is_not_repeated(scripted: Scripted) -> None:
    """A mistake comes up at once, as it is."""
    store = Store(scripted, timeout=timedelta(seconds=10), outage_after=timedelta(seconds=10))

    async def blunder() -> None:
        raise ZeroDivisionError

    scripted.before = [blunder]

    with pytest.raises(ZeroDivisionError):
        await store.ask(ALL)
    assert scripted.calls == 1


async def test_a_store_that_is_not_started_says_so_at_once(crud: BaseCRUD, clock: ManualClock) -> None:
    """It is no outage that waiting would end."""
    store = Store(crud, timeout=timedelta(seconds=10), outage_after=timedelta(seconds=10))

    with pytest.raises(StoreNotStartedError):
        await store.ask(ALL)


async def test_reach_begins_anew_after_an_outage_and_not_after_a_hiccup(
    store: Store, scripted: Scripted, clock: ManualClock
) -> None:
    """After an outage everybody's lease may have ended: nothing is reaped before a whole lease of reach."""
    clock.shift(seconds=100)
    store.start_reach()
    clock.shift(seconds=60)
    assert store.reach == 60

    scripted.before = [fail]
    with pytest.raises(StoreUnavailableError):
        await store.find(ALL)
    clock.shift(seconds=5)
    assert store.reach == 65
    await store.find(ALL)
    assert store.reach == 65

    scripted.before = [fail]
    with pytest.raises(StoreUnavailableError):
        await store.find(ALL)
    clock.shift(seconds=11)
    assert store.reach == 0
    await store.find(ALL)
    assert store.reach == 0
    clock.shift(seconds=7)

    assert store.reach == 7


async def test_closing_ends_beside_a_call_that_hangs_in_real_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a moved clock no deadline comes by itself, and a shutdown that raises leaves the Kapusta started."""
    monkeypatch.setattr("kapusta.testing.clock.PATIENCE", 0.05)

    class Hanging(MemoryCRUD):
        async def find_tasks(self, query: TaskQuery) -> Sequence[StoredTask]:
            await asyncio.get_running_loop().create_future()
            return []

    crud = Hanging(clock=ManualClock())
    await crud.startup()
    store = Store(crud, timeout=timedelta(seconds=10), outage_after=timedelta(seconds=10))
    asking = asyncio.create_task(store.find(TaskQuery()))
    await asyncio.sleep(0)

    await store.close()

    with pytest.raises(StoreUnavailableError):
        await asking
