"""Cancelled at any moment, an operation leaves nothing behind: no lock, no transaction, no connection."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from kapusta.backend import Guard, StoreUnavailableError, TaskQuery, UniqueKey
from kapusta_sqlalchemy import AlchemyCRUD
from tests.postgresql.asking import OTHERS, WAITING, answered
from tests.sqlalchemy.records import claim, new, renewal, settled

FIRST = 1_000_000


def _operations(store: AlchemyCRUD, chance: random.Random) -> list[Callable[[], Awaitable[Any]]]:
    ids = range(FIRST, FIRST + 200)

    async def life() -> None:
        tasks = (await store.claim_tasks(claim(20))).tasks
        await store.renew_leases(renewal(*tasks))
        await store.change_tasks([settled(task) for task in tasks])

    return [
        lambda: store.add_tasks([new() for _ in range(20)]),
        lambda: store.add_tasks([new(id=chance.choice(ids)) for _ in range(5)]),
        lambda: store.add_tasks([new(unique=UniqueKey(key=f"key-{chance.randrange(50)}")) for _ in range(5)]),
        lambda: store.add_tasks([new(unique=UniqueKey(key=f"key-{chance.randrange(50)}"))]),
        life,
        lambda: store.find_tasks(TaskQuery(guards=frozenset({Guard.running}))),
        lambda: store.delete_tasks([chance.choice(ids) for _ in range(20)]),
    ]


async def _hammer(store: AlchemyCRUD, engine: AsyncEngine, seed: int) -> None:
    """Run hundreds of operations, many at once, and cancel each at a random moment, until enough were in time for it."""
    chance = random.Random(seed)
    operations = _operations(store, chance)
    rounds = cancelled = 0
    while rounds < 30 or cancelled <= 50:
        rounds += 1
        tasks = [asyncio.ensure_future(chance.choice(operations)()) for _ in range(8)]
        for task in tasks:
            for _ in range(chance.randrange(12)):
                await asyncio.sleep(0)
            if chance.random() < 0.5:
                await asyncio.sleep(chance.random() * 0.01)
            task.cancel()
        for answer in await asyncio.gather(*tasks, return_exceptions=True):
            assert answer is None or isinstance(answer, list | int | asyncio.CancelledError), answer
            cancelled += isinstance(answer, asyncio.CancelledError)
        assert store._started is not None
        await store._started.dialect.close()  # a hint may be on its way
        assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # a pool that counts


async def _is_calm(admin: asyncpg.Connection) -> bool:
    """Whether nobody but us is in a transaction, or has a lock on a row."""
    return bool(
        await admin.fetchval(f"SELECT count(*) = 0 FROM pg_stat_activity WHERE {OTHERS} AND state <> 'idle'")
    )


@pytest.mark.parametrize("seed", range(3))
async def test_cancelling_at_random_leaves_nothing_behind(
    store: AlchemyCRUD, admin: asyncpg.Connection, seed: int
) -> None:
    """After hundreds of cancelled operations every connection is back, no transaction is open, and all works."""
    assert store._started is not None

    await _hammer(store, store._started.engine, seed)

    assert await _is_calm(admin)
    task = new()
    assert (await store.add_tasks([task]))[0].outcome == "new"
    assert len(await store.find_tasks(TaskQuery(ids=frozenset({task.id})))) == 1


async def test_a_given_engine_is_left_clean_too(
    store: AlchemyCRUD, admin: asyncpg.Connection, postgres_url: str
) -> None:
    """The pool of the user's engine gets every connection back, outside of any transaction."""
    engine = create_async_engine(postgres_url, pool_size=2, max_overflow=1)
    crud = AlchemyCRUD(engine)
    await crud.startup()

    await _hammer(crud, engine, 9)

    await crud.shutdown()
    assert await _is_calm(admin)
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # a pool that counts
    await engine.dispose()


