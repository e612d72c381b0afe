"""What stops a loop elsewhere, or lets it sleep while there is something to do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kapusta import TaskStatus
from kapusta.backend import BaseCRUD, Change, Changed, ClaimRequest, Claims, WakeKind
from kapusta.testing import ManualClock
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.eventually import eventually
from tests.worker.scripted import ScriptedCRUD
from tests.worker.stored import stored


async def test_whoever_starts_again_is_another_worker(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """No restart, in the same process and by the same object, takes the leases of the life before for its own."""
    kapusta = make_kapusta(open_store())
    task = kapusta.register_task(lambda: "done", name="task")
    workers = []

    for _ in range(3):
        async with kapusta:
            handle = await task.launch()
            await handle.result(timeout=20)
            workers.append((await stored(kapusta, handle)).worker)

    assert None not in workers
    assert len(set(workers)) == 3


async def test_a_heartbeat_that_fails_in_a_way_that_nobody_thought_of_goes_on(
    in_memory: OpenStore, make_kapusta: MakeKapusta, caplog: pytest.LogCaptureFixture
) -> None:
    """An error that is no outage is logged with its traceback, and the next renewal is made all the same."""
    clock = ManualClock()
    store = ScriptedCRUD(in_memory(clock))
    kapusta, other = make_kapusta(store), make_kapusta(in_memory(clock))
    failing = [ZeroDivisionError("first"), KeyError("second"), AssertionError("third")]

    def fail(operation: str, _: Any) -> None:
        if operation == "renew_leases" and failing:
            raise failing.pop(0)

    async def long() -> str:
        await clock.sleep(600)
        return "done"

    store.script.before = fail
    task = kapusta.register_task(long, name="long", timeout=None)
    other.register_task(long, name="long", timeout=None)
    await kapusta.startup()
    handle = await task.launch()
    await clock.advance(seconds=1)
    await other.startup()
    with caplog.at_level(logging.ERROR, logger="kapusta"):
        await clock.advance(seconds=601)

    record = await stored(kapusta, handle)
    assert failing == []
    assert (record.status, record.run) == (TaskStatus.success, 1)
    assert "Renewing leases failed 1 time(s) in a row and goes on: ZeroDivisionError('first')" in caplog.text
    assert "Traceback" in caplog.text


class Withheld(ScriptedCRUD):
    """A store whose answers to claims are kept back while the test says so.

    Attributes:
        answers: what is kept back, until it is set.
        kept: set while an answer is being kept back.
    """

    def __init__(self, crud: BaseCRUD) -> None:
        super().__init__(crud)
        self.answers, self.kept = asyncio.Event(), asyncio.Event()
        self.answers.set()

    async def claim_tasks(self, request: ClaimRequest) -> Claims:
        """Claim, and keep the answer back."""
        claims = await super().claim_tasks(request)
        self.kept.set()
        await self.answers.wait()
        return claims


async def test_what_is_launched_between_the_look_and_the_sleep_is_not_slept_over(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """A claim that found nothing, and a launch before its answer is here: the worker looks again, and at once."""
    store = Withheld(in_memory())
    kapusta = make_kapusta(store, max_tick_interval=300)
    task = kapusta.register_task(lambda: "ran", name="task")
    store.answers.clear()
    await kapusta.startup()
    await store.kept.wait()

    handle = await task.launch()
    store.answers.set()

    assert await handle.result(timeout=20) == "ran"


async def test_what_a_claim_brings_during_the_shutdown_is_given_back(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """A task whose claim was under way is not begun any more, waits for another worker, and has lost nothing."""
    store = Withheld(open_store())
    kapusta, other = make_kapusta(store), make_kapusta(open_store())
    begun: list[int] = []
    task = kapusta.register_task(lambda: begun.append(1), name="task")
    await store.startup()
    handle = await task.launch()
    store.answers.clear()
    await kapusta.startup()
    await store.kept.wait()

    shutdown = asyncio.create_task(kapusta.shutdown())
    asyncio.get_running_loop().call_soon(store.answers.set)  # after the first turn of the shutdown
    await shutdown

    await other.crud.startup()
    record = await stored(other, handle)
    assert begun == []
    assert (record.status, record.run) == (TaskStatus.pending, 1)
    assert (record.failures, record.crashes, record.interruptions) == (0, 0, 0)


class Deaf(ScriptedCRUD):
    """A store that says it tells of others' work, and does not."""

    @asynccontextmanager
    async def listen(self, wake: Callable[[WakeKind], None]) -> AsyncIterator[None]:
        """Hear nothing."""
        yield


