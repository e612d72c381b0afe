"""The store's clock is the server's, at the beginning of the statement, wherever the session thinks it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from kapusta.backend import TaskQuery, UniqueKey
from kapusta_sqlalchemy import AlchemyCRUD
from kapusta_sqlalchemy._dialects._postgresql._sql import NOW
from tests.sqlalchemy.records import claim, new


@pytest.mark.parametrize("zone", ["Pacific/Chatham", "America/St_Johns", "UTC"])
async def test_a_session_in_another_time_zone_stores_the_same_instants(
    store: AlchemyCRUD, postgres_url: str, zone: str
) -> None:
    """What such a session launches comes due at once, and nothing of it is hours away."""
    engine = create_async_engine(
        postgres_url, connect_args={"server_settings": {"timezone": zone, "DateStyle": "SQL, DMY"}}
    )
    elsewhere = AlchemyCRUD(engine)
    await elsewhere.startup()
    eta = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
    await elsewhere.add_tasks([new(), new(eta=eta)])

    found = await store.find_tasks(TaskQuery())
    claims = await store.claim_tasks(claim())

    assert abs(found[0].created - datetime.now(UTC)) < timedelta(minutes=1)
    assert found[1].eta == eta
    assert len(claims.tasks) == 2
    assert await elsewhere.find_tasks(TaskQuery()) == await store.find_tasks(TaskQuery())
    await elsewhere.shutdown()
    await engine.dispose()


async def test_a_database_in_another_time_zone_will_do(
    store: AlchemyCRUD, admin: asyncpg.Connection, postgres_url: str
) -> None:
    """`ALTER DATABASE ... SET timezone` changes nothing."""
    name = await admin.fetchval("SELECT current_database()")
    await admin.execute(f"ALTER DATABASE \"{name}\" SET timezone = 'Asia/Kathmandu'")
    try:
        crud = AlchemyCRUD(postgres_url)
        await crud.startup()
        now = (await crud.claim_tasks(claim())).now
        await crud.shutdown()
    finally:
        await admin.execute(f'ALTER DATABASE "{name}" RESET timezone')

    assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)


async def test_now_is_the_statements_and_not_the_transactions(
    store: AlchemyCRUD, admin: asyncpg.Connection
) -> None:
    """In a transaction that began long ago the clock runs on, for an eta and for what is due."""
    async with admin.transaction():
        begun = await admin.fetchval("SELECT (extract(epoch FROM now()) * 1000000)::bigint")
        await admin.execute("SELECT pg_sleep(0.1)")
        now = await admin.fetchval(f"SELECT {NOW}", 0)

    assert now - begun >= 100_000


async def test_several_keyed_tasks_of_one_transaction_are_due_at_once(store: AlchemyCRUD) -> None:
    """What a transaction stores is due from its statement on, and can be claimed as soon as it is there."""
    await store.add_tasks([new(unique=UniqueKey(key=key)) for key in "abc"])

    assert len((await store.claim_tasks(claim())).tasks) == 3
