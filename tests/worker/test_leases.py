"""A lease is kept as long as its task runs here, and its task does not run here any longer."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence

import pytest

from kapusta import Kapusta, TaskStatus
from kapusta.backend import BaseCRUD, Change, Changed, Renewed, RenewRequest
from kapusta.testing import ManualClock
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.eventually import eventually
from tests.worker.scripted import ScriptedCRUD
from tests.worker.stored import stored


async def test_a_task_may_run_for_days(in_memory: OpenStore, make_kapusta: MakeKapusta) -> None:
    """A task is rescued because its lease has ended, never because it is old."""
    clock = ManualClock()
    kapusta, other = make_kapusta(in_memory(clock)), make_kapusta(in_memory(clock))

    async def long() -> str:
        await clock.sleep(6 * 3600)
        return "done"

    task = kapusta.register_task(long, name="long", timeout=None)
    other.register_task(long, name="long", timeout=None)
    await kapusta.startup()
    await other.startup()
    handle = await task.launch()
    await clock.advance(hours=7)

    assert (await stored(kapusta, handle)).run == 1
    assert await handle.result(timeout=0) == "done"


async def test_leases_are_renewed_while_a_worker_drains(
    on_sqlite: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """A body that outlasts its lease during `shutdown()` is not taken over: it ends once, as a success."""
    leaving, other = (make_kapusta(on_sqlite(), lease=0.6, grace=10) for _ in range(2))
    begun = []

    async def slow() -> str:
        begun.append(1)
        await asyncio.sleep(1.5)  # more than two leases
        return "done"

    task = leaving.register_task(slow, name="slow")
    other.register_task(slow, name="slow")
    await leaving.startup()
    handle = await task.launch()
    await eventually(lambda: begun, "it has begun")
    await other.startup()
    await leaving.shutdown()

    record = await stored(other, handle)
    assert (record.status, record.run, begun) == (TaskStatus.success, 1, [1])


async def test_a_blocked_loop_costs_no_lease(on_sqlite: OpenStore, make_kapusta: MakeKapusta) -> None:
    """While a `sync` body blocks the event loop, the keeper's thread goes on to renew its lease."""
    kapusta = make_kapusta(on_sqlite(), lease=0.6)
    looks = []

    async def look() -> None:
        crud = on_sqlite()
        await crud.startup()
        looks.append(await stored(crud, int(handle)))
        await crud.shutdown()

    def look_from_a_thread() -> None:
        thread = threading.Thread(target=lambda: asyncio.run(look()))
        thread.start()
        thread.join()

    @kapusta.task()
    def block() -> None:
        look_from_a_thread()
        time.sleep(0.9)
        look_from_a_thread()

    await kapusta.startup()
    handle = await block.with_options(eta_delta=0.05).launch()
    await handle.result(timeout=20)

    first, second = looks
    assert first.lease_end is not None
    assert second.lease_end is not None
    assert (second.lease_end - first.lease_end).total_seconds() > 0.6


class CutOff:
    """A worker that loses its store, and another one on the same store that does not."""

    def __init__(self, make_kapusta: MakeKapusta, open_store: OpenStore, clock: ManualClock) -> None:
        self.store = ScriptedCRUD(open_store(clock))
        self.one: Kapusta = make_kapusta(self.store, default_timeout=None)
        self.other: Kapusta = make_kapusta(open_store(clock), default_timeout=None)
        self.crud: BaseCRUD = self.other.crud

    async def startup(self) -> None:
        """Start the one, and then the other."""
        await self.one.startup()
        await self.other.startup()