async def test_a_batch_that_is_cancelled_is_there_or_not(store: AlchemyCRUD, other: AlchemyCRUD) -> None:
    """Once the cancelled call has ended nothing of it happens later: another handle sees all or none, for good."""
    seen = set()
    for turns in range(60):
        batch = [new(unique=UniqueKey(key=f"{turns}-{n}") if turns % 2 else None) for n in range(30)]
        adding = asyncio.ensure_future(store.add_tasks(batch))
        for _ in range(turns // 4):
            await asyncio.sleep(0)
        await asyncio.sleep(turns / 60 * 0.006)
        adding.cancel()
        with suppress(asyncio.CancelledError):
            await adding

        there = len(await other.find_tasks(TaskQuery(ids=frozenset(task.id for task in batch))))
        answers = {added.outcome.value for added in await store.add_tasks(batch)}

        assert there in (0, 30)
        assert answers == ({"again"} if there else {"new"})
        seen.add(there)
    assert 0 in seen


async def test_whoever_waits_for_a_lock_is_let_go_soon(store: AlchemyCRUD, admin: asyncpg.Connection) -> None:
    """A settlement that waits for somebody's open transaction is cancelled within a second, and never happens."""
    await store.add_tasks([new()])
    [task] = (await store.claim_tasks(claim())).tasks
    async with admin.transaction():
        await admin.execute("SELECT FROM kapusta_task FOR UPDATE")
        settling = asyncio.ensure_future(store.change_tasks([settled(task)]))
        await answered(admin, WAITING)

        settling.cancel()
        async with asyncio.timeout(1):
            await asyncio.wait([settling])

    assert settling.cancelled()
    assert (await store.find_tasks(TaskQuery()))[0].status == "started"
    assert await _is_calm(admin)


@pytest.mark.parametrize("engine_is_given", [False, True])
async def test_a_cancelled_startup_leaves_nothing_open(
    store: AlchemyCRUD, admin: asyncpg.Connection, postgres_url: str, engine_is_given: bool
) -> None:
    """Cancelled at each of its steps, `startup()` has opened nothing for good, and can be repeated."""
    engine = create_async_engine(postgres_url)
    for turns in range(0, 90, 3):
        crud = AlchemyCRUD(engine if engine_is_given else postgres_url)
        starting = asyncio.ensure_future(crud.startup())
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        with suppress(asyncio.CancelledError):
            await starting
        await crud.startup()
        assert (await crud.add_tasks([new()]))[0].outcome == "new"
        await crud.shutdown()
    await engine.dispose()

    # What is left are the two connections of `store`.
    await answered(admin, f"SELECT count(*) <= 2 FROM pg_stat_activity WHERE {OTHERS}")


async def test_an_operation_under_way_ends_before_the_shutdown(postgres_url: str) -> None:
    """`shutdown()` waits for what was asked before it."""
    crud = AlchemyCRUD(postgres_url)
    await crud.startup()
    batch = [new() for _ in range(200)]
    adding = [asyncio.ensure_future(crud.add_tasks(batch[n::10])) for n in range(10)]
    await asyncio.sleep(0)

    await crud.shutdown()

    assert {added.outcome.value for each in await asyncio.gather(*adding) for added in each} == {"new"}


async def test_a_statement_that_was_stopped_by_the_server_is_unavailable(
    store: AlchemyCRUD, admin: asyncpg.Connection
) -> None:
    """An operator who cancels a statement of ours makes the call fail as one that may be repeated."""
    await store.add_tasks([new()])
    [task] = (await store.claim_tasks(claim())).tasks
    async with admin.transaction():
        await admin.execute("SELECT FROM kapusta_task FOR UPDATE")
        settling = asyncio.ensure_future(store.change_tasks([settled(task)]))
        waiting = await answered(admin, WAITING)

        await admin.execute("SELECT pg_cancel_backend($1)", waiting)

        with pytest.raises(StoreUnavailableError, match="change_tasks: canceling statement"):
            await settling
    assert {changed.answer.value for changed in await store.change_tasks([settled(task)])} == {"accepted"}
