"""What looks like a transaction and is none, or is one to wait for elsewhere: refused in words; and what stands for one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from sqlalchemy import create_engine, event, select, text
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from kapusta import Kapusta, TransactionError
from kapusta.backend import TaskQuery
from tests.transactions.conftest import KINDS, Begin, beginning, orders


@pytest.fixture(params=KINDS)
async def begin_nothing(request: pytest.FixtureRequest, url: str, blocking_url: str) -> AsyncIterator[Begin]:
    """Begins what commits each statement by itself."""
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    blocking = create_engine(blocking_url, isolation_level="AUTOCOMMIT")
    yield beginning(request.param, engine, blocking)
    blocking.dispose()
    await engine.dispose()


async def test_a_launch_is_not_joined_to_what_commits_by_itself(
    kapusta: Kapusta, begin_nothing: Begin
) -> None:
    """There is no transaction that it could share the fate of: nothing is stored, and the error says what to give."""
    task = kapusta.register_task(lambda: 42, name="ship")
    await kapusta.startup()

    async with begin_nothing() as transaction:
        with pytest.raises(TransactionError, match="commits each statement by itself") as caught:
            await task.with_options(transaction=transaction).launch()

    assert "isolation_level='AUTOCOMMIT'" in str(caught.value)
    assert list(await kapusta.crud.find_tasks(TaskQuery())) == []


async def test_an_outcome_is_not_joined_to_what_commits_by_itself(
    kapusta: Kapusta, begin_nothing: Begin
) -> None:
    """The outcome would be there before its effects: it is not written, and the body goes on."""
    refused: list[TransactionError] = []

    async def book() -> str:
        async with begin_nothing() as transaction:
            try:
                await kapusta.finish_within(transaction, "finished")
            except TransactionError as error:
                refused.append(error)
        return "returned"

    task = kapusta.register_task(book, name="book")
    await kapusta.startup()

    assert await (await task.launch()).result(timeout=10) == "returned"
    assert len(refused) == 1


async def test_a_level_of_one_connection_counts_as_well(kapusta: Kapusta, engine: AsyncEngine) -> None:
    """What a connection was told for itself, whatever its engine was told."""
    task = kapusta.register_task(lambda: 42, name="ship")
    await kapusta.startup()

    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        with pytest.raises(TransactionError, match="commits each statement by itself"):
            await task.with_options(transaction=connection).launch()


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("begins", [True, False])
async def test_where_sqlalchemy_begins_by_hand_there_is_a_transaction(
    kapusta: Kapusta, url: str, begins: bool
) -> None:
    """SQLite's driver may be told to begin nothing, by those who begin themselves: only without that there is none."""
    engine = create_async_engine(url, connect_args={"isolation_level": None})
    if begins:
        event.listen(engine.sync_engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    task = kapusta.register_task(lambda: 42, name="ship")
    await kapusta.startup()

    async with engine.connect() as connection:  # on which nothing has begun yet
        if begins:
            await task.with_options(transaction=connection).launch()
        else:
            with pytest.raises(TransactionError, match="commits each statement by itself"):
                await task.with_options(transaction=connection).launch()
    await engine.dispose()

    assert list(await kapusta.crud.find_tasks(TaskQuery())) == []


@pytest.mark.parametrize("inner", ["sync_session", "sync_connection"])
async def test_the_inside_of_an_async_one_is_refused(
    kapusta: Kapusta, engine: AsyncEngine, inner: str
) -> None:
    """Its statements wait in a way that only its outside can: the error names what to give instead."""
    task = kapusta.register_task(lambda: 42, name="ship")
    await kapusta.startup()
    outside: Callable[[], Any] = (
        engine.connect if inner == "sync_connection" else lambda: AsyncSession(engine)
    )

    async with outside() as transaction:
        await transaction.execute(text("SELECT 1"))
        with pytest.raises(TransactionError, match=r"Give the Async(Session|Connection) itself"):
            await task.with_options(transaction=getattr(transaction, inner)).launch()
        assert (await transaction.execute(text("SELECT 1"))).scalar_one() == 1


@pytest.mark.parametrize("commits", [True, False])
async def test_a_scoped_session_stands_for_the_one_that_it_has(
    kapusta: Kapusta, engine: AsyncEngine, blocking_url: str, commits: bool
) -> None:
    """The launch shares the fate of what was written through the same scope, async or not."""
    task = kapusta.register_task(lambda order: order, name="ship")
    await kapusta.startup()
    blocking = create_engine(blocking_url)
    scoped = scoped_session(sessionmaker(blocking))
    async_scoped = async_scoped_session(async_sessionmaker(engine), scopefunc=asyncio.current_task)

    await async_scoped.execute(orders.insert().values(id=1))
    handles = [await task.with_options(transaction=async_scoped).launch(1)]
    await (async_scoped.commit() if commits else async_scoped.rollback())
    await async_scoped.remove()
    scoped.execute(orders.insert().values(id=2))
    handles.append(await task.with_options(transaction=scoped).launch(2))
    (scoped.commit if commits else scoped.rollback)()
    scoped.remove()
    with Session(blocking) as session:
        booked = list(session.execute(select(orders.c.id).order_by(orders.c.id)).scalars())
    blocking.dispose()

    assert booked == ([1, 2] if commits else [])
    found = await kapusta.crud.find_tasks(TaskQuery())
    assert [each.id for each in found] == ([int(handle) for handle in handles] if commits else [])
