"""An engine that the user has made is used as it is, and stays the user's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from kapusta.backend import StoreUnavailableError, TaskQuery, UniqueKey
from kapusta_sqlalchemy import AlchemyCRUD
from tests.servers.mariadb import ask
from tests.sqlalchemy.records import claim, new, renewal, settled

SETTINGS = (
    "SELECT @@autocommit, @@sql_mode, @@time_zone, @@group_concat_max_len, @@innodb_lock_wait_timeout, "
    "@@lock_wait_timeout, @@character_set_client, @@{isolation}"
)


async def _live(crud: AlchemyCRUD) -> None:
    """Use every operation once."""
    keyed = new(unique=UniqueKey(key=f"key-{id(crud)}"))
    assert {added.outcome.value for added in await crud.add_tasks([new(), keyed])} == {"new"}
    tasks = (await crud.claim_tasks(claim())).tasks
    assert len(tasks) == 2
    assert {renewed.answer.value for renewed in await crud.renew_leases(renewal(*tasks))} == {"renewed"}
    answers = await crud.change_tasks([settled(task) for task in tasks])
    assert {changed.answer.value for changed in answers} == {"accepted"}
    assert len(await crud.find_tasks(TaskQuery(ids=frozenset(task.id for task in tasks)))) == 2
    assert await crud.delete_tasks([task.id for task in tasks]) == 2


@pytest.fixture
async def engine(mysql_url: str) -> AsyncIterator[AsyncEngine]:
    """A user's engine, of one connection."""
    engine = create_async_engine(mysql_url, pool_size=1, max_overflow=0)
    yield engine
    await engine.dispose()


async def test_a_given_engine_survives_the_handle(engine: AsyncEngine) -> None:
    """After `shutdown()` its pool is the same and its connection is open: it was not disposed."""
    crud = AlchemyCRUD(engine)
    await crud.startup()
    await _live(crud)
    pool = engine.pool

    await crud.shutdown()

    assert engine.pool is pool
    assert pool.checkedin() == 1  # type: ignore[attr-defined]  # a pool that counts
    await crud.startup()
    await _live(crud)
    await crud.shutdown()


@pytest.mark.parametrize(
    "theirs",
    [
        "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET SESSION time_zone = '+05:30', sql_mode = ''",
        "SET SESSION sql_mode = 'ANSI,NO_BACKSLASH_ESCAPES', autocommit = 1",
        "SET SESSION innodb_lock_wait_timeout = 33, lock_wait_timeout = 44, group_concat_max_len = 128",
        "SET NAMES latin1",
    ],
)
async def test_a_session_comes_back_as_it_was(engine: AsyncEngine, mysql_url: str, theirs: str) -> None:
    """Whatever a user's listener has set, all operations work under it, and it is there again after them."""
    [(version,)] = ask(mysql_url, "SELECT VERSION()")
    isolation = "tx_isolation" if "MariaDB" in version else "transaction_isolation"
    settings = text(SETTINGS.format(isolation=isolation))

    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(theirs)
        cursor.close()

    async with engine.connect() as connection:
        before = (await connection.execute(settings)).one()
    crud = AlchemyCRUD(engine)
    await crud.startup()
    await _live(crud)

    async with engine.connect() as connection:
        assert (await connection.execute(settings)).one() == before
    await crud.shutdown()


async def test_the_users_work_goes_on_beside_ours(engine: AsyncEngine, mysql_url: str) -> None:
    """The connection that we gave back begins and rolls back transactions as the user's engine says."""
    crud = AlchemyCRUD(engine)
    await crud.startup()
    await _live(crud)
    ask(mysql_url, "CREATE TABLE theirs (id INT PRIMARY KEY)")

    async with engine.connect() as connection:
        await connection.execute(text("INSERT INTO theirs VALUES (1)"))
        await connection.rollback()
    async with engine.begin() as connection:
        await connection.execute(text("INSERT INTO theirs VALUES (2)"))

    assert ask(mysql_url, "SELECT id FROM theirs") == [(2,)]
    await crud.shutdown()


async def test_a_listener_that_begins_a_transaction_is_no_trouble(engine: AsyncEngine) -> None:
    """A connection that comes from the pool in the middle of a transaction serves as well."""

    @event.listens_for(engine.sync_engine, "checkout")
    def checked_out(connection: Any, _record: object, _proxy: object) -> None:
        cursor = connection.cursor()
        cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        cursor.close()

    crud = AlchemyCRUD(engine)
    await crud.startup()
    await _live(crud)
    await crud.shutdown()


async def test_a_twin_keeps_the_listeners_and_shares_no_connection(mysql_url: str) -> None:
    """The user's listener speaks to the twin's connections too, in another thread and loop."""
    engine = create_async_engine(mysql_url)
    told: list[object] = []

    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: object, _record: object) -> None:
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

    twin = crud.twin()
    assert await asyncio.to_thread(asyncio.run, elsewhere(twin)) == 1
    assert await asyncio.to_thread(asyncio.run, elsewhere(twin)) == 1

    assert len(told) > mine
    assert (await crud.add_tasks([new()]))[0].outcome == "new"
    await crud.shutdown()
    await engine.dispose()


async def test_a_pool_that_keeps_nothing_will_do(mysql_url: str) -> None:
    """With `NullPool` every operation has a connection of its own."""
    engine = create_async_engine(mysql_url, poolclass=NullPool)
    crud = AlchemyCRUD(engine)
    await crud.startup()

    await _live(crud)

    await crud.shutdown()
    await engine.dispose()


async def test_a_pool_in_use_is_named(mysql_url: str) -> None:
    """When the user's own work holds every connection, the call says so instead of waiting for ever."""
    engine = create_async_engine(mysql_url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    crud = AlchemyCRUD(engine)
    await crud.startup()
    async with engine.connect():
        with pytest.raises(StoreUnavailableError, match="every connection of the pool is in use"):
            await crud.add_tasks([new()])

    await _live(crud)
    await crud.shutdown()
    await engine.dispose()


async def test_a_handle_has_no_more_connections_than_it_says(store: AlchemyCRUD, mysql_url: str) -> None:
    """Many operations at once share three connections."""
    await asyncio.gather(
        *(store.add_tasks([new()]) for _ in range(30)), *(store.find_tasks(TaskQuery()) for _ in range(30))
    )

    there = ask(mysql_url, "SELECT id FROM information_schema.processlist WHERE db = DATABASE()")

    assert len(there) - 1 == 3
