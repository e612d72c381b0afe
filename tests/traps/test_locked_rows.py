"""Somebody keeps one row locked: an open transaction in a console, a long migration, a body of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from kapusta import TaskStatus
from kapusta_sqlalchemy import AlchemyCRUD, _patience
from tests.worker.conftest import MakeKapusta
from tests.worker.eventually import eventually
from tests.worker.stored import claimed_by_the_dead, stored

Lock = Callable[[int], AbstractAsyncContextManager[None]]


@pytest.fixture(params=["postgresql", "mysql"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database that locks rows."""
    found: str = request.getfixturevalue("postgres_url" if request.param == "postgresql" else "mysql_url")
    return found


@pytest.fixture(autouse=True)
def waits_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement that has waited for a row waits once."""
    monkeypatch.setattr(_patience, "_PATIENCE", 0.0)


@pytest.fixture
async def lock(url: str) -> AsyncIterator[Lock]:
    """Keeps a task's row locked for a block, as another transaction does."""
    engine = create_async_engine(url)

    @asynccontextmanager
    async def lock(task_id: int) -> AsyncIterator[None]:
        async with engine.connect() as connection:
            await connection.execute(
                text("SELECT id FROM kapusta_task WHERE id = :id FOR UPDATE"), {"id": int(task_id)}
            )
            yield
            await connection.rollback()

    yield lock
    await engine.dispose()


async def test_an_outcome_whose_row_is_locked_keeps_no_other_waiting(
    url: str, lock: Lock, make_kapusta: MakeKapusta
) -> None:
    """Two bodies end at once, and one row is locked: the other outcome is stored meanwhile, and that one after it."""
    kapusta = make_kapusta(AlchemyCRUD(url))
    begun: list[str] = []
    go_on = asyncio.Event()

    @kapusta.task()
    async def work(name: str) -> str:
        begun.append(name)
        await go_on.wait()
        return name

    await kapusta.startup()
    locked, free = await work.launch_many([{"name": "locked"}, {"name": "free"}])
    await eventually(lambda: len(begun) == 2, "both have begun")

    async with lock(locked):
        go_on.set()
        meanwhile = await free.result(timeout=25)
        waits = await locked.status()

    assert (meanwhile, waits) == ("free", TaskStatus.started)
    assert await locked.result(timeout=25) == "locked"
    assert (await stored(kapusta, locked)).run == 1


async def test_a_lost_task_whose_row_is_locked_keeps_no_other_from_being_rescued(
    url: str, lock: Lock, make_kapusta: MakeKapusta
) -> None:
    """Of two whose worker has died, the one that can be rescued is, while somebody keeps the other's row locked."""
    kapusta = make_kapusta(AlchemyCRUD(url), lease=1)
    task = kapusta.register_task(lambda: "ran", name="task")
    await kapusta.crud.startup()
    locked, free = await task.launch_many([{}, {}])
    await claimed_by_the_dead(kapusta.crud, "task", count=2, lease=1)

    async with lock(locked):
        await kapusta.startup()
        meanwhile = await free.result(timeout=30)
        waits = await locked.status()

    assert (meanwhile, waits) == ("ran", TaskStatus.started)
    assert await locked.result(timeout=30) == "ran"
