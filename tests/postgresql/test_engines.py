"""An engine that the user has made is used as it is, and stays the user's; and connections that die are replaced."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy import event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from kapusta.backend import StoreUnavailableError, TaskQuery, UniqueKey
from kapusta_sqlalchemy import AlchemyCRUD
from tests.postgresql.asking import OTHERS, WAITING, answered
from tests.sqlalchemy.records import claim, new, renewal, settled
from tests.worker.eventually import eventually


async def _live(crud: AlchemyCRUD) -> None:
    """Use every operation once."""
    keyed = [new(unique=UniqueKey(key=f"key-{n}")) for n in range(2)]
    assert {added.outcome.value for added in await crud.add_tasks([new(), *keyed])} == {"new"}
    tasks = (await crud.claim_tasks(claim())).tasks
    assert len(tasks) == 3
    assert {renewed.answer.value for renewed in await crud.renew_leases(renewal(*tasks))} == {"renewed"}
    answers = await crud.change_tasks([settled(task) for task in tasks])
    assert {changed.answer.value for changed in answers} == {"accepted"}
    assert len(await crud.find_tasks(TaskQuery(ids=frozenset(task.id for task in tasks)))) == 3
    assert await crud.delete_tasks([task.id for task in tasks]) == 3


@pytest.fixture
async def engine(postgres_url: str) -> AsyncIterator[AsyncEngine]:
    """A user's engine."""
    engine = create_async_engine(postgres_url)
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


async def test_a_given_engine_gets_no_listener_and_no_setting_of_ours(engine: AsyncEngine) -> None:
    """What its connections are told at the start is what the user tells them, and they come back as they were."""
    before = len(list(engine.pool.dispatch.connect)), len(list(engine.sync_engine.dispatch.begin))
    crud = AlchemyCRUD(engine)
    await crud.startup()
    await _live(crud)
    await crud.shutdown()

    assert (len(list(engine.pool.dispatch.connect)), len(list(engine.sync_engine.dispatch.begin))) == before
    async with engine.connect() as connection:
        for setting in ("enable_seqscan", "enable_bitmapscan", "enable_mergejoin"):
            assert (await connection.exec_driver_sql(f"SHOW {setting}")).scalar_one() == "on"
        await connection.rollback()
        driver: Any = (await connection.get_raw_connection()).driver_connection
        assert not driver.is_in_transaction()


async def test_a_twin_keeps_the_listeners_and_shares_no_connection(engine: AsyncEngine) -> None:
    """The user's listener speaks to the twin's connections too, in another thread and loop."""
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
        async with twin.listen(lambda _: None):
            found = await twin.find_tasks(TaskQuery())
        await twin.shutdown()
        return len(found)

    for _ in range(2):
        assert await asyncio.to_thread(asyncio.run, elsewhere(crud.twin())) == 1

    assert len(told) > mine
    assert len(set(map(id, told))) == len(told)
    await crud.shutdown()


async def test_listening_takes_nothing_of_a_given_pool(postgres_url: str) -> None:
    """A pool of one connection has that one for its user's work while a handle listens."""
    engine = create_async_engine(postgres_url, pool_size=1, max_overflow=0, pool_timeout=2)
    crud = AlchemyCRUD(engine)
    await crud.startup()
    async with crud.listen(lambda _: None):
        await _live(crud)
        async with engine.connect() as connection:
            await connection.exec_driver_sql("SELECT 1")
    await crud.shutdown()
    await engine.dispose()


@pytest.mark.parametrize("level", ["AUTOCOMMIT", "SERIALIZABLE", "REPEATABLE READ"])
async def test_an_engine_of_any_isolation_works(postgres_url: str, level: str) -> None:
    """What SQLAlchemy begins a transaction with is the user's; ours are single statements."""
    engine = create_async_engine(postgres_url, isolation_level=level)
    crud = AlchemyCRUD(engine)
    await crud.startup()

    await _live(crud)

    await crud.shutdown()
    await engine.dispose()


async def test_a_pool_that_keeps_nothing_will_do(postgres_url: str) -> None:
    """`NullPool` opens a connection for each operation; slow, and correct."""
    engine = create_async_engine(postgres_url, poolclass=NullPool)
    crud = AlchemyCRUD(engine)
    await crud.startup()

    await _live(crud)

    await crud.shutdown()
    await engine.dispose()


async def test_a_pool_in_use_is_named(postgres_url: str) -> None:
    """When the user's own work holds every connection, the call says so instead of waiting for ever."""
    engine = create_async_engine(postgres_url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    crud = AlchemyCRUD(engine)
    await crud.startup()
    async with engine.connect():
        with pytest.raises(StoreUnavailableError, match="every connection of the pool is in use"):
            await crud.add_tasks([new()])

    await _live(crud)
    await crud.shutdown()
    await engine.dispose()


@pytest.mark.parametrize("given", [False, True])
async def test_connections_that_the_server_has_ended_are_replaced(
    store: AlchemyCRUD, admin: asyncpg.Connection, postgres_url: str, given: bool
) -> None:
    """After a restart, as after `pg_terminate_backend`, the next operation has another connection and fails not."""
    engine = create_async_engine(postgres_url)
    crud = AlchemyCRUD(engine if given else postgres_url)
    await crud.startup()
    assert crud._started is not None
    pool = crud._started.engine
    taken = await asyncio.gather(*(pool.raw_connection() for _ in range(4)))
    drivers: list[Any] = [each.driver_connection for each in taken]
    for each in taken:
        each.close()

    await admin.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OTHERS}")
    await eventually(lambda: all(driver.is_closed() for driver in drivers), "this side hears of it")

    await _live(crud)
    await crud._started.dialect.close()  # a hint may be on its way
    assert crud._started.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # a pool that counts
    await crud.shutdown()
    await engine.dispose()


async def test_a_database_that_admits_nobody_for_a_while_is_an_outage(
    store: AlchemyCRUD, admin: asyncpg.Connection, postgres_url: str
) -> None:
    """Whatever a server says to who wants to connect, it says nothing of the task that is to be stored."""
    url = make_url(postgres_url)
    outside = await asyncpg.connect(
        url.set(drivername="postgresql", database="postgres").render_as_string(hide_password=False)
    )
    await outside.execute(f"ALTER DATABASE {url.database} ALLOW_CONNECTIONS false")
    await outside.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", url.database
    )

    async def is_shut() -> bool:
        try:
            await store.add_tasks([new()])
        except StoreUnavailableError as problem:
            return "no connection could be opened" in problem.problem
        return False

    await eventually(is_shut, "it admits nobody, and nothing but an outage is raised")
    await outside.execute(f"ALTER DATABASE {url.database} ALLOW_CONNECTIONS true")
    await outside.close()
    [added] = await store.add_tasks([new()])

    assert added.outcome == "new"


async def test_a_connection_that_dies_in_the_middle_is_unavailable(
    store: AlchemyCRUD, admin: asyncpg.Connection
) -> None:
    """The operation that was under way fails as one that may be repeated, and repeated it tells what has happened."""
    await store.add_tasks([new()])
    [task] = (await store.claim_tasks(claim())).tasks
    async with admin.transaction():
        await admin.execute("SELECT FROM kapusta_task FOR UPDATE")
        settling = asyncio.ensure_future(store.change_tasks([settled(task)]))
        waiting = await answered(admin, WAITING)

        await admin.execute("SELECT pg_terminate_backend($1)", waiting)

        with pytest.raises(StoreUnavailableError, match="change_tasks"):
            await settling
    [changed] = await store.change_tasks([settled(task)])
    assert changed.answer == "accepted"
