"""A store that goes away and comes back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from kapusta import TaskStatus
from kapusta.backend import Change, ClaimRequest, StoredTask, TaskExecutionMode, TaskQuery
from kapusta.testing import ManualClock
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.eventually import eventually
from tests.worker.scripted import ScriptedCRUD
from tests.worker.stored import claimed_by_the_dead, stored


async def test_the_loops_survive_an_outage_and_say_so_less_and_less(
    open_store: OpenStore, make_kapusta: MakeKapusta, caplog: pytest.LogCaptureFixture
) -> None:
    """After an hour without a store the worker works on; each loop has logged the first failure, the second, the fourth ..."""
    clock = ManualClock()
    store = ScriptedCRUD(open_store(clock))
    kapusta = make_kapusta(store)
    task = kapusta.register_task(lambda: "ran", name="task")
    await kapusta.startup()
    await clock.advance(minutes=1)

    store.script.down, store.script.asked = {"*"}, []
    with caplog.at_level(logging.WARNING, logger="kapusta"):
        await clock.advance(hours=1)
    tries = len(store.script.asked)
    store.script.down = set()
    await clock.advance(seconds=15)
    handle = await task.launch()
    await clock.advance(seconds=1)

    lines = [line for line in caplog.messages if line.startswith("Claiming tasks failed")]
    assert await handle.result(timeout=0) == "ran"
    assert tries > 300  # every ten seconds at most
    assert [line.split()[3] for line in lines] == [str(2**power) for power in range(len(lines))]
    assert 8 <= len(lines) <= 10


async def test_an_outcome_waits_for_the_store(open_store: OpenStore, make_kapusta: MakeKapusta) -> None:
    """What a body returned during a short outage is stored when the store is back, and the body is not run again."""
    clock = ManualClock()
    store = ScriptedCRUD(open_store(clock))
    kapusta = make_kapusta(store)
    ran = []

    @kapusta.task()
    async def work() -> str:
        ran.append(1)
        await clock.sleep(5)
        return "done"

    await kapusta.startup()
    handle = await work.launch()
    await clock.advance(seconds=1)
    store.script.down = {"*"}
    await clock.advance(seconds=15)
    store.script.down = set()
    await clock.advance(seconds=15)

    assert await handle.result(timeout=0) == "done"
    assert ran == [1]


async def test_an_outcome_is_written_though_who_waited_for_it_was_cancelled(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """It has ended, whatever has become of the asyncio task that ran it."""
    clock = ManualClock()
    store = ScriptedCRUD(in_memory(clock))
    kapusta = make_kapusta(store)
    task = kapusta.register_task(lambda: "done", name="work")
    await kapusta.startup()
    store.script.down = {"change_tasks"}
    handle = await task.launch()
    await clock.advance(seconds=0.1)
    for living in asyncio.all_tasks():
        if living.get_name() == f"kapusta.task-{int(handle)}":
            living.cancel()
    await clock.advance(seconds=5)
    store.script.down = set()
    await clock.advance(seconds=15)  # longer than the longest pause

    assert await handle.result(timeout=0) == "done"


async def test_run_until_idle_waits_for_an_outcome_that_nobody_else_waits_for(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """Nothing runs any more, but its outcome is not there yet; and a store that is away is not asked again and again."""
    store = ScriptedCRUD(in_memory())
    kapusta = make_kapusta(store)
    task = kapusta.register_task(lambda: "done", name="work")
    await kapusta.startup()
    store.script.down = {"change_tasks"}
    handle = await task.launch()
    await eventually(lambda: "change_tasks" in store.script.asked, "its outcome waits")
    for living in asyncio.all_tasks():
        if living.get_name() == f"kapusta.task-{int(handle)}":
            living.cancel()
    store.script.asked.clear()
    running = asyncio.create_task(kapusta.run_until_idle())
    await eventually(lambda: store.script.asked.count("change_tasks") >= 2, "it has been tried twice more")
    claims, returned_early = store.script.asked.count("claim_tasks"), running.done()
    store.script.down = set()
    await running

    assert not returned_early
    assert claims < 5
    assert await handle.result(timeout=0) == "done"


async def test_a_worker_that_ends_before_the_store_is_back_leaves_its_outcomes_to_be_made_again(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """What it could not write is lost with it: after a crash's time another worker runs the task again."""
    clock = ManualClock()
    store = ScriptedCRUD(in_memory(clock))
    one, other = make_kapusta(store), make_kapusta(in_memory(clock))
    ran = []

    async def work() -> str:
        ran.append(clock.monotonic())
        return "done"

    task = one.register_task(work, name="work")
    other.register_task(work, name="work")
    await one.startup()
    await clock.advance(seconds=1)
    store.script.down = {"change_tasks", "renew_leases"}
    handle = await task.launch()
    await clock.advance(seconds=5)
    store.script.down = {"*"}
    await one.shutdown()
    await other.startup()
    await clock.advance(minutes=2)

    assert len(ran) == 2
    assert 30 <= ran[1] - ran[0] <= 60 + 5
    assert await other.handle(int(handle)).result(timeout=0) == "done"


