"""Another store under a Kapusta that an application has made."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kapusta import Kapusta, KapustaValueError, StillStartedError, TaskNotFoundError
from kapusta.backend import TaskQuery
from kapusta.testing import ManualClock
from kapusta_memory import MemoryCRUD
from kapusta_sqlalchemy import AlchemyCRUD


@pytest.fixture
def application(tmp_path: Path) -> Kapusta:
    """A Kapusta on a database that no test may touch."""
    return Kapusta(AlchemyCRUD(f"sqlite+aiosqlite:///{tmp_path / 'production.db'}"))


async def test_a_registered_task_is_launched_and_run_on_the_other_store(
    application: Kapusta, tmp_path: Path
) -> None:
    """A task made at import goes to memory for the block, in the time of that store; the database is not opened."""
    clock = ManualClock()
    task = application.register_task(lambda: 42, name="answer", eta_delta=3600)

    with application.using(MemoryCRUD(clock=clock)) as crud:
        async with application:
            answer = await task.launch()
            [stored] = await crud.find_tasks(TaskQuery())
            await clock.advance(hours=1)
            result = await answer.result()

    assert (result, stored.created) == (42, clock.now() - clock.offset)
    assert not (tmp_path / "production.db").exists()


async def test_after_the_block_the_store_is_the_one_before(application: Kapusta) -> None:
    """What a test has launched stays with the test, and what was launched before is there again."""
    task = application.register_task(lambda: 42, name="answer")
    mine = application.crud
    async with application:
        before = await task.launch()
        await before.result(timeout=10)

    with application.using("memory://") as other:
        async with application:
            within = await task.launch()
            with pytest.raises(TaskNotFoundError):
                await before.status()
        assert application.crud is other

    async with application:
        assert await before.result(timeout=10) == 42
        with pytest.raises(TaskNotFoundError):
            await within.status()
    assert application.crud is mine


async def test_ids_are_drawn_by_the_clock_of_the_other_store(application: Kapusta) -> None:
    """An id begins with the time of the store that is in place; within a process ids rise all the same."""
    task = application.register_task(lambda: 42, name="answer")
    ids = []

    for year in (2050, 2040):
        with application.using(MemoryCRUD(clock=ManualClock(datetime(year, 1, 1, tzinfo=UTC)))):
            await application.crud.startup()
            ids.append(int(await task.launch()))

    years = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(milliseconds=id >> 21) for id in ids]
    assert years[0].year == 2050
    assert ids == sorted(ids)


def test_each_test_has_a_store_and_an_event_loop_of_its_own(application: Kapusta) -> None:
    """One test after another, each with its loop, as a runner of async tests has it."""
    task = application.register_task(lambda: 42, name="answer")

    async def one() -> int:
        with application.using(MemoryCRUD(clock=ManualClock())):
            async with application:
                answer = await task.launch()
                await application.run_until_idle()
                return await answer.result()

    assert [asyncio.run(one()) for _ in range(3)] == [42] * 3


async def test_the_store_of_a_running_kapusta_stays(application: Kapusta) -> None:
    """A worker whose store changed under it would settle on one what it had claimed on the other."""
    mine = application.crud

    async with application:
        with pytest.raises(StillStartedError, match="shutdown"), application.using(MemoryCRUD()):
            pass

    assert application.crud is mine


async def test_a_block_that_is_left_running_keeps_its_store(application: Kapusta) -> None:
    """A test that forgot its shutdown does not begin to work on the database."""
    with pytest.raises(StillStartedError), application.using(MemoryCRUD()) as memory:
        await application.startup()

    assert application.crud is memory
    await application.shutdown()


def test_only_a_store_takes_the_place_of_a_store(application: Kapusta) -> None:
    """What is no backend is refused as `Kapusta` itself refuses it, and nothing has changed."""
    mine = application.crud

    with pytest.raises(KapustaValueError, match="is no BaseCRUD"), application.using(7):  # type: ignore[arg-type]
        pass

    assert application.crud is mine
