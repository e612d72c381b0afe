"""An outcome whose transaction cannot commit: the task runs again, and its effects are there once."""

from __future__ import annotations

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from kapusta import Kapusta, TaskFailedError, TaskStatus
from kapusta.backend import StoredTask, TaskQuery
from tests.transactions.conftest import orders
from tests.transactions.locking import IMPATIENCE, locked


async def booked(engine: AsyncEngine) -> list[int]:
    """The application's rows."""
    async with engine.connect() as connection:
        return list((await connection.execute(select(orders.c.id).order_by(orders.c.id))).scalars())


async def stored(kapusta: Kapusta) -> StoredTask:
    """The one task that there is."""
    (task,) = await kapusta.crud.find_tasks(TaskQuery())
    return task


@pytest.mark.parametrize("lets_it_out", [True, False])
async def test_an_outcome_that_meets_an_error_of_the_databases_counts_as_not_committed(
    kapusta: Kapusta, engine: AsyncEngine, url: str, lets_it_out: bool
) -> None:
    """Another writer was in the way of the outcome itself: whatever the body makes of that, it runs again."""
    kind = engine.dialect.name.replace("mariadb", "mysql")
    met: list[Exception] = []

    async def meet(order: int) -> None:
        async with locked(url, kind), AsyncSession(engine) as session, session.begin():
            await session.execute(text(IMPATIENCE[kind]))
            await kapusta.finish_within(session, "the first")
            await session.execute(orders.insert().values(id=order))

    async def book(order: int) -> str:
        if not met:
            try:
                await meet(order)
            except DBAPIError as error:
                met.append(error)
                if lets_it_out:
                    raise
                return "returned"
        async with AsyncSession(engine) as session, session.begin():
            await session.execute(orders.insert().values(id=order))
            await kapusta.finish_within(session, "another")
        return "returned"

    task = kapusta.register_task(book, name="book", backoff=0.01, max_crashes=None)
    await kapusta.startup()

    handle = await task.launch(7)

    assert await handle.result(timeout=20) == "another"
    assert len(met) == 1
    assert await booked(engine) == [7]
    assert (await stored(kapusta)).failures == 0


@pytest.mark.parametrize("refusal", ["TransactionError", "ResultEncodingError"])
async def test_a_refusal_that_is_let_out_is_a_failure(
    kapusta: Kapusta, engine: AsyncEngine, url: str, refusal: str
) -> None:
    """What was given is wrong in this run and in any other: no crash, which would be run again."""
    by_itself = create_async_engine(url, isolation_level="AUTOCOMMIT")

    async def book() -> None:
        async with (by_itself if refusal == "TransactionError" else engine).connect() as connection:
            await kapusta.finish_within(connection, object() if refusal == "ResultEncodingError" else None)

    task = kapusta.register_task(book, name="book", on_crash="hold")
    await kapusta.startup()

    with pytest.raises(TaskFailedError, match=refusal) as caught:
        await (await task.launch()).result(timeout=10)
    await by_itself.dispose()

    assert caught.value.status is TaskStatus.error