async def test_what_has_ended_is_settled_before_anybody_rescues_it(
    in_memory: OpenStore, make_kapusta: MakeKapusta, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an outage of many leases the worker that has an outcome is back in time, however short its lease is."""
    monkeypatch.setattr("random.uniform", lambda least, most: most)  # the longest pauses there are
    clock = ManualClock()
    store = ScriptedCRUD(in_memory(clock))
    one, other = make_kapusta(store, lease=3), make_kapusta(in_memory(clock), lease=3)
    ran = []

    async def work() -> str:
        ran.append(1)
        await clock.sleep(5)
        return "done"

    task = one.register_task(work, name="work")
    other.register_task(work, name="work")
    await one.startup()
    handle = await task.launch()
    await clock.advance(seconds=4.9)
    store.script.down = {"*"}
    await clock.advance(seconds=25)
    store.script.down = set()
    await other.startup()
    await clock.advance(seconds=30)

    assert await handle.result(timeout=0) == "done"
    assert ran == [1]


async def test_nothing_is_rescued_before_a_whole_lease_of_reach(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """After an outage every lease may have ended though its worker lives: the reaper gives it a lease to renew."""
    clock = ManualClock()
    store = ScriptedCRUD(in_memory(clock))
    kapusta = make_kapusta(store)
    begun: list[float] = []

    @kapusta.task(name="task")
    async def task() -> None:
        begun.append(clock.monotonic())

    await kapusta.startup()
    kapusta.stop_listening_task()
    handle = await task.launch()
    await claimed_by_the_dead(store.crud, "task")
    kapusta.create_listening_task()
    await clock.advance(seconds=5)
    store.script.down = {"*"}
    await clock.advance(minutes=5)
    store.script.down = set()
    back_at = clock.monotonic()
    await clock.advance(minutes=2)

    assert (await stored(store.crud, handle)).status is TaskStatus.success
    assert back_at + 30 <= begun[0] <= back_at + 60


async def test_who_could_not_rescue_lets_the_living_be_first(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """Where a store was read and not written, leases have ended of those who live: a rescuer looks again before it acts."""
    clock = ManualClock()
    store = ScriptedCRUD(in_memory(clock))
    kapusta = make_kapusta(store)
    task = kapusta.register_task(lambda: "ran", name="task")
    await kapusta.crud.startup()
    handle = await task.launch()
    request = ClaimRequest(
        worker="cut off",
        lease=timedelta(seconds=30),
        slots={TaskExecutionMode.sync: 1},
        names=frozenset({"task"}),
    )
    assert (await store.crud.claim_tasks(request)).tasks
    store.script.down = {"change_tasks"}
    await kapusta.startup()
    await clock.advance(minutes=2)
    assert "change_tasks" in store.script.asked

    store.script.down = set()
    await clock.advance(minutes=1)

    statuses = [change.status for change in store.script.accepted()]
    assert await handle.result(timeout=0) == "ran"
    assert statuses == [None, TaskStatus.pending, TaskStatus.success]


async def test_a_claim_whose_reply_was_lost_is_given_back(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """Its tasks do not wait until their lease ends: the worker finds them and releases them, at no cost."""
    clock = ManualClock()
    store = ScriptedCRUD(open_store(clock))
    kapusta = make_kapusta(store)
    ran = []
    task = kapusta.register_task(lambda: ran.append(1), name="task")
    await kapusta.startup()
    await clock.advance(seconds=1)

    store.script.lose_replies = ["claim_tasks"]
    (handle,) = await task.launch_many([{}])
    await clock.advance(seconds=5)

    record = await stored(kapusta, handle)
    assert (record.status, record.run, ran) == (TaskStatus.success, 2, [1])
    assert (record.crashes, record.failures, record.interruptions) == (0, 0, 0)
    assert store.script.accepted()[0].reason == "the reply to its claim was lost"


async def test_a_lost_claim_is_given_back_by_a_shutdown_too(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """A worker that is shut down right after it leaves nothing claimed."""
    clock = ManualClock()
    store = ScriptedCRUD(in_memory(clock))
    kapusta = make_kapusta(store)
    task = kapusta.register_task(lambda: None, name="task")
    await kapusta.startup()
    await clock.advance(seconds=1)

    store.script.lose_replies = ["claim_tasks"]
    (handle,) = await task.launch_many([{}])
    await clock.settle()
    await kapusta.shutdown()
    await store.startup()

    assert (await stored(store.crud, handle)).status is TaskStatus.pending


class SlowToFind(ScriptedCRUD):
    """Its answers to `find_tasks` take a while: until *meanwhile* is over."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def find_tasks(self, query: TaskQuery) -> Sequence[StoredTask]:
        """Find tasks, and tell later."""
        found = await super().find_tasks(query)
        if self.meanwhile is not None and TaskStatus.started in (query.statuses or ()):
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return found


async def test_what_ends_while_a_lost_claim_is_looked_for_is_not_given_back(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """A body that ends between the look and its answer was no lost claim: nothing more is said of it."""
    store = SlowToFind(in_memory())
    kapusta = make_kapusta(store)
    may_end = asyncio.Event()
    task = kapusta.register_task(may_end.wait, name="task", timeout=None)
    await kapusta.startup()
    handle = await task.launch()
    await eventually(
        lambda: any(it.operation == "claim_tasks" and it.answer.tasks for it in store.script.calls), "runs"
    )

    async def let_it_end() -> None:
        may_end.set()
        await handle.result(timeout=20)

    store.meanwhile = let_it_end
    store.script.lose_replies = ["claim_tasks"]
    other = await task.launch()
    await other.result(timeout=20)

    said = [
        change.reason
        for call in store.script.calls
        if call.operation == "change_tasks"
        for change in call.asked
        if change.id == handle
    ]
    assert said == [None]
    assert (await stored(kapusta, other)).run == 2


async def test_a_settlement_whose_reply_was_lost_counts_once(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """It is repeated, the store knows it already, and the outcome stands."""
    clock = ManualClock()
    store = ScriptedCRUD(open_store(clock))
    kapusta = make_kapusta(store)
    task = kapusta.register_task(lambda: "once", name="task")
    await kapusta.startup()

    store.script.lose_replies = ["change_tasks"]
    handle = await task.launch()
    await clock.advance(seconds=5)

    assert await handle.result(timeout=0) == "once"
    assert len(store.script.accepted()) == 1
    assert store.script.asked.count("change_tasks") == 2


async def test_a_row_that_the_store_cannot_take_harms_no_other(
    in_memory: OpenStore, make_kapusta: MakeKapusta, caplog: pytest.LogCaptureFixture
) -> None:
    """In a batch of outcomes the bad one is left to its lease, with a line that names it; the others are stored."""
    clock = ManualClock()
    store = ScriptedCRUD(in_memory(clock))
    kapusta = make_kapusta(store)
    let_go = asyncio.Event()
    bad: list[int] = []

    def refuse(operation: str, asked: Any) -> None:
        if operation == "change_tasks" and any(is_bad(change) for change in asked):
            raise ValueError("this row is too much for me")

    def is_bad(change: Change) -> bool:
        return change.id in bad and change.status is TaskStatus.success

    @kapusta.task()
    async def work(number: int) -> int:
        await let_go.wait()
        return number

    await kapusta.startup()
    handles = await work.launch_many({"number": number} for number in range(9))
    await clock.settle()
    bad.append(int(handles[4]))
    store.script.before = refuse
    let_go.set()
    await clock.advance(seconds=1)

    statuses = [await handle.status() for handle in handles]
    assert statuses[4] is TaskStatus.started
    assert {*statuses[:4], *statuses[5:]} == {TaskStatus.success}
    (record,) = [each for each in caplog.records if vars(each).get("event") == "task_unstorable"]
    assert vars(record)["task_id"] == handles[4]
    assert "this row is too much for me" in record.getMessage()
    assert record.exc_info
    await clock.advance(minutes=10)
    assert await handles[4].status() is TaskStatus.held
