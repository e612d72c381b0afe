"""What comes back at a bad moment: an answer, a reply, a task to the worker that had it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence

import pytest

from kapusta import TaskStatus
from kapusta._options import Policy
from kapusta._outcomes import released, rescued, succeeded
from kapusta.backend import (
    Change,
    Changed,
    Guard,
    StoredTask,
    TaskQuery,
)
from kapusta.testing import ManualClock
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.eventually import eventually
from tests.worker.scripted import ScriptedCRUD
from tests.worker.stored import claimed_by_the_dead, stored


class BetweenCRUD(ScriptedCRUD):
    """A backend that lets something happen between what was decided by hand and its being written."""

    async def change_tasks(self, changes: Sequence[Change]) -> Sequence[Changed]:
        """Let it happen, once."""
        happens, self.happens = self.happens, None
        if happens is not None:
            await happens()
        return await super().change_tasks(changes)

    happens: Callable[[], Awaitable[object]] | None = None


@pytest.mark.parametrize("what", ["cancel", "retry"])
async def test_an_answer_that_comes_between_look_and_decision_stays(
    open_store: OpenStore, make_kapusta: MakeKapusta, what: str
) -> None:
    """A held task that succeeds after all, while a person decides about it: what was decided of a held one is not done."""
    clock = ManualClock()
    store = BetweenCRUD(open_store(clock))
    person = make_kapusta(store)
    task = person.register_task(lambda: None, name="task", on_crash="hold")
    await person.crud.startup()
    handle = await task.launch()
    (lost,) = await claimed_by_the_dead(store.crud, "task")
    clock.shift(minutes=5)
    await store.crud.change_tasks([rescued(lost, Policy.read(lost.options), chance=0)])
    assert await handle.status() is TaskStatus.held
    seen: list[StoredTask] = []

    async def answer_late() -> None:
        await store.crud.change_tasks([succeeded(lost, b'"after all"')])
        seen.append(await stored(person, handle))

    store.happens = answer_late
    decided = await getattr(handle, what)()

    record = await stored(person, handle)
    assert [(each.status, each.result) for each in seen] == [(TaskStatus.success, b'"after all"')]
    assert (record.status, record.run, record.result) == (TaskStatus.success, 1, b'"after all"')
    assert decided is False


async def test_a_waiting_task_that_is_claimed_between_look_and_retry_runs(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """It is running then, and the answer says that it was not given another life."""
    store = BetweenCRUD(in_memory(ManualClock()))
    person = make_kapusta(store)
    task = person.register_task(lambda: None, name="task")
    await person.crud.startup()
    handle = await task.launch()

    store.happens = lambda: claimed_by_the_dead(store.crud, "task")
    answer = await handle.retry()

    record = await stored(person, handle)
    assert (answer, record.status, record.run) == (False, TaskStatus.started, 1)


async def test_a_waiting_task_that_waits_again_between_look_and_cancel_is_cancelled(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """It was claimed and given back: that is another run, and nothing that was wished for."""
    store = BetweenCRUD(in_memory(ManualClock()))
    person = make_kapusta(store)
    task = person.register_task(lambda: None, name="task")
    await person.crud.startup()
    handle = await task.launch()

    async def come_and_go() -> None:
        (claimed,) = await claimed_by_the_dead(store.crud, "task")
        await store.crud.change_tasks([released(claimed, "its worker could not begin it")])

    store.happens = come_and_go
    answer = await handle.cancel()

    record = await stored(person, handle)
    assert (answer, record.status, record.run) == (True, TaskStatus.cancelled, 1)


async def test_a_retry_whose_reply_was_lost_is_one_life(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """The task has ended again before the person asks again: that was the life that was asked for."""
    clock = ManualClock()
    store = ScriptedCRUD(in_memory(clock))
    person, worker = make_kapusta(store), make_kapusta(in_memory(clock))
    ran = []
    task = worker.register_task(lambda: ran.append(1), name="task")
    await worker.startup()
    await person.crud.startup()
    handle = await task.launch()
    await clock.advance(seconds=1)

    store.script.lose_replies = ["change_tasks"]
    retrying = asyncio.create_task(person.handle(int(handle)).retry())
    await clock.advance(minutes=1)

    assert await retrying is True
    assert len(ran) == 2


async def test_a_task_that_comes_back_to_its_worker_begins_when_its_first_body_has_ended(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """It was rescued elsewhere, and is claimed by the very worker that still runs it: that body is told to stop first."""
    store = in_memory()
    kapusta, elsewhere = make_kapusta(store), in_memory()
    running, most, begun = 0, 0, 0

    async def work() -> str:
        nonlocal running, most, begun
        begun, running = begun + 1, running + 1
        most = max(most, running)
        try:
            await asyncio.sleep(3600 if begun == 1 else 0)
        except asyncio.CancelledError:
            await asyncio.sleep(0.2)  # it takes its time to go
            raise
        finally:
            running -= 1
        return f"body {begun}"

    task = kapusta.register_task(work, name="work", timeout=None)
    await kapusta.startup()
    handle = await task.launch()
    await eventually(lambda: begun == 1, "it has begun")
    await elsewhere.startup()
    (mine,) = await elsewhere.find_tasks(TaskQuery())
    await elsewhere.change_tasks(
        [Change(id=mine.id, run=mine.run, guard=Guard.running, status=TaskStatus.pending)]
    )

    assert await handle.result(timeout=20) == "body 2"
    assert most == 1
    await elsewhere.shutdown()


async def test_a_body_that_cancels_itself_is_not_taken_for_one_that_never_began(
    in_memory: OpenStore, make_kapusta: MakeKapusta, caplog: pytest.LogCaptureFixture
) -> None:
    """Its run has no outcome, and says so; a claim whose reply is lost later does not start it again at once."""
    store = ScriptedCRUD(in_memory())
    kapusta = make_kapusta(store)
    ran = []

    async def cancel_myself() -> None:
        ran.append(1)
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
        await asyncio.sleep(3600)

    task = kapusta.register_task(cancel_myself, name="task", on_crash="hold")
    other = kapusta.register_task(lambda: "ran", name="other")
    await kapusta.startup()
    handle = await task.launch()
    await eventually(lambda: "was cancelled from outside" in caplog.text, "it is told of")
    store.script.lose_replies = ["claim_tasks"]

    assert await (await other.launch()).result(timeout=20) == "ran"
    assert ran == [1]
    assert await handle.status() is TaskStatus.started


async def test_a_lost_claim_on_a_store_that_takes_no_writes_keeps_no_shutdown(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """What was claimed cannot be given back, and is left to its lease."""
    clock = ManualClock()
    store = ScriptedCRUD(in_memory(clock))
    kapusta = make_kapusta(store)
    task = kapusta.register_task(lambda: None, name="task")
    await kapusta.startup()
    await clock.advance(seconds=1)

    store.script.lose_replies = ["claim_tasks"]
    await task.launch()
    await clock.settle()
    store.script.down = {"change_tasks", "claim_tasks", "renew_leases"}
    await clock.advance(seconds=5)

    await asyncio.wait_for(kapusta.shutdown(), 20)


async def test_a_listening_that_is_cancelled_stops_its_bodies(
    on_sqlite: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """The application ran it, and has cancelled it: without a keeper no body goes on beside another worker's."""
    kapusta = make_kapusta(on_sqlite())
    begun, stopped = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            stopped.set()

    task = kapusta.register_task(work, name="work")
    await kapusta.crud.startup()
    listening = asyncio.create_task(kapusta.listening())
    await task.launch()
    await asyncio.wait_for(begun.wait(), 20)

    listening.cancel()
    await asyncio.wait({listening})

    await asyncio.wait_for(stopped.wait(), 20)


@pytest.mark.parametrize("turns", range(6))
async def test_a_listening_that_is_cancelled_early_leaves_no_thread(
    on_sqlite: OpenStore, make_kapusta: MakeKapusta, turns: int
) -> None:
    """Also while the keeper's thread is just being started."""
    kapusta = make_kapusta(on_sqlite())
    await kapusta.crud.startup()
    listening = asyncio.create_task(kapusta.listening())
    for _ in range(turns):
        await asyncio.sleep(0)

    listening.cancel()
    await asyncio.wait({listening})
    await kapusta.shutdown()

    await eventually(
        lambda: not [thread for thread in threading.enumerate() if thread.name == "kapusta-keeper"],
        "the keeper has gone",
    )
