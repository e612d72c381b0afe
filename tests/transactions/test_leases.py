"""What the caller holds, a row, a whole file or every connection of its pool, costs no lease."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from kapusta import Kapusta
from kapusta.backend import Renewed, RenewRequest, StoredTask, TaskQuery
from kapusta_sqlalchemy import AlchemyCRUD
from tests.transactions.conftest import orders
from tests.worker.eventually import eventually

LEASE = 0.9
LONG = 3 * LEASE
LOCK = {"sqlite": "BEGIN IMMEDIATE"}
"""How to lock a row where it is not `FOR UPDATE`."""


@pytest.fixture
async def worker(url: str) -> AsyncIterator[Callable[..., Kapusta]]:
    """Makes Kapustas of one short lease on the database."""
    made: list[Kapusta] = []

    def make(crud: AlchemyCRUD | None = None, lease: float = LEASE) -> Kapusta:
        made.append(Kapusta(crud or AlchemyCRUD(url), lease=lease))
        return made[-1]

    yield make
    for kapusta in made:
        await kapusta.shutdown()


async def test_a_row_that_its_own_body_has_locked_keeps_its_lease(
    url: str, engine: AsyncEngine, worker: Callable[..., Kapusta]
) -> None:
    """A body that has finished within a transaction, and commits three leases later, runs once, and so does its neighbour.

    On SQLite, which locks no row but the whole file, neither of them can be renewed, nor rescued.
    """
    kapusta, other = worker(), worker()
    begun: list[str] = []
    waiting = asyncio.Event()

    async def book() -> str:
        begun.append("book")
        await waiting.wait()
        async with AsyncSession(engine) as session, session.begin():
            await kapusta.finish_within(session, "booked")
            await asyncio.sleep(LONG)
        return "returned"

    async def wait() -> str:
        begun.append("wait")
        waiting.set()
        await asyncio.sleep(2 * LONG)
        return "waited"

    tasks = [kapusta.register_task(body, name=body.__name__) for body in (book, wait)]
    await kapusta.startup()
    handles = [await task.launch() for task in tasks]
    for body in (book, wait):
        other.register_task(body, name=body.__name__)
    await other.startup()

    assert [await handle.result(timeout=20) for handle in handles] == ["booked", "waited"]
    assert sorted(begun) == ["book", "wait"]
    assert {(task.run, task.crashes) for task in await kapusta.crud.find_tasks(TaskQuery())} == {(1, 0)}


@pytest.mark.parametrize("how", ["its commit failed", "another transaction followed"])
async def test_a_body_that_goes_on_without_its_outcome_keeps_its_lease(
    engine: AsyncEngine, worker: Callable[..., Kapusta], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """That a commit was begun on its connection says nothing: the task is not started again beside the body."""
    kapusta, other = worker(), worker()
    seen: list[str] = []

    def refuse(connection: Any) -> None:
        connection.rollback()
        raise ValueError("a constraint that is looked at in the end")

    async def book() -> str:
        seen.append("begins")
        if len(seen) > 1:
            return "the second time"
        async with engine.connect() as connection:
            await kapusta.finish_within(connection, "booked")
            if how == "its commit failed":
                with monkeypatch.context() as broken, suppress(ValueError):
                    broken.setattr(engine.sync_engine.dialect, "do_commit", refuse)
                    await connection.commit()
            else:
                await connection.rollback()
                await connection.execute(orders.insert().values(id=7))
                await connection.commit()
        await asyncio.sleep(LONG)
        seen.append("ends")
        return "returned"

    task = kapusta.register_task(book, name="book", backoff=0.01)
    await kapusta.startup()
    handle = await task.launch()
    await eventually(lambda: seen, "it has begun")
    other.register_task(book, name="book", backoff=0.01)
    await other.startup()

    assert await handle.result(timeout=20) == "the second time"
    assert seen == ["begins", "ends", "begins"]


@pytest.mark.parametrize("commits", [True, False])
async def test_a_lease_that_is_lost_by_the_commit_itself_stops_no_body(
    engine: AsyncEngine, worker: Callable[..., Kapusta], monkeypatch: pytest.MonkeyPatch, commits: bool
) -> None:
    """A renewal may meet the outcome before the worker has asked for it: only if there is none is the body stopped."""
    renew, find = AlchemyCRUD.renew_leases, AlchemyCRUD.find_tasks
    answered = threading.Event()
    over = False
    ended: list[str] = []

    async def renewed(crud: AlchemyCRUD, request: RenewRequest) -> Sequence[Renewed]:
        answers = await renew(crud, request)
        if over and not commits:
            answers = [answer.replace(answer="lost") for answer in answers]
        if any(answer.answer == "lost" for answer in answers):
            asyncio.get_running_loop().call_later(0.1, answered.set)  # when the worker has heard of it
        return answers

    async def found(crud: AlchemyCRUD, query: TaskQuery) -> Sequence[StoredTask]:
        if over:
            await eventually(answered.is_set, "the lease is lost")
        return await find(crud, query)

    async def book() -> str:
        nonlocal over
        try:
            async with engine.connect() as connection:
                await kapusta.finish_within(connection, "booked")
                if not commits:
                    await connection.rollback()
                    await connection.execute(text("SELECT 1"))
                over = True
                await connection.commit()
            await eventually(answered.is_set, "the lease is lost")
            if not commits:
                await asyncio.Event().wait()
            ended.append("by itself")
        except asyncio.CancelledError:
            ended.append("stopped")
            raise
        return "returned"

    monkeypatch.setattr(AlchemyCRUD, "renew_leases", renewed)
    monkeypatch.setattr(AlchemyCRUD, "find_tasks", found)
    kapusta = worker()
    task = kapusta.register_task(book, name="book", on_crash="hold")
    await kapusta.startup()
    await task.launch()

    await eventually(lambda: ended, "the body has ended")
    assert ended == ["by itself" if commits else "stopped"]


async def test_a_row_that_a_stranger_has_locked_keeps_its_lease(
    url: str, engine: AsyncEngine, worker: Callable[..., Kapusta]
) -> None:
    """After three leases the lock is gone, and its worker, not a rescuer, is the first there."""
    kapusta, other = worker(lease=2 * LEASE), worker(lease=2 * LEASE)
    begun = asyncio.Event()

    async def work() -> str:
        assert not begun.is_set(), "it runs a second time"
        begun.set()
        await asyncio.sleep(3 * LONG)
        return "done"

    task = kapusta.register_task(work, name="work")
    await kapusta.startup()
    handle = await task.launch()
    await asyncio.wait_for(begun.wait(), 10)
    other.register_task(work, name="work")
    await other.startup()
    async with engine.begin() as connection:
        await connection.execute(text(LOCK.get(engine.name, "SELECT id FROM kapusta_task FOR UPDATE")))
        await asyncio.sleep(2 * LONG)

    assert await handle.result(timeout=20) == "done"
    assert [task.run for task in await other.crud.find_tasks(TaskQuery())] == [1]


async def test_a_pool_without_a_free_connection_costs_no_lease(
    url: str, worker: Callable[..., Kapusta]
) -> None:
    """The keeper has a connection of its own: leases go on while the application holds all that there are."""
    engine = create_async_engine(url, pool_size=1, max_overflow=0)
    kapusta, other = worker(AlchemyCRUD(engine)), worker()
    begun = 0

    async def work() -> str:
        nonlocal begun
        begun += 1
        async with engine.connect():
            await asyncio.sleep(LONG)
        return "done"

    task = kapusta.register_task(work, name="work")
    await kapusta.startup()
    handle = await task.launch()
    other.register_task(work, name="work")
    await other.startup()

    assert await handle.result(timeout=20) == "done"
    assert begun == 1
    assert [task.run for task in await other.crud.find_tasks(TaskQuery())] == [1]
    await kapusta.shutdown()
    await engine.dispose()
