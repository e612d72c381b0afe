"""An outcome whose transaction cannot commit: the task runs again, and its effects are there once."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Executable,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    Result,
    Table,
    event,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from kapusta import Kapusta, TaskFailedError, TaskStatus
from kapusta.backend import StoredTask, TaskQuery
from tests.servers.mariadb import ask as ask_mysql
from tests.transactions.conftest import Begin, booked, orders
from tests.transactions.locking import IMPATIENCE, locked

lines = Table(
    "lines",
    MetaData(),
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("order_id", Integer),
    ForeignKeyConstraint(["order_id"], [orders.c.id], deferrable=True, initially="DEFERRED").ddl_if(
        dialect=("postgresql", "sqlite")
    ),
)
"""What belongs to orders; where a database can, it looks in the end whether they are there."""

MINE = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT CONNECTION_ID()"}
KILL = {"postgresql": "SELECT pg_terminate_backend({}, 10000)", "mysql": "KILL {}"}


async def ask(transaction: Any, statement: Executable) -> Result[Any]:
    """What a statement answers, on any kind of connection or session."""
    answer = transaction.execute(statement)
    result: Result[Any] = await answer if inspect.isawaitable(answer) else answer
    return result


async def cut_off(engine: AsyncEngine, transaction: Any) -> None:
    """Have the server end the connection of a transaction."""
    kind = engine.dialect.name.replace("mariadb", "mysql")
    mine = (await ask(transaction, text(MINE[kind]))).scalar_one()
    async with engine.connect() as other:
        await other.execute(text(KILL[kind].format(mine)))


async def stored(kapusta: Kapusta) -> StoredTask:
    """The one task that there is."""
    (task,) = await kapusta.crud.find_tasks(TaskQuery())
    return task


@pytest.mark.parametrize(
    ("url", "how", "raised"),
    [
        ("sqlite", "its lines have no order", "IntegrityError"),
        ("postgresql", "its lines have no order", "IntegrityError"),
        ("postgresql", "its connection is gone", "Error"),
        ("mysql", "its connection is gone", "OperationalError"),
    ],
    indirect=["url"],
)
async def test_an_outcome_whose_commit_itself_fails_is_none(
    kapusta: Kapusta,
    engine: AsyncEngine,
    begin: Begin,
    how: str,
    raised: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """All statements of the first run have succeeded, and COMMIT does not: the second run's effects are there, once."""
    committing: list[int] = []

    async def book(order: int) -> str:
        run = len(committing) + 1
        async with begin() as transaction:
            if engine.dialect.name == "sqlite":
                await ask(transaction, text("PRAGMA foreign_keys = ON"))
            await ask(transaction, lines.insert().values(id=run, order_id=order))
            if run > 1 or how != "its lines have no order":
                await ask(transaction, orders.insert().values(id=order))
            await kapusta.finish_within(transaction, f"run {run}")
            if run == 1 and how == "its connection is gone":
                await cut_off(engine, transaction)
            committing.append(run)
        return "returned"

    task = kapusta.register_task(book, name="book", backoff=0.01)
    await kapusta.startup()
    async with engine.begin() as connection:
        await connection.run_sync(lines.metadata.create_all)

    with caplog.at_level("INFO"):
        assert await (await task.launch(7)).result(timeout=20) == "run 2"

    assert committing == [1, 2]
    assert re.search(rf"did not commit; its body raised sqlalchemy\.exc\.\w*{raised}", caplog.text)
    assert await booked(engine) == [7]
    async with engine.connect() as connection:
        assert (await connection.execute(select(lines))).all() == [(2, 7)]


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


@pytest.mark.parametrize("url", ["mysql"], indirect=True)
async def test_a_renewal_just_after_the_look_at_the_store_is_in_nobodys_way(
    kapusta: Kapusta, engine: AsyncEngine, url: str
) -> None:
    """The look takes no snapshot: only what the application itself has read before may be too old to write."""
    if not ask_mysql(url, "SHOW VARIABLES LIKE 'innodb_snapshot_isolation'"):
        pytest.skip("this server lets a transaction write what has changed since its snapshot")
    renewed: list[str] = []

    def renew(connection: object, cursor: object, statement: str, *rest: object) -> None:
        if "FROM kapusta_store" in statement:
            ask_mysql(url, "UPDATE kapusta_task SET lease_end = lease_end + 1")
            renewed.append(statement)

    async def book() -> str:
        async with engine.connect() as connection:
            await connection.execute(text("SET SESSION innodb_snapshot_isolation = ON"))
            await connection.commit()
            event.listen(engine.sync_engine, "after_cursor_execute", renew)
            await kapusta.finish_within(connection, "booked")
            await connection.commit()
        return "returned"

    task = kapusta.register_task(book, name="book", on_crash="hold")
    await kapusta.startup()

    assert await (await task.launch()).result(timeout=20) == "booked"
    assert len(renewed) == 1
