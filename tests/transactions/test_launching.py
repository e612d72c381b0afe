"""Launches in the caller's transaction."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from kapusta import Kapusta, TaskNotFoundError, TransactionError
from kapusta.backend import AddOutcome, TaskQuery
from kapusta_memory import MemoryCRUD
from kapusta_sqlalchemy import AlchemyCRUD
from tests.sqlalchemy.records import new
from tests.transactions.conftest import Begin


class UndoError(Exception):
    """What a caller raises to have its transaction rolled back."""


async def test_a_transaction_that_commits_leaves_one_task(kapusta: Kapusta, begin: Begin) -> None:
    """The launch is there after the commit, runs, and its handle is the task's id."""
    task = kapusta.register_task(lambda order: order + 1, name="ship")
    await kapusta.startup()

    async with begin() as transaction:
        handle = await task.with_options(transaction=transaction).launch(41)

    assert await handle.result(timeout=10) == 42
    assert [each.id for each in await kapusta.crud.find_tasks(TaskQuery())] == [handle]


async def test_a_transaction_that_rolls_back_leaves_none(kapusta: Kapusta, begin: Begin) -> None:
    """Nothing of the launch is there, for the worker or for anybody."""
    task = kapusta.register_task(lambda: 42, name="ship")
    await kapusta.startup()

    with pytest.raises(UndoError):
        async with begin() as transaction:
            handle = await task.launch(update_params={"transaction": transaction})
            raise UndoError

    assert list(await kapusta.crud.find_tasks(TaskQuery())) == []
    with pytest.raises(TaskNotFoundError):
        await handle.status()


async def test_many_launches_join_together(kapusta: Kapusta, engine: AsyncEngine) -> None:
    """`launch_many` and `launch_now` join as `launch` does; all or none of it is there."""
    task = kapusta.register_task(lambda number: number, name="ship", eta_delta=1)
    await kapusta.startup()

    async with AsyncSession(engine) as session, session.begin():
        joined = task.with_options(transaction=session)
        handles = await joined.launch_many([{"number": 1}, {"number": 2}])
        handles.append(await joined.launch_now(3))

    assert [await handle.result(timeout=10) for handle in handles] == [1, 2, 3]


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)  # elsewhere it depends on how it was built
async def test_more_launches_than_a_statement_has_parameters_join(
    kapusta: Kapusta, engine: AsyncEngine
) -> None:
    """However many there are, they are one launch: all of them are there after the commit."""
    many = 33_000
    await kapusta.crud.startup()

    async with engine.begin() as connection:
        added = await kapusta.crud.within(connection, lambda: None).add_tasks([new() for _ in range(many)])
    async with engine.connect() as connection:
        found = (await connection.execute(text("SELECT count(*) FROM kapusta_task"))).scalar_one()

    assert {each.outcome for each in added} == {AddOutcome.new}
    assert found == many


async def test_many_launches_are_few_statements(kapusta: Kapusta, engine: AsyncEngine) -> None:
    """A thousand tasks are looked for, and inserted, by one statement each; a repetition inserts what is missing."""
    await kapusta.crud.startup()
    tasks = [new() for _ in range(2_500)]
    sent: list[str] = []

    def count(connection: object, cursor: object, statement: str, *rest: object) -> None:
        if "kapusta_task" in statement:
            sent.append(statement.split(maxsplit=1)[0])

    async with engine.begin() as connection:
        joined = kapusta.crud.within(connection, lambda: None)
        await joined.add_tasks(tasks[1_000:1_001])
        event.listen(engine.sync_engine, "before_cursor_execute", count)
        added = await joined.add_tasks(tasks)

    assert [each.id for each in added if each.outcome is AddOutcome.again] == [tasks[1_000].id]
    assert sent == ["SELECT", "INSERT"] * 3


async def test_nothing_starts_before_the_commit(kapusta: Kapusta, begin: Begin) -> None:
    """While the transaction is open, a worker that looks finds nothing; after it, it is woken."""
    began = asyncio.Event()

    async def ship() -> None:
        began.set()

    task = kapusta.register_task(ship, name="ship")
    await kapusta.startup()
    async with begin() as transaction:
        handle = await task.with_options(transaction=transaction).launch()
        await kapusta.run_until_idle()
        assert not began.is_set()
        assert await kapusta.get_task_status(handle) is None
        with pytest.raises(TaskNotFoundError, match="in a transaction that has not committed yet"):
            await handle.status()

    await asyncio.wait_for(began.wait(), 10)


