"""Outcomes in a transaction of the body's own."""

from __future__ import annotations

import asyncio
import re
import threading
from datetime import timedelta

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from kapusta import (
    ClaimLostError,
    Kapusta,
    TaskFailedError,
    TaskStatus,
)
from kapusta.backend import Change, Guard, StoredTask, TaskQuery
from kapusta.testing import ManualClock
from kapusta_sqlalchemy import AlchemyCRUD
from tests.sqlalchemy.records import claim, settled
from tests.transactions.conftest import Begin, booked, orders
from tests.worker.eventually import eventually


async def found(kapusta: Kapusta, id: int, status: TaskStatus, run: int) -> StoredTask | None:
    """The task as it is stored, once it stands so after so many runs."""
    (task,) = await kapusta.crud.find_tasks(TaskQuery(ids=frozenset({int(id)})))
    return task if (task.status, task.run) == (status, run) else None


async def test_an_outcome_commits_with_its_effects(kapusta: Kapusta, begin: Begin) -> None:
    """The result that was written in the transaction is the task's; what the body returns after it is not."""

    async def book(order: int) -> str:
        async with begin() as transaction:
            await kapusta.finish_within(transaction, f"order {order}")
        return "too late"

    task = kapusta.register_task(book, name="book")
    await kapusta.startup()

    handle = await task.launch(7)

    assert await handle.result(timeout=10) == "order 7"
    (stored,) = await kapusta.crud.find_tasks(TaskQuery())
    assert (stored.status, stored.run, stored.settled_run, stored.crashes) == (TaskStatus.success, 1, 1, 0)


async def test_an_outcome_whose_transaction_fails_leaves_the_task_to_be_run_again(
    kapusta: Kapusta, engine: AsyncEngine
) -> None:
    """The first run's commit fails, with all its effects; the second run's are there once."""
    runs = 0

    async def book(order: int) -> str:
        nonlocal runs
        runs += 1
        async with AsyncSession(engine) as session, session.begin():
            await session.execute(orders.insert().values(id=order))
            await kapusta.finish_within(session, f"run {runs}")
            if runs == 1:
                raise ConnectionError("the commit failed")
        return "returned"

    task = kapusta.register_task(book, name="book")
    await kapusta.startup()

    handle = await task.launch(7)

    assert await handle.result(timeout=10) == "run 2"
    assert await booked(engine) == [7]
    (stored,) = await kapusta.crud.find_tasks(TaskQuery())
    assert (stored.run, stored.failures) == (2, 0)


