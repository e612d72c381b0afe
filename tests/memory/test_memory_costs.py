"""What the memory backend costs: a turn of the loop per operation, and no more for a store that is full."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from kapusta.backend import (
    Change,
    ClaimRequest,
    Guard,
    NewTask,
    Renewal,
    RenewRequest,
    TaskExecutionMode,
    TaskQuery,
    TaskStatus,
    UniqueKey,
    UniqueUntil,
)
from kapusta.testing import ManualClock
from kapusta_memory import MemoryCRUD

LEASE = timedelta(seconds=30)
ASKING = ClaimRequest(
    worker="w", lease=LEASE, slots={TaskExecutionMode.async_: 1}, names=frozenset({"work", "future"})
)


def new_task(number: int, name: str = "work", **fields: object) -> NewTask:
    """A task with this id."""
    task = NewTask(id=number, token=f"t{number}", name=name, payload=b"{}", mode=TaskExecutionMode.async_)
    return task.replace(**fields)


async def filled(future: int, finished: int) -> MemoryCRUD:
    """A store with tasks that wait for a day, and tasks that have ended."""
    store = MemoryCRUD()
    await store.startup()
    day = timedelta(days=1)
    await store.add_tasks(
        [new_task(10_000_000 + n, "future", delay=day, overdue_after=2 * day) for n in range(future)]
    )
    await store.add_tasks([new_task(1 + n, "done") for n in range(finished)])
    ending: dict[str, Any] = {"run": 0, "guard": Guard.resting, "status": TaskStatus.success}
    await store.change_tasks([Change(id=1 + n, **ending) for n in range(finished)])
    return store


async def live(store: MemoryCRUD, number: int) -> None:
    """One task's whole life, and one round of the chores."""
    await store.add_tasks([new_task(number)])
    (given,) = (await store.claim_tasks(ASKING)).tasks
    await store.renew_leases(RenewRequest(worker="w", lease=LEASE, renewals=[Renewal(id=number, run=1)]))
    await store.find_tasks(TaskQuery(guards=frozenset({Guard.expired, Guard.overdue})))
    await store.find_tasks(TaskQuery(finished_before=given.created - timedelta(days=1)))
    settling = Change(id=number, run=1, guard=Guard.holder, worker="w", status=TaskStatus.success)
    await store.change_tasks([settling])


async def best_of(store: MemoryCRUD, rounds: int) -> float:
    """The seconds of the quickest of some lives: whatever else the machine does, it does not do always."""
    best = float("inf")
    for number in range(rounds):
        begun = time.perf_counter()
        await live(store, 20_000_000 + number)
        best = min(best, time.perf_counter() - begun)
    return best


def test_a_full_store_costs_as_much_as_an_empty_one() -> None:
    """With 40,000 tasks waiting and 80,000 finished, a task's life takes at most four times that in an empty store.

    A scan of either would take more than ten times.
    """

    async def body() -> tuple[float, float]:
        empty = await best_of(await filled(0, 0), 200)
        return empty, await best_of(await filled(40_000, 80_000), 200)

    empty, full = asyncio.run(body())

    assert full < 4 * empty


OPERATIONS: list[Callable[[MemoryCRUD], Awaitable[object]]] = [
    lambda store: store.add_tasks([]),
    lambda store: store.claim_tasks(ASKING),
    lambda store: store.change_tasks([]),
    lambda store: store.renew_leases(RenewRequest(worker="w", lease=LEASE, renewals=[])),
    lambda store: store.find_tasks(TaskQuery()),
    lambda store: store.delete_tasks([]),
]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_lets_the_loop_turn(operation: Callable[[MemoryCRUD], Awaitable[object]]) -> None:
    """Whoever calls the store in a loop does not starve the other asyncio tasks."""

    async def body() -> int:
        store = MemoryCRUD()
        await store.startup()
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        counting = asyncio.ensure_future(count())
        for _ in range(100):
            await operation(store)
        counting.cancel()
        return turns

    assert asyncio.run(body()) >= 98


def test_renewals_do_not_pile_up() -> None:
    """A task that is renewed 10,000 times leaves one entry, or some, in the order of leases: not 10,000."""

    async def body() -> int:
        store = MemoryCRUD()
        await store.startup()
        await store.add_tasks([new_task(1)])
        await store.claim_tasks(ASKING)
        renewal = RenewRequest(worker="w", lease=LEASE, renewals=[Renewal(id=1, run=1)])
        for _ in range(10_000):
            await store.renew_leases(renewal)
        return store.storage.size()["rescues"]

    assert asyncio.run(body()) < 100


def test_what_is_deleted_leaves_nothing() -> None:
    """Once tasks of many names, queues and keys are deleted, and the periods of the keys over, next to nothing is left.

    The key of the last task, which was stored to set the others free, is there still, and a heap may keep some
    entries that it has forgotten.
    """

    async def body() -> dict[str, int]:
        clock = ManualClock()
        store = MemoryCRUD(clock=clock)
        await store.startup()
        hour = timedelta(hours=1)
        for n in range(1, 1001):
            until, period = (UniqueUntil.period, hour) if n % 2 else (UniqueUntil.finished, None)
            key = UniqueKey(key=f"key-{n}", until=until, period=period)
            await store.add_tasks(
                [new_task(n, f"name-{n}", queue=f"queue-{n}", unique=key, overdue_after=hour)]
            )
        cancel: dict[str, Any] = {"run": 0, "guard": Guard.resting, "status": TaskStatus.cancelled}
        await store.change_tasks([Change(id=n, **cancel) for n in range(1, 1001)])
        await store.delete_tasks(range(1, 501))
        clock.shift(hours=2)
        last = UniqueKey(key="last", until=UniqueUntil.period, period=hour)
        await store.add_tasks([new_task(5000, unique=last)])
        await store.delete_tasks(range(501, 1001))
        await store.change_tasks([Change(id=5000, **cancel)])
        await store.delete_tasks([5000])
        return store.storage.size()

    size = asyncio.run(body())

    assert (size["rows"], size["ids"], size["groups"], size["keys"]) == (0, 0, 0, 1)
    assert max(size.values()) < 100
