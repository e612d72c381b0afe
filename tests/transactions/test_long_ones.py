"""Launches and outcomes in a transaction that began long ago, far away, or carries much."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from kapusta import Kapusta
from kapusta.backend import StoredTask, TaskQuery
from tests.worker.eventually import eventually

CLOCKS: Final = {
    "sqlite": "SELECT CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000",
    "postgresql": "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)",
    "mysql": "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', CONVERT_TZ(SYSDATE(6), @@time_zone, '+00:00'))",
}
"""What the server's clock says now, whenever the transaction began."""
ELSEWHERE: Final = {"postgresql": "SET TIME ZONE 'Pacific/Chatham'", "mysql": "SET time_zone = '+13:00'"}
LONG: Final = timedelta(seconds=0.3)


async def asked(connection: AsyncConnection) -> datetime:
    """The server's clock."""
    now = (await connection.execute(text(CLOCKS[connection.dialect.name]))).scalar_one()
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=now)


async def grown_old(connection: AsyncConnection) -> datetime:
    """The server's clock, once it has moved on a good deal since the transaction began."""
    zone = ELSEWHERE.get(connection.dialect.name)
    await connection.execute(text(zone or "SELECT 1"))
    began = await asked(connection)
    if connection.dialect.name == "sqlite":  # where a transaction begins with what it writes
        await connection.execute(text("DELETE FROM orders"))

    async def is_old() -> datetime | None:
        now = await asked(connection)
        return now if now - began >= LONG else None

    async with asyncio.timeout(10):
        while (now := await is_old()) is None:  # noqa: ASYNC110 - the server's clock tells nobody
            await asyncio.sleep(0.01)
    return now


async def stored(kapusta: Kapusta, id: int) -> StoredTask:
    """A task as it is stored."""
    (task,) = await kapusta.crud.find_tasks(TaskQuery(ids=frozenset({int(id)})))
    return task


async def test_an_eta_counts_from_the_launch_and_not_from_the_transactions_start(
    kapusta: Kapusta, engine: AsyncEngine
) -> None:
    """However old the transaction and wherever its session, delay and deadline count from the statement's instant."""
    task = kapusta.register_task(lambda: 42, name="ship", eta_delta=3600, overdue_time=7200)
    await kapusta.crud.startup()

    async with engine.begin() as connection:
        before = await grown_old(connection)
        handle = await task.with_options(transaction=connection).launch()
        after = await asked(connection)

    found = await stored(kapusta, handle)
    assert before <= found.created <= after
    assert found.eta == found.created + timedelta(hours=1)
    assert found.deadline == found.created + timedelta(hours=2)
    assert abs(found.created - datetime.now(UTC)) < timedelta(minutes=1)


async def test_an_outcome_is_of_its_own_instant(kapusta: Kapusta, engine: AsyncEngine) -> None:
    """A task that finishes within an old transaction finished when it said so."""
    instants: list[datetime] = []

    async def ship() -> None:
        async with engine.begin() as connection:
            instants.append(await grown_old(connection))
            await kapusta.finish_within(connection, None)
            instants.append(await asked(connection))

    task = kapusta.register_task(ship, name="ship")
    await kapusta.startup()

    handle = await task.launch()
    await handle.result(timeout=20)

    found = await stored(kapusta, handle)
    before, after = instants
    assert found.finished is not None
    assert before <= found.finished <= after


async def test_a_payload_at_the_limit_is_whole(kapusta: Kapusta, engine: AsyncEngine) -> None:
    """As many bytes as a launch may carry, of any kind of character, come to the body as they were given."""
    chance = random.Random(1)
    given = "".join(chr(chance.randrange(32, 0xD800)) for _ in range(300_000))
    got: list[str] = []
    task = kapusta.register_task(got.append, name="keep")
    await kapusta.startup()

    async with engine.begin() as connection:
        handle = await task.with_options(transaction=connection).launch(given)
    await handle.result(timeout=20)

    await eventually(lambda: got, "the body has run")
    assert got == [given]