async def test_a_commit_that_fails_is_named_and_the_next_attempt_waits(
    kapusta: Kapusta, engine: AsyncEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """What is down now is down in a moment, too: the task comes back after its backoff, and its reason says what was raised."""
    raised = "its body raised ConnectionError: the link is gone"

    def break_off(connection: object) -> None:
        raise ConnectionError("the link is gone")

    event.listen(engine.sync_engine, "commit", break_off)

    async def book(order: int) -> None:
        async with AsyncSession(engine) as session, session.begin():
            await session.execute(orders.insert().values(id=order))
            await kapusta.finish_within(session)

    task = kapusta.register_task(book, name="book", backoff=3600)
    await kapusta.startup()

    with caplog.at_level("INFO"):
        handle = await task.launch(7)
        stored = await eventually(lambda: found(kapusta, handle, TaskStatus.pending, run=1), "it is put off")
        await eventually(lambda: raised in caplog.text, "it is logged")

    assert stored.eta - stored.created > timedelta(minutes=59)
    assert (stored.crashes, stored.failures) == (1, 0)
    assert str(stored.reason).endswith(f"did not commit; {raised}")
    assert "ConnectionError: the link is gone" in str(stored.error)


async def test_a_quiet_rollback_counts_too(kapusta: Kapusta, engine: AsyncEngine) -> None:
    """A body that rolls its transaction back and returns has done nothing: it runs again."""
    runs = 0

    async def book() -> str:
        nonlocal runs
        runs += 1
        async with AsyncSession(engine) as session:
            await kapusta.finish_within(session, f"run {runs}")
            if runs == 1:
                await session.rollback()
            else:
                await session.commit()
        return "returned"

    task = kapusta.register_task(book, name="book")
    await kapusta.startup()

    assert await (await task.launch()).result(timeout=10) == "run 2"


async def test_a_task_that_must_not_run_twice_is_held_then(kapusta: Kapusta, engine: AsyncEngine) -> None:
    """With `on_crash="hold"` a lost commit is for a person to look at, and the reason says what was lost."""

    async def book() -> None:
        async with AsyncSession(engine) as session:
            await kapusta.finish_within(session)
            await session.rollback()

    task = kapusta.register_task(book, name="book", on_crash="hold")
    await kapusta.startup()

    with pytest.raises(TaskFailedError, match="did not commit") as caught:
        await (await task.launch()).result(timeout=10)
    assert caught.value.status is TaskStatus.held


async def test_what_the_body_does_after_the_commit_changes_nothing(
    kapusta: Kapusta, engine: AsyncEngine
) -> None:
    """An exception after the commit is no failure: the work is done, and was said to be."""

    async def book(order: int) -> str:
        async with AsyncSession(engine) as session, session.begin():
            await session.execute(orders.insert().values(id=order))
            await kapusta.finish_within(session, "done")
        raise ValueError("on the way out")

    task = kapusta.register_task(book, name="book", max_retry_attempts=3)
    await kapusta.startup()

    handle = await task.launch(7)

    assert await handle.result(timeout=10) == "done"
    assert await booked(engine) == [7]


@pytest.mark.parametrize("goes", [False, True], ids=["its row stays", "its row goes"])
async def test_a_body_may_go_on_after_its_commit(url: str, engine: AsyncEngine, goes: bool) -> None:
    """There is no lease any more that could be lost: what it does then is not cut off at the next renewal.

    Nor where somebody who deletes what has ended is as quick as that.
    """
    kapusta = Kapusta(AlchemyCRUD(url), lease=0.6)
    ended = asyncio.Event()

    async def book() -> None:
        async with AsyncSession(engine) as session, session.begin():
            await kapusta.finish_within(session, "done")
            if goes:
                await session.execute(text("DELETE FROM kapusta_task"))
        await asyncio.sleep(1.2)
        ended.set()

    task = kapusta.register_task(book, name="book")
    async with kapusta:
        await task.launch()

        await asyncio.wait_for(ended.wait(), 20)


async def test_an_outcome_that_another_worker_has_written_meanwhile_stays(
    url: str, engine: AsyncEngine, kapusta: Kapusta
) -> None:
    """Between the look at the row and the write, where no row can be locked, the task was rescued, run and settled."""
    if not url.startswith("sqlite"):
        pytest.skip("a row that was looked at is locked here")
    clock = ManualClock()
    clock.shift(hours=1)
    other = AlchemyCRUD(url, clock=clock)
    lost: list[ClaimLostError] = []
    looked = False
    ended = asyncio.Event()

    async def be_faster() -> None:
        await other.startup()
        (mine,) = await other.find_tasks(TaskQuery())
        rescue = Change(id=mine.id, run=mine.run, guard=Guard.expired, status=TaskStatus.pending)
        await other.change_tasks([rescue])
        (again,) = (await other.claim_tasks(claim(names=frozenset({"book"})))).tasks
        await other.change_tasks([settled(again, result=b'"the other\'s"')])
        await other.shutdown()

    def after_the_look(connection: object, cursor: object, statement: str, *rest: object) -> None:
        nonlocal looked
        if not looked and statement.startswith("SELECT kapusta_task"):
            looked = True
            thread = threading.Thread(target=lambda: asyncio.run(be_faster()))
            thread.start()
            thread.join()

    async def book() -> str:
        event.listen(engine.sync_engine, "after_cursor_execute", after_the_look)
        try:
            async with AsyncSession(engine) as session, session.begin():
                await kapusta.finish_within(session, "mine")
        except ClaimLostError as error:
            lost.append(error)
        finally:
            ended.set()
        return "mine, too late"

    task = kapusta.register_task(book, name="book")
    await kapusta.startup()

    assert await (await task.launch()).result(timeout=10) == "the other's"
    await asyncio.wait_for(ended.wait(), 10)
    assert len(lost) == 1


@pytest.mark.parametrize(
    "url", ["postgresql", "mysql"], indirect=True
)  # SQLite keeps no old snapshot for a writer
async def test_a_snapshot_from_before_a_renewal_is_explained(
    url: str, engine: AsyncEngine, kapusta: Kapusta
) -> None:
    """The database's own error comes through, so that whoever tries again on it may; and says what to do instead."""
    if engine.dialect.name != "postgresql":
        async with engine.connect() as connection:
            if not (await connection.execute(text("SHOW VARIABLES LIKE 'innodb_snapshot_isolation'"))).all():
                pytest.skip("this server lets a transaction write what has changed since its snapshot")
    raised: list[DBAPIError] = []
    renewing = "UPDATE kapusta_task SET lease_end = lease_end + 1"

    async def book() -> None:
        async with engine.connect() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ")
            if engine.dialect.name != "postgresql":
                await connection.execute(text("SET SESSION innodb_snapshot_isolation = ON"))
                await connection.commit()
            await connection.execute(select(orders.c.id))
            async with engine.begin() as other:
                await other.execute(text(renewing))
            try:
                await kapusta.finish_within(connection)
            except DBAPIError as error:
                raised.append(error)
                raise

    task = kapusta.register_task(book, name="book", on_crash="hold")
    await kapusta.startup()

    with pytest.raises(TaskFailedError) as caught:
        await (await task.launch()).result(timeout=10)

    assert caught.value.status is TaskStatus.held
    assert re.search("of task .* READ COMMITTED", str(caught.value.error))
    assert len(raised) == 1


async def test_a_claim_that_was_lost_is_said_within_the_transaction(
    url: str, engine: AsyncEngine, kapusta: Kapusta, caplog: pytest.LogCaptureFixture
) -> None:
    """The body learns it before its effects are there, and they are not there after it."""
    clock = ManualClock()
    clock.shift(hours=1)
    rescuer = AlchemyCRUD(url, clock=clock)
    lost: list[int] = []

    async def book(order: int) -> None:
        (mine,) = await rescuer.find_tasks(TaskQuery())
        rescue = Change(id=mine.id, run=mine.run, guard=Guard.expired, status=TaskStatus.pending)
        await rescuer.change_tasks([rescue])
        try:
            async with AsyncSession(engine) as session, session.begin():
                await session.execute(orders.insert().values(id=order))
                await kapusta.finish_within(session)
        except ClaimLostError as error:
            lost.append(error.task_id)

    task = kapusta.register_task(book, name="book")
    await kapusta.startup()
    await rescuer.startup()

    handle = await task.launch(7)
    await kapusta.run_until_idle()

    assert lost == [handle]
    assert "ended as 'success', but its claim was lost: refused" in caplog.text
    assert await handle.status() is TaskStatus.pending  # as its rescuer has left it
    assert await booked(engine) == []
    await rescuer.shutdown()


async def test_a_result_that_arrives_as_something_else_is_said_to(
    kapusta: Kapusta, begin: Begin, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the body writes its own outcome, its reason and the log say it as they do of a returned one."""

    async def book() -> object:
        async with begin() as transaction:
            await kapusta.finish_within(transaction, {1: b"x"})
        return "too late"

    task = kapusta.register_task(book, name="book")
    await kapusta.startup()

    handle = await task.launch()

    assert await handle.result(timeout=10) == {"1": "eA=="}
    change = "its result would arrive changed: {1: b'x'} as {'1': 'eA=='}"
    (stored,) = await kapusta.crud.find_tasks(TaskQuery())
    assert (stored.status, stored.reason) == (TaskStatus.success, change)
    await eventually(lambda: change in caplog.text, "it is logged")
