"""Cancelled at any moment, an operation leaves nothing behind: no lock, no transaction, no connection."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from kapusta.backend import Guard, TaskQuery, UniqueKey
from kapusta_sqlalchemy import AlchemyCRUD
from tests.servers.mariadb import ask, connect
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
        tasks = [asyncio.ensure_future(chance.choice(operations)()) for _ in range(6)]
        for task in tasks:
            for _ in range(chance.randrange(12)):
                await asyncio.sleep(0)
            if chance.random() < 0.5:
                await asyncio.sleep(chance.random() * 0.01)
            task.cancel()
        for answer in await asyncio.gather(*tasks, return_exceptions=True):
            assert answer is None or isinstance(answer, list | int | asyncio.CancelledError), answer
            cancelled += isinstance(answer, asyncio.CancelledError)
        assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # a pool that counts


def _nothing_is_open(mysql_url: str) -> None:
    """Every row can be locked at once, and few connections are left."""
    with closing(connect(mysql_url)) as bystander, bystander.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT id FROM kapusta_task FOR UPDATE NOWAIT")
        cursor.execute("SELECT task FROM kapusta_unique_key FOR UPDATE NOWAIT")
        cursor.execute("ROLLBACK")
    there = ask(mysql_url, "SELECT id FROM information_schema.processlist WHERE db = DATABASE()")
    assert len(there) <= 3 + 3 + 1


@pytest.mark.parametrize("seed", range(3))
async def test_cancelling_at_random_leaves_nothing_behind(
    store: AlchemyCRUD, mysql_url: str, seed: int
) -> None:
    """After hundreds of cancelled operations every connection is back, nothing is locked, and all works."""
    assert store._started is not None

    await _hammer(store, store._started.engine, seed)

    _nothing_is_open(mysql_url)
    task = new()
    assert (await store.add_tasks([task]))[0].outcome == "new"
    assert len(await store.find_tasks(TaskQuery(ids=frozenset({task.id})))) == 1


async def test_a_given_engine_is_left_clean_too(store: AlchemyCRUD, mysql_url: str) -> None:
    """The pool of the user's engine gets every connection back, outside of any transaction."""
    engine = create_async_engine(mysql_url, pool_size=2, max_overflow=1)
    crud = AlchemyCRUD(engine)
    await crud.startup()

    await _hammer(crud, engine, 7)

    _nothing_is_open(mysql_url)
    assert (await crud.add_tasks([new()]))[0].outcome == "new"
    await crud.shutdown()
    await engine.dispose()


async def test_a_caller_who_waits_for_a_row_is_let_go(store: AlchemyCRUD, mysql_url: str) -> None:
    """Cancelled while its statement waits for a stranger's lock, a caller is free within a second or so.

    What waited does not happen later, when the row is free, unless it has been carried out by then.
    """
    await store.add_tasks([new()])
    (given,) = (await store.claim_tasks(claim())).tasks
    with closing(connect(mysql_url)) as stranger, stranger.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT id FROM kapusta_task FOR UPDATE")
        changing = asyncio.ensure_future(store.change_tasks([settled(given)]))
        await asyncio.sleep(0.2)
        changing.cancel()

        async with asyncio.timeout(3):
            await asyncio.wait([changing])

        assert changing.cancelled()
        cursor.execute("ROLLBACK")
    (answer,) = await store.change_tasks([settled(given)])
    assert answer.answer.value in {"accepted", "already"}


async def test_a_busy_loop_keeps_no_row_locked(store: AlchemyCRUD, mysql_url: str) -> None:
    """While the event loop is blocked in the middle of a claim, nothing that the claim touches stays locked.

    A transaction travels in one packet, so its end needs no further turn of the loop.
    """
    await store.add_tasks([new() for _ in range(20)])
    for turns in range(0, 40, 3):
        claiming = asyncio.ensure_future(store.claim_tasks(claim(1)))
        for _ in range(turns):
            await asyncio.sleep(0)

        # Blocks the loop for as long as a transaction of ours is open.
        with closing(connect(mysql_url)) as bystander, bystander.cursor() as cursor:
            cursor.execute("SET SESSION innodb_lock_wait_timeout = 1")
            cursor.execute("BEGIN")
            cursor.execute("SELECT id FROM kapusta_task FOR UPDATE")
            cursor.execute("ROLLBACK")

        await claiming
