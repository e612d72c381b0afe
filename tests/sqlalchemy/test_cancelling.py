"""Cancelled at any moment, an operation leaves nothing behind: no lock, no transaction, no connection."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from kapusta.backend import (
    Guard,
    StoreUnavailableError,
    TaskQuery,
    TaskStatus,
    UniqueKey,
)
from kapusta_sqlalchemy import AlchemyCRUD, _whole
from tests.sqlalchemy.records import claim, new, renewal, settled

FIRST = 1_000_000


def _open_files(path: Path) -> int:
    """How many times this process has the database open; always 0 where that cannot be seen."""
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        return 0
    found = 0
    for descriptor in descriptors.iterdir():
        with suppress(OSError):  # the one that lists the folder is gone by now
            found += descriptor.readlink() == path
    return found


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
    while rounds < 40 or cancelled <= 50:
        rounds += 1
        tasks = [asyncio.ensure_future(chance.choice(operations)()) for _ in range(8)]
        for task in tasks:
            for _ in range(chance.randrange(12)):
                await asyncio.sleep(0)
            if chance.random() < 0.5:
                await asyncio.sleep(chance.random() * 0.003)
            task.cancel()
        for answer in await asyncio.gather(*tasks, return_exceptions=True):
            assert answer is None or isinstance(answer, list | int | asyncio.CancelledError), answer
            cancelled += isinstance(answer, asyncio.CancelledError)
        assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # a pool that counts


@pytest.mark.parametrize("seed", range(4))
async def test_cancelling_at_random_leaves_nothing_behind(store: AlchemyCRUD, path: Path, seed: int) -> None:
    """After hundreds of cancelled operations every connection is back, nothing is locked, and all works.

    A cancelled await does not stop the statement in aiosqlite's thread: its connection must not be used
    again before that has ended.
    """
    assert store._started is not None

    await _hammer(store, store._started.engine, seed)

    with closing(sqlite3.connect(path, timeout=0)) as bystander:
        bystander.execute("BEGIN IMMEDIATE")
    task = new()
    assert (await store.add_tasks([task]))[0].outcome == "new"
    assert len(await store.find_tasks(TaskQuery(ids=frozenset({task.id})))) == 1


@pytest.mark.parametrize("seed", range(2))
async def test_a_given_engine_is_left_clean_too(url: str, path: Path, seed: int) -> None:
    """The pool of the user's engine gets every connection back, outside of any transaction."""
    engine = create_async_engine(url, poolclass=AsyncAdaptedQueuePool, pool_size=2, max_overflow=1)
    crud = AlchemyCRUD(engine)
    await crud.startup()

    await _hammer(crud, engine, seed)

    with closing(sqlite3.connect(path, timeout=0)) as bystander:
        bystander.execute("BEGIN IMMEDIATE")
    await crud.shutdown()
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
        await asyncio.sleep(turns / 60 * 0.002)
        adding.cancel()
        with suppress(asyncio.CancelledError):
            await adding
        ids = frozenset(task.id for task in batch)

        there = len(await other.find_tasks(TaskQuery(ids=ids)))
        answers = {added.outcome.value for added in await store.add_tasks(batch)}

        assert there in (0, 30)
        assert answers == ({"again"} if there else {"new"})
        seen.add(there)
    assert 0 in seen


async def test_whoever_waits_for_a_lock_is_let_go_soon(store: AlchemyCRUD, path: Path) -> None:
    """A launch that waits for another process's lock is cancelled within a second, and never happens."""
    task = new()
    with closing(sqlite3.connect(path, isolation_level=None)) as bully:
        bully.execute("BEGIN IMMEDIATE")
        adding = asyncio.ensure_future(store.add_tasks([task]))
        await asyncio.sleep(0.05)

        adding.cancel()
        async with asyncio.timeout(1.5):
            await asyncio.wait([adding])
        bully.execute("COMMIT")

    assert adding.cancelled()
    assert await store.find_tasks(TaskQuery(ids=frozenset({task.id}))) == []


async def test_a_cancelled_shutdown_can_be_repeated(url: str, path: Path) -> None:
    """Cancelling `shutdown()` leaves a handle that can be shut down and started again, and no open file."""
    crud = AlchemyCRUD(url)
    for turns in range(8):
        await crud.startup()
        await crud.add_tasks([new()])
        closing_down = asyncio.ensure_future(crud.shutdown())
        for _ in range(turns):
            await asyncio.sleep(0)
        closing_down.cancel()
        with suppress(asyncio.CancelledError):
            await closing_down
        await crud.shutdown()

    await crud.startup()
    assert (await crud.add_tasks([new()]))[0].outcome == "new"
    await crud.shutdown()
    await asyncio.gather(*_whole._underway)
    assert _open_files(path) == 0


async def test_a_cancelled_startup_leaves_nothing_open(url: str, path: Path) -> None:
    """Cancelled at each of its steps, `startup()` has opened nothing for good, and can be repeated."""
    for turns in range(0, 200, 3):
        crud = AlchemyCRUD(url)
        starting = asyncio.ensure_future(crud.startup())
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        with suppress(asyncio.CancelledError):
            await starting
            await crud.shutdown()
        assert _open_files(path) == 0
        await crud.startup()
        assert (await crud.add_tasks([new()]))[0].outcome == "new"
        await crud.shutdown()


async def test_an_operation_under_way_ends_before_the_shutdown(url: str) -> None:
    """`shutdown()` waits for what was asked before it; what is asked after it is refused."""
    crud = AlchemyCRUD(url)
    await crud.startup()
    batch = [new() for _ in range(200)]
    adding = [asyncio.ensure_future(crud.add_tasks(batch[n::10])) for n in range(10)]
    await asyncio.sleep(0)

    await crud.shutdown()

    assert {added.outcome.value for each in await asyncio.gather(*adding) for added in each} == {"new"}
    with pytest.raises(RuntimeError, match="not started"):
        await crud.add_tasks([new()])
    await crud.startup()
    assert len(await crud.find_tasks(TaskQuery(statuses=frozenset({TaskStatus.pending}), limit=1000))) == 200
    await crud.shutdown()


async def test_a_lock_beyond_patience_is_named(store: AlchemyCRUD, path: Path) -> None:
    """When another process keeps the lock, the call fails before core's ten seconds, with its name and the fact."""
    with closing(sqlite3.connect(path, isolation_level=None)) as bully:
        bully.execute("BEGIN IMMEDIATE")

        async with asyncio.timeout(8):
            with pytest.raises(StoreUnavailableError, match="add_tasks: database is locked, by another"):
                await store.add_tasks([new()])

        assert (await store.claim_tasks(claim())).tasks == []
        bully.execute("COMMIT")
    assert (await store.add_tasks([new()]))[0].outcome == "new"


async def test_starting_and_stopping_wait_for_each_other(url: str) -> None:
    """A shutdown during a startup closes what that has opened."""
    crud = AlchemyCRUD(url)

    await asyncio.gather(crud.startup(), crud.shutdown(), crud.startup(), crud.shutdown())

    with pytest.raises(RuntimeError, match="not started"):
        await crud.find_tasks(TaskQuery())