async def test_a_wake_up_that_never_comes_costs_a_lease_at_most(
    on_sqlite: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """What is pushed is a hint: a worker that shares its store looks for others' work by itself, once in a lease."""
    clock = ManualClock()
    kapusta = make_kapusta(Deaf(on_sqlite(clock)), max_tick_interval=3600, lease=30)
    elsewhere = make_kapusta(on_sqlite(clock))
    kapusta.register_task(lambda: "ran", name="task")
    task = elsewhere.register_task(lambda: "ran", name="task")
    await kapusta.startup()
    await elsewhere.crud.startup()
    await clock.advance(seconds=5)

    handle = await task.launch()
    await clock.advance(seconds=20)
    before = await handle.status()
    await clock.advance(seconds=10)

    assert before is TaskStatus.pending  # nothing has told it
    assert await handle.status() is TaskStatus.success


async def test_running_all_that_is_due_includes_what_comes_back(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """A task that failed and is due again at once is not done: who waits until all is idle waits for it, too."""
    kapusta = make_kapusta(open_store())
    attempts: list[int] = []

    @kapusta.task(max_retry_attempts=3, backoff=0)
    async def flaky() -> str:
        attempts.append(1)
        await asyncio.sleep(0.01)
        if len(attempts) < 4:
            raise ConnectionError("not yet")
        return "done"

    await kapusta.crud.startup()
    handle = await flaky.launch()

    await kapusta.run_until_idle()

    assert (await handle.status(), len(attempts)) == (TaskStatus.success, 4)


class Slow(ScriptedCRUD):
    """A store that takes its time to write outcomes: as long as the test says.

    Attributes:
        writes: how many outcomes each write had that was begun.
        go_on: what writes wait for.
    """

    def __init__(self, crud: BaseCRUD) -> None:
        super().__init__(crud)
        self.writes: list[int] = []
        self.go_on = asyncio.Event()

    async def change_tasks(self, changes: Sequence[Change]) -> Sequence[Changed]:
        """Write, when it is time."""
        self.writes.append(len(changes))
        await self.go_on.wait()
        return await super().change_tasks(changes)


async def test_outcomes_that_have_gathered_are_written_before_a_shutdown_lets_go(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """While one write is under way others gather; a shutdown that comes then loses none of them, and runs none again."""
    store = Slow(open_store())
    kapusta = make_kapusta(store)
    ran: list[int] = []

    @kapusta.task()
    def note(number: int) -> None:
        ran.append(number)

    await kapusta.startup()
    first = await note.launch(0)
    await eventually(lambda: store.writes, "the first outcome is being written")
    others = await note.launch_many([{"number": number} for number in range(1, 10)])
    await eventually(lambda: len(ran) == 10, "the others have run")

    shutdown = asyncio.create_task(kapusta.shutdown())
    asyncio.get_running_loop().call_soon(store.go_on.set)  # after the first turn of the shutdown
    await shutdown

    looking = open_store()
    await looking.startup()
    records = [await stored(looking, handle) for handle in (first, *others)]
    await looking.shutdown()
    assert {(record.status, record.run) for record in records} == {(TaskStatus.success, 1)}
    assert sum(store.writes) == 10
