"""A conflict within the caller's transaction is the caller's: nothing is tried again behind its back."""

from __future__ import annotations

import pytest
from sqlalchemy import event, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from kapusta import Kapusta
from kapusta.backend import TaskQuery
from tests.transactions.conftest import orders
from tests.transactions.locking import IMPATIENCE, locked


async def test_a_launch_that_meets_a_conflict_is_not_repeated_in_the_callers_transaction(
    kapusta: Kapusta, engine: AsyncEngine, url: str
) -> None:
    """One statement fails, once, with the driver's own error; nothing of the transaction is there, and a new one works."""
    kind = engine.dialect.name.replace("mariadb", "mysql")
    task = kapusta.register_task(lambda: 42, name="ship")
    await kapusta.crud.startup()
    failed: list[str] = []
    event.listen(engine.sync_engine, "handle_error", lambda context: failed.append(context.statement))
    order = orders.insert().values(id=1)

    async with AsyncSession(engine) as session:
        await session.execute(text(IMPATIENCE[kind]))
        await session.execute(select(func.count()).select_from(orders))
        async with locked(url, kind):
            with pytest.raises(DBAPIError):
                await task.with_options(transaction=session).launch()
        await session.rollback()
    async with AsyncSession(engine) as session, session.begin():
        there = (await session.execute(select(func.count()).select_from(orders))).scalar_one()
        await session.execute(order)
        handle = await task.with_options(transaction=session).launch()

    assert len(failed) == 1
    assert "kapusta_task" in failed[0]
    assert there == 0
    assert [each.id for each in await kapusta.crud.find_tasks(TaskQuery())] == [handle]


@pytest.mark.parametrize("url", ["postgresql", "mysql"], indirect=True)  # SQLite has one writer at a time
async def test_a_launch_that_is_committed_late_is_not_passed_by(
    kapusta: Kapusta, engine: AsyncEngine
) -> None:
    """Its id and its eta are smaller than those of what has run meanwhile: a worker asks what is due, not what is new."""
    ran: list[str] = []

    @kapusta.task(name="ship")
    def ship(which: str) -> None:
        ran.append(which)

    await kapusta.crud.startup()
    async with AsyncSession(engine) as session, session.begin():
        early = await ship.with_options(transaction=session).launch("early")
        late = await ship.launch("late")
        await kapusta.run_until_idle()
    meanwhile = list(ran)
    await kapusta.run_until_idle()

    assert early < late
    assert meanwhile == ["late"]
    assert ran == ["late", "early"]