@pytest.mark.parametrize("url", ["postgresql", "mysql"], indirect=True)  # SQLite knows one phase
@pytest.mark.parametrize("kind", ["AsyncSession", "Connection"])
async def test_after_two_phases_the_worker_is_told(
    kapusta: Kapusta, engine: AsyncEngine, blocking_url: str, kind: str
) -> None:
    """A commit that was prepared first is a commit: what was launched is not left to the next look at the store."""
    if engine.dialect.name == "postgresql":
        async with engine.connect() as connection:
            most = (await connection.execute(text("SHOW max_prepared_transactions"))).scalar_one()
        if int(most) == 0:
            pytest.skip("this server prepares no transactions: its max_prepared_transactions is 0")
    told = asyncio.Event()
    await kapusta.crud.startup()

    if kind == "AsyncSession":
        async with AsyncSession(engine, twophase=True) as session, session.begin():
            await kapusta.crud.within(session, told.set).add_tasks([new()])
    else:
        blocking = create_engine(blocking_url)
        with blocking.connect() as connection, connection.begin_twophase() as transaction:
            await kapusta.crud.within(connection, told.set).add_tasks([new()])
            transaction.prepare()
        blocking.dispose()

    await asyncio.wait_for(told.wait(), 10)


async def test_a_savepoint_that_rolls_back_takes_its_launch_along(
    kapusta: Kapusta, engine: AsyncEngine
) -> None:
    """What was launched in a savepoint shares its fate, and the rest of the transaction goes on."""
    task = kapusta.register_task(lambda: 42, name="ship")
    await kapusta.startup()

    async with AsyncSession(engine) as session, session.begin():
        joined = task.with_options(transaction=session)
        kept = await joined.launch()
        with pytest.raises(UndoError):
            async with session.begin_nested():
                await joined.launch()
                raise UndoError

    assert await kept.result(timeout=10) == 42
    assert [each.id for each in await kapusta.crud.find_tasks(TaskQuery())] == [kept]


async def test_another_database_is_refused(kapusta: Kapusta, tmp_path: Path) -> None:
    """A transaction of a database without our store: an error that says so, and nothing is stored anywhere."""
    task = kapusta.register_task(lambda: 42, name="ship")
    await kapusta.startup()
    elsewhere = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'elsewhere.db'}")

    async with elsewhere.begin() as connection:
        with pytest.raises(TransactionError, match="there is no store of tasks in") as caught:
            await task.with_options(transaction=connection).launch()
    await elsewhere.dispose()

    assert "Give a transaction of the database" in str(caught.value)
    assert list(await kapusta.crud.find_tasks(TaskQuery())) == []


async def test_another_store_of_the_same_kind_is_refused(kapusta: Kapusta, tmp_path: Path) -> None:
    """The store's own id decides, not the name of its tables."""
    task = kapusta.register_task(lambda: 42, name="ship")
    await kapusta.startup()
    other_url = f"sqlite+aiosqlite:///{tmp_path / 'other.db'}"
    other = AlchemyCRUD(other_url)
    await other.startup()
    await other.shutdown()
    elsewhere = create_async_engine(other_url)

    async with elsewhere.begin() as connection:
        with pytest.raises(TransactionError, match="holds another store"):
            await task.with_options(transaction=connection).launch()
    await elsewhere.dispose()


async def test_what_is_no_transaction_is_refused(kapusta: Kapusta, engine: AsyncEngine) -> None:
    """An engine, a session's maker, anything else: an error that names what can be joined."""
    task = kapusta.register_task(lambda: 42, name="ship")
    await kapusta.startup()

    with pytest.raises(TransactionError, match="it is of type AsyncEngine"):
        await task.with_options(transaction=engine).launch()


async def test_a_backend_that_joins_none_says_so() -> None:
    """In memory there is no transaction to join."""
    kapusta = Kapusta(MemoryCRUD())
    task = kapusta.register_task(lambda: 42, name="ship")
    async with kapusta:
        with pytest.raises(TransactionError, match="MemoryCRUD joins none"):
            await task.with_options(transaction=object()).launch()
