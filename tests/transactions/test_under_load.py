"""Many callers with a transaction each, and workers in other processes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from kapusta import TaskStatus
from kapusta.backend import TaskQuery
from tests.processes.conftest import Site
from tests.transactions.conftest import orders
from tests.worker.eventually import eventually

SALES: Final = 300
AT_ONCE: Final = {"sqlite": 1, "postgresql": 8, "mysql": 8}
"""So many callers sell at the same time; where there is one writer they would wait for each other in vain."""


class UndoError(Exception):
    """What a caller raises to have its transaction rolled back."""


@pytest.fixture
async def site(tmp_path: Path, url: str) -> AsyncIterator[Site]:
    """A store in the application's database, to which workers can be added."""
    site = Site(tmp_path, url)
    await site.kapusta.crud.startup()
    yield site
    await site.close()


async def test_under_load_exactly_what_was_committed_runs(site: Site, engine: AsyncEngine) -> None:
    """Two processes run it, once, and never before the commit: each body finds the row that was written with its launch."""
    kind = engine.dialect.name.replace("mariadb", "mysql")
    task = site.task("look")
    chance = random.Random(7)
    kept = {order for order in range(SALES) if chance.random() < 0.5}
    await asyncio.gather(*(site.worker("look") for _ in range(2)))

    async def sell(order: int) -> None:
        async with AsyncSession(engine) as session, session.begin():
            launch = task.with_options(transaction=session).launch
            await session.execute(orders.insert().values(id=order))
            await launch(folder=str(site.folder), url=site.url, order=order)
            # Whoever saw the launch already would look for the order now.
            await session.execute(select(func.count()).select_from(orders))
            if order not in kept:
                raise UndoError

    async def seller(left: Iterator[int]) -> None:
        for order in left:
            try:
                await sell(order)
            except UndoError:
                continue

    left = iter(range(SALES))
    async with asyncio.TaskGroup() as sellers:
        for _ in range(AT_ONCE[kind]):
            sellers.create_task(seller(left))

    async def all_have_ended() -> bool:
        found = await site.kapusta.crud.find_tasks(TaskQuery(limit=SALES))
        assert len(found) == len(kept)
        return all(each.status is TaskStatus.success for each in found)

    await eventually(all_have_ended, "all that was launched has run")
    assert site.notes("missed") == []
    assert sorted(int(order) for _, _, order in site.notes("found")) == sorted(kept)
    assert len({pid for pid, _, _ in site.notes("found")}) == 2
