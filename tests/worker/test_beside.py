"""What runs beside a shutdown, a cancellation or another listening: it claims nothing that nobody would end."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from datetime import timedelta

import pytest

from kapusta import StoreNotStartedError, TaskStatus
from kapusta.backend import ClaimRequest, Claims, TaskQuery
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.eventually import eventually
from tests.worker.scripted import ScriptedCRUD


@pytest.mark.parametrize("listens", [True, False])
async def test_run_until_idle_beside_a_shutdown_leaves_nothing_started(
    in_memory: OpenStore, make_kapusta: MakeKapusta, listens: bool
) -> None:
    """Whatever it has claimed by then ends, and it claims no more: with the worker of this Kapusta, or with one of its own."""
    kapusta, other = make_kapusta(in_memory(), max_concurrent_tasks=5), in_memory()

    @kapusta.task(name="task")
    async def task() -> None:
        await asyncio.sleep(0.005)

    await other.startup()
    await kapusta.crud.startup()
    await task.launch_many({} for _ in range(200))
    if listens:
        kapusta.create_listening_task()
        kapusta.stop_listening_task()
    running = asyncio.create_task(kapusta.run_until_idle())
    await asyncio.sleep(0.05)

    await kapusta.shutdown()
    with suppress(StoreNotStartedError):
        await running

    statuses = {each.status for each in await other.find_tasks(TaskQuery(limit=500))}
    assert statuses == {TaskStatus.success, TaskStatus.pending}
    await other.shutdown()


async def test_run_until_idle_ends_with_a_shutdown_that_gives_up_an_outcome(
    in_memory: OpenStore, make_kapusta: MakeKapusta, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the store does not take is left to its lease: nobody waits for ever for it to be written."""
    monkeypatch.setattr("kapusta._worker.STOPPING", timedelta(milliseconds=50))
    store = ScriptedCRUD(in_memory())
    kapusta = make_kapusta(store, grace=0)
    task = kapusta.register_task(lambda: "ran", name="task")
    await kapusta.startup()
    kapusta.stop_listening_task()
    await task.launch()
    store.script.down = {"change_tasks"}
    running = asyncio.create_task(kapusta.run_until_idle())
    await eventually(lambda: "change_tasks" in store.script.asked, "its outcome waits")

    await kapusta.shutdown()

    with suppress(StoreNotStartedError):
        await asyncio.wait_for(running, 10)


class SlowToClaim(ScriptedCRUD):
    """Claims, and answers when the gate is open."""

    gate: asyncio.Event

    async def claim_tasks(self, request: ClaimRequest) -> Claims:
        """As it says."""
        claims = await super().claim_tasks(request)
        await self.gate.wait()
        return claims


async def test_a_claim_that_comes_back_when_the_keeper_has_gone_begins_nothing(
    on_sqlite: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """Its lease would be kept by nobody."""
    store = SlowToClaim(on_sqlite())
    store.gate = asyncio.Event()
    store.gate.set()
    kapusta = make_kapusta(store)
    begun: list[int] = []
    task = kapusta.register_task(lambda: begun.append(1), name="task")
    await kapusta.startup()
    await eventually(lambda: "claim_tasks" in store.script.asked, "it works")
    kapusta.stop_listening_task()
    await task.launch()
    store.gate.clear()
    store.script.asked.clear()
    running = asyncio.create_task(kapusta.run_until_idle())
    await eventually(lambda: "claim_tasks" in store.script.asked, "a claim is under way")

    (listening,) = [each for each in asyncio.all_tasks() if each.get_name() == "kapusta.listening"]
    listening.cancel()
    await asyncio.wait({listening})
    store.gate.set()
    await asyncio.wait_for(running, 20)

    assert begun == []


async def test_listening_again_after_it_was_cancelled_runs_tasks(
    on_sqlite: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """With another worker: the first has given up."""
    kapusta = make_kapusta(on_sqlite())
    task = kapusta.register_task(lambda: "ran", name="task")
    await kapusta.crud.startup()
    for _ in range(2):
        listening = asyncio.create_task(kapusta.listening())
        assert await (await task.launch()).result(timeout=20) == "ran"
        listening.cancel()
        await asyncio.wait({listening})


async def test_listening_beside_a_startup_is_the_same_listening(
    on_sqlite: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """One worker has one keeper; who listens as well is let go with it."""
    kapusta = make_kapusta(on_sqlite())
    await kapusta.startup()
    again = asyncio.create_task(kapusta.listening())
    task = kapusta.register_task(lambda: "ran", name="task")
    assert await (await task.launch()).result(timeout=20) == "ran"
    keepers = [thread for thread in threading.enumerate() if thread.name == "kapusta-keeper"]

    await kapusta.shutdown()
    await asyncio.wait_for(again, 20)

    assert len(keepers) == 1


@pytest.mark.parametrize("turns", range(8))
async def test_a_listening_that_is_cancelled_twice_leaves_no_thread(
    on_sqlite: OpenStore, make_kapusta: MakeKapusta, turns: int
) -> None:
    """Whoever waits for the keeper's end is cancelled, too: that it is to end has been said."""
    kapusta = make_kapusta(on_sqlite())
    await kapusta.crud.startup()
    listening = asyncio.create_task(kapusta.listening())
    for _ in range(1 + turns // 2):
        await asyncio.sleep(0)

    listening.cancel()
    for _ in range(1 + turns % 2):
        await asyncio.sleep(0)
    listening.cancel()
    await asyncio.wait({listening})
    await kapusta.shutdown()

    await eventually(
        lambda: "kapusta-keeper" not in [thread.name for thread in threading.enumerate()],
        "the keeper has gone",
    )