async def test_a_body_is_stopped_before_another_worker_may_begin_it(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """A worker that cannot renew stops its body when the lease ends; another begins a third of a lease later."""
    clock = ManualClock()
    workers = CutOff(make_kapusta, in_memory, clock)
    stopped, begun = [], []

    async def first() -> None:
        try:
            await clock.sleep(3600)
        finally:
            stopped.append(clock.monotonic())

    async def second() -> None:
        begun.append(clock.monotonic())

    task = workers.one.register_task(first, name="task")
    workers.other.register_task(second, name="task")
    await workers.one.startup()
    handle = await task.launch()
    await clock.advance(seconds=1)
    await workers.other.startup()
    await clock.advance(seconds=29)
    workers.store.script.down = {"*"}
    cut_off_at = clock.monotonic()
    await clock.advance(minutes=2)

    assert len(stopped) == len(begun) == 1
    assert cut_off_at < stopped[0] <= begun[0] - 10
    assert begun[0] <= cut_off_at + 2 * 30
    assert (await stored(workers.crud, handle)).status is TaskStatus.success


@pytest.mark.parametrize("swallows", [False, True])
async def test_the_answer_of_a_lost_lease_is_refused(
    swallows: bool, in_memory: OpenStore, make_kapusta: MakeKapusta, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever has lost a lease may end as it likes, and stop or not: the outcome is the other worker's."""
    clock = ManualClock()
    workers = CutOff(make_kapusta, in_memory, clock)

    async def first() -> str:
        try:
            await clock.sleep(3600)
        except asyncio.CancelledError:
            if not swallows:
                raise
            await clock.sleep(120)
        return "the first one's"

    async def second() -> str:
        await clock.sleep(5)
        return "the second one's"

    task = workers.one.register_task(first, name="task")
    workers.other.register_task(second, name="task")
    await workers.one.startup()
    handle = await task.launch()
    await clock.advance(seconds=1)
    await workers.other.startup()
    await clock.advance(seconds=40)
    workers.store.script.down = {"*"}
    await clock.advance(minutes=2)
    workers.store.script.down = set()
    await clock.advance(minutes=3)

    record = await stored(workers.crud, handle)
    assert record.result == b'"the second one\'s"'
    assert (record.status, record.run) == (TaskStatus.success, 2)
    assert "its claim was lost: refused" in caplog.text
    assert [change.run for change in workers.store.script.refused()] == [1]


async def test_a_lease_that_another_has_taken_stops_the_body_at_the_next_renewal(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """A task that a person gave another life while it ran is stopped here, once the renewal says so."""
    clock = ManualClock()
    kapusta = make_kapusta(in_memory(clock), default_timeout=None)
    stopped = []

    @kapusta.task()
    async def long() -> None:
        try:
            await clock.sleep(3600)
        finally:
            stopped.append(clock.monotonic())

    await kapusta.startup()
    handle = await long.launch()
    await clock.advance(seconds=1)
    storage = in_memory(clock).storage  # type: ignore[attr-defined]  # of the memory backend
    row = storage._rows[int(handle)]  # noqa: SLF001 - no operation takes a task from its living holder
    storage._write(row.replace(run=row.run + 1, worker="somebody else"))  # noqa: SLF001 - as above
    await clock.advance(seconds=20)

    assert stopped == [pytest.approx(10, abs=1)]


async def test_a_renewal_that_hangs_keeps_no_shutdown(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """A call of the keeper's that is never answered ends with the worker, and is not left on the loop."""
    clock = ManualClock()
    store = ScriptedCRUD(in_memory(clock))
    kapusta = make_kapusta(store)

    @kapusta.task()
    async def work() -> str:
        await clock.sleep(12)
        return "done"

    await kapusta.startup()
    handle = await work.launch()
    await clock.settle()
    store.script.stuck = {"renew_leases"}
    await clock.advance(seconds=13)
    await kapusta.shutdown()

    assert "renew_leases" in store.script.asked
    await store.startup()
    assert (await stored(store.crud, handle)).status is TaskStatus.success


async def test_of_a_run_whose_outcome_is_on_its_way_no_lease_is_said_to_be_lost(
    in_memory: OpenStore, make_kapusta: MakeKapusta, caplog: pytest.LogCaptureFixture
) -> None:
    """A renewal that meets the outcome in the store is answered that there is nothing to renew: all is well."""
    answered = asyncio.Event()

    class Slow(ScriptedCRUD):
        """Stores outcomes at once, and is slow to say so."""

        async def change_tasks(self, changes: Sequence[Change]) -> Sequence[Changed]:
            """As it says."""
            answers = await super().change_tasks(changes)
            await answered.wait()
            return answers

        async def renew_leases(self, request: RenewRequest) -> Sequence[Renewed]:
            """Let the outcome's answer go once the renewal has its own."""
            answers = await super().renew_leases(request)
            if any(answer.answer == "lost" for answer in answers):
                asyncio.get_running_loop().call_later(0.1, answered.set)
            return answers

    kapusta = make_kapusta(Slow(in_memory()), lease=0.3)
    task = kapusta.register_task(lambda: "done", name="task")
    await kapusta.startup()

    assert await (await task.launch()).result(timeout=20) == "done"
    await asyncio.wait_for(answered.wait(), 20)
    await kapusta.shutdown()

    assert "lease" not in caplog.text
