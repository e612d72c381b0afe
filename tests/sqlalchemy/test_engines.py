"""An engine that the user has made is used as it is, and stays the user's."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool, StaticPool

from kapusta.backend import StoreUnavailableError, StoreUrlError, TaskQuery, UniqueKey
from kapusta_sqlalchemy import AlchemyCRUD
from tests.sqlalchemy.records import claim, new, renewal, settled


async def _live(crud: AlchemyCRUD) -> None:
    """Use every operation once."""
    keyed = new(unique=UniqueKey(key=f"key-{id(crud)}"))
    assert {added.outcome.value for added in await crud.add_tasks([new(), keyed])} == {"new"}
    tasks = (await crud.claim_tasks(claim())).tasks
    assert len(tasks) == 2
    assert {renewed.answer.value for renewed in await crud.renew_leases(renewal(*tasks))} == {"renewed"}
    assert {
        changed.answer.value for changed in await crud.change_tasks([settled(task) for task in tasks])
    } == {"accepted"}
    assert len(await crud.find_tasks(TaskQuery(ids=frozenset(task.id for task in tasks)))) == 2
    assert await crud.delete_tasks([task.id for task in tasks]) == 2


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    """A user's engine."""
    engine = create_async_engine(url, poolclass=AsyncAdaptedQueuePool)
    yield engine
    await engine.dispose()


async def test_a_given_engine_survives_the_handle(engine: AsyncEngine) -> None:
    """After `shutdown()` its pool is the same and its connections are open: it was not disposed."""
    crud = AlchemyCRUD(engine)
    await crud.startup()
    await _live(crud)
    pool = engine.pool

    await crud.shutdown()

    assert engine.pool is pool
    assert pool.checkedin() > 0  # type: ignore[attr-defined]  # a pool that counts
    await crud.startup()
    await _live(crud)
    await crud.shutdown()


async def test_a_given_engine_gets_no_listener_of_ours(engine: AsyncEngine) -> None:
    """What its connections are told at the start is what the user tells them."""
    before = len(list(engine.pool.dispatch.connect)), len(list(engine.sync_engine.dispatch.begin))
    crud = AlchemyCRUD(engine)
    await crud.startup()
    await crud.shutdown()

    assert (len(list(engine.pool.dispatch.connect)), len(list(engine.sync_engine.dispatch.begin))) == before


