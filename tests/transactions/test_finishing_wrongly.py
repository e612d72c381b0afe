"""Calls of `finish_within` that are mistakes: each is said in words, and leaves the task as it was."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from kapusta import (
    AlreadyFinishedError,
    Kapusta,
    OutsideOfTaskError,
    ResultEncodingError,
    TaskFailedError,
    TransactionError,
)
from kapusta_memory import MemoryCRUD
from tests.transactions.conftest import booked, orders


@pytest.mark.parametrize("committed", [True, False])
async def test_a_second_call_in_one_run_says_that_it_is_the_second(
    kapusta: Kapusta, engine: AsyncEngine, committed: bool
) -> None:
    """Whether the first is committed or about to be, it is the one that counts; the claim was not lost."""
    refused: list[AlreadyFinishedError] = []
    ended = asyncio.Event()

    async def book() -> str:
        async with AsyncSession(engine) as session:
            await kapusta.finish_within(session, "first")
            if committed:
                await session.commit()
            try:
                await kapusta.finish_within(session, "second")
            except AlreadyFinishedError as error:
                refused.append(error)
            await session.commit()
        ended.set()
        return "returned"

    task = kapusta.register_task(book, name="book")
    await kapusta.startup()

    handle = await task.launch()

    assert await handle.result(timeout=10) == "first"
    await asyncio.wait_for(ended.wait(), 10)
    assert [error.task_id for error in refused] == [handle]


async def test_a_call_after_a_rollback_is_no_second_one(kapusta: Kapusta, engine: AsyncEngine) -> None:
    """A body may try its transaction again: what was rolled back has not been written."""
    ended = asyncio.Event()

    async def book() -> str:
        async with AsyncSession(engine) as session:
            await kapusta.finish_within(session, "first")
            await session.rollback()
            await kapusta.finish_within(session, "second")
            await session.commit()
        ended.set()
        return "returned"

    task = kapusta.register_task(book, name="book")
    await kapusta.startup()

    assert await (await task.launch()).result(timeout=10) == "second"
    await asyncio.wait_for(ended.wait(), 10)


async def test_a_second_call_that_is_refused_takes_back_no_first_one(
    kapusta: Kapusta, engine: AsyncEngine
) -> None:
    """The second transaction is of another database; the first is rolled back, and what the body returns is no success."""
    elsewhere = create_async_engine("sqlite+aiosqlite://")

    async def book() -> str:
        async with AsyncSession(engine) as session, elsewhere.connect() as wrong:
            await kapusta.finish_within(session, "first")
            with pytest.raises(TransactionError):
                await kapusta.finish_within(wrong, "second")
            await session.rollback()
        await elsewhere.dispose()
        return "returned"

    task = kapusta.register_task(book, name="book", on_crash="hold")
    await kapusta.startup()

    with pytest.raises(TaskFailedError, match="the transaction of its outcome did not commit"):
        await (await task.launch()).result(timeout=10)


async def test_outside_of_a_body_there_is_nothing_to_finish(kapusta: Kapusta, engine: AsyncEngine) -> None:
    """An error that says where it belongs; nothing is written."""
    await kapusta.startup()

    async with AsyncSession(engine) as session:
        with pytest.raises(OutsideOfTaskError, match="in the body of an `async def` task"):
            await kapusta.finish_within(session)


async def test_the_body_of_another_kapusta_cannot_finish_here(engine: AsyncEngine, kapusta: Kapusta) -> None:
    """A task belongs to the Kapusta that runs it."""
    other = Kapusta(MemoryCRUD())

    async def book() -> None:
        await kapusta.finish_within(object())

    task = other.register_task(book, name="book")
    async with other:
        with pytest.raises(TaskFailedError, match="OutsideOfTaskError"):
            await (await task.launch()).result(timeout=timedelta(seconds=10))


async def test_a_result_that_cannot_be_stored_rolls_back_with_the_rest(
    kapusta: Kapusta, engine: AsyncEngine
) -> None:
    """Unlike a result that is returned, it is refused while its effects can still be undone."""
    refused: list[ResultEncodingError] = []

    async def book(order: int) -> None:
        try:
            async with AsyncSession(engine) as session, session.begin():
                await session.execute(orders.insert().values(id=order))
                await kapusta.finish_within(session, object())
        except ResultEncodingError as error:
            refused.append(error)

    task = kapusta.register_task(book, name="book")
    await kapusta.startup()

    await (await task.launch(7)).result(timeout=10)

    assert len(refused) == 1
    assert str(refused[0]).count("task 'book'") == 1
    assert "Nothing was written" in str(refused[0])
    assert await booked(engine) == []
