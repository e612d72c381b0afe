"""What the caller holds, a row or every connection of its pool, costs no lease."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from kapusta import Kapusta
from kapusta.backend import TaskQuery
from kapusta_sqlalchemy import AlchemyCRUD

LEASE = 0.9
LONG = 3 * LEASE


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
    """A body that has finished within a transaction, and commits three leases later, runs once, and so does its neighbour."""
    if url.startswith("sqlite"):
        pytest.skip("SQLite has one writer: whoever keeps a transaction open keeps the whole file")
    kapusta, other = worker(), worker()
    begun: list[str] = []

    async def book() -> str:
        begun.append("book")
        async with AsyncSession(engine) as session, session.begin():
            await kapusta.finish_within(session, "booked")
            await asyncio.sleep(LONG)
        return "returned"

    async def wait() -> str:
        begun.append("wait")
        await asyncio.sleep(LONG)
        return "waited"

    tasks = [kapusta.register_task(body, name=body.__name__) for body in (book, wait)]
    await kapusta.startup()
    handles = [await task.launch() for task in tasks]
    for body in (book, wait):
        other.register_task(body, name=body.__name__)
    await other.startup()

    assert [await handle.result(timeout=20) for handle in handles] == ["booked", "waited"]
    assert sorted(begun) == ["book", "wait"]
    assert {task.run for task in await kapusta.crud.find_tasks(TaskQuery())} == {1}


async def test_a_row_that_a_stranger_has_locked_keeps_its_lease(
    url: str, engine: AsyncEngine, worker: Callable[..., Kapusta]
) -> None:
    """After three leases the lock is gone, and its worker, not a rescuer, is the first there."""
    if url.startswith("sqlite"):
        pytest.skip("SQLite locks no row")
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
        await connection.execute(text("SELECT id FROM kapusta_task FOR UPDATE"))
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