@pytest.mark.parametrize("begin", ["BEGIN", "BEGIN IMMEDIATE"])
async def test_an_engine_that_begins_by_itself_works(engine: AsyncEngine, begin: str) -> None:
    """SQLAlchemy's recipe for SQLite, listeners that set autocommit and send BEGIN, does not collide with ours."""

    @event.listens_for(engine.sync_engine, "connect")
    def connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine.sync_engine, "begin")
    def begins(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    crud = AlchemyCRUD(engine)
    await crud.startup()
    await _live(crud)
    await crud.shutdown()

    async with engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        assert driver.isolation_level is None


@pytest.mark.parametrize("level", ["DEFERRED", "IMMEDIATE"])
async def test_a_connection_comes_back_as_it_was(url: str, level: str) -> None:
    """The isolation level that the user chose is there again after our operations."""
    engine = create_async_engine(
        url,
        poolclass=AsyncAdaptedQueuePool,
        connect_args={"isolation_level": level},
        pool_size=1,
        max_overflow=0,
    )
    crud = AlchemyCRUD(engine)
    await crud.startup()
    await _live(crud)

    async with engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        assert driver.isolation_level == level
        assert not driver.in_transaction

    await crud.shutdown()
    await engine.dispose()


async def test_a_twin_keeps_the_listeners_and_shares_no_connection(engine: AsyncEngine) -> None:
    """The user's listener speaks to the twin's connections too, in another thread and loop; ours stay ours."""
    told: list[object] = []

    @event.listens_for(engine.sync_engine, "connect")
    def connect(connection: object, _record: object) -> None:
        told.append(connection)

    crud = AlchemyCRUD(engine)
    await crud.startup()
    await crud.add_tasks([new()])
    mine = len(told)

    async def elsewhere(twin: AlchemyCRUD) -> int:
        await twin.startup()
        found = await twin.find_tasks(TaskQuery())
        await twin.shutdown()
        return len(found)

    for _ in range(2):
        twin = crud.twin()
        assert await asyncio.to_thread(asyncio.run, elsewhere(twin)) == 1
        assert await asyncio.to_thread(asyncio.run, elsewhere(twin)) == 1

    assert len(told) > mine
    assert len(set(map(id, told))) == len(told)
    await _live_on(crud)
    await crud.shutdown()


async def _live_on(crud: AlchemyCRUD) -> None:
    assert (await crud.add_tasks([new()]))[0].outcome == "new"


async def test_a_schema_is_a_file_that_the_user_attaches(engine: AsyncEngine, path: Path) -> None:
    """With `schema=` the tables, their log and the wake-ups are those of the attached file."""
    attached = path.with_name("attached.db")

    @event.listens_for(engine.sync_engine, "connect")
    def connect(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("ATTACH DATABASE ? AS other", (str(attached),))
        cursor.close()

    crud, twin = AlchemyCRUD(engine, schema="other"), AlchemyCRUD(f"sqlite:///{attached}")
    await crud.startup()
    await twin.startup()
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with crud.listen(heard.put_nowait):
        assert await heard.get() == "work"
        assert await heard.get() == "settled"
        await _live(crud)
        async with asyncio.timeout(5):
            assert await heard.get() == "work"

    await twin.add_tasks([new()])
    assert len(await crud.find_tasks(TaskQuery())) == 1
    with closing(sqlite3.connect(attached)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    await crud.shutdown()
    await twin.shutdown()


async def test_a_schema_that_is_not_attached_is_refused(url: str) -> None:
    """SQLite has no schemas but attached files; the error says how to have one."""
    with pytest.raises(StoreUrlError, match="no attached database 'tasks'"):
        await AlchemyCRUD(url, schema="tasks").startup()


async def test_connections_of_ours_are_durable(store: AlchemyCRUD) -> None:
    """Whatever SQLite was compiled to do, a commit is on the disk before it is answered; the log is a WAL."""
    assert store._started is not None
    async with store._started.engine.connect() as connection:
        pragmas = [
            (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "busy_timeout")
        ]

    assert pragmas == ["wal", 2, 500]


async def test_how_a_given_connection_reads_a_text_is_the_users_again(engine: AsyncEngine) -> None:
    """During an operation it reads what is no text, too, so that one such row hides no other."""
    crud = AlchemyCRUD(engine)
    await crud.startup()
    await crud.add_tasks([damaged := new(), healthy := new()])
    async with engine.begin() as connection:
        await connection.exec_driver_sql(
            f"UPDATE kapusta_task SET token = CAST(X'ff' AS TEXT) WHERE id = {damaged.id}"
        )

    assert [task.id for task in await crud.find_tasks(TaskQuery())] == [healthy.id]

    async with engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        assert driver.text_factory is str
    await crud.shutdown()


@pytest.mark.parametrize("pool", [NullPool, StaticPool])
async def test_any_pool_will_do(url: str, pool: type[NullPool | StaticPool]) -> None:
    """A pool that keeps nothing, and one that has a single connection, serve as well."""
    engine = create_async_engine(url, poolclass=pool)
    crud = AlchemyCRUD(engine)
    await crud.startup()

    await _live(crud)

    await crud.shutdown()
    await engine.dispose()


async def test_a_pool_in_use_is_named(url: str) -> None:
    """When the user's own work holds every connection, the call says so instead of waiting for ever."""
    engine = create_async_engine(
        url, poolclass=AsyncAdaptedQueuePool, pool_size=1, max_overflow=0, pool_timeout=0.05
    )
    crud = AlchemyCRUD(engine)
    await crud.startup()
    async with engine.connect():
        with pytest.raises(StoreUnavailableError, match="every connection of the pool is in use"):
            await crud.add_tasks([new()])

    await _live_on(crud)
    await crud.shutdown()
    await engine.dispose()


@pytest.mark.skipif(not hasattr(sqlite3, "LEGACY_TRANSACTION_CONTROL"), reason="needs Python 3.12")
async def test_an_engine_that_is_always_in_a_transaction_is_refused(url: str) -> None:
    """With `autocommit=False` nothing we write would ever be committed: better no start than a silent loss."""
    engine = create_async_engine(url, poolclass=AsyncAdaptedQueuePool, connect_args={"autocommit": False})

    with pytest.raises(StoreUrlError, match="never outside a transaction"):
        await AlchemyCRUD(engine).startup()

    await engine.dispose()


async def test_a_connection_that_somebody_closed_is_replaced(store: AlchemyCRUD) -> None:
    """An operation on a closed connection raises `StoreUnavailableError`; the next one has another."""
    assert store._started is not None
    engine = store._started.engine
    await store.find_tasks(TaskQuery())
    taken = await engine.raw_connection()
    driver = taken.driver_connection
    assert driver is not None
    await driver.close()
    taken.close()

    with pytest.raises(StoreUnavailableError, match=r"add_tasks: (no active connection|Connection closed)"):
        await store.add_tasks([new()])

    await _live(store)
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # a pool that counts
