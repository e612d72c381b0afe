"""Who is woken by a commit of the caller's; clocks stand still here, so that nobody looks by himself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from kapusta import Kapusta
from kapusta.backend import WakeKind
from kapusta.testing import ManualClock
from kapusta_sqlalchemy import AlchemyCRUD
from tests.transactions.conftest import Begin


class Deaf(AlchemyCRUD):
    """A handle that hears nothing of what others write; made by a test."""

    @asynccontextmanager
    async def listen(self, wake: Callable[[WakeKind], None]) -> AsyncIterator[None]:
        """Listen to nobody."""
        yield


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still."""
    return ManualClock()


@pytest.fixture
async def deaf(url: str, engine: AsyncEngine, clock: ManualClock) -> AsyncIterator[Kapusta]:
    """A Kapusta whose worker neither looks by itself nor hears of others."""
    kapusta = Kapusta(Deaf(url, clock=clock))
    yield kapusta
    await kapusta.shutdown()


@pytest.fixture
async def asleep(url: str, engine: AsyncEngine, clock: ManualClock) -> AsyncIterator[Kapusta]:
    """Another Kapusta on the same database, as in another process, whose worker does not look by itself."""
    kapusta = Kapusta(AlchemyCRUD(url, clock=clock))
    yield kapusta
    await kapusta.shutdown()


async def test_the_worker_of_this_process_is_woken(deaf: Kapusta, clock: ManualClock, begin: Begin) -> None:
    """On every database, by every kind of transaction, nothing else would tell it."""
    began = asyncio.Event()

    async def ship() -> None:
        began.set()

    task = deaf.register_task(ship, name="ship")
    await deaf.startup()
    await clock.settle()

    async with begin() as transaction:
        await task.with_options(transaction=transaction).launch()

    await asyncio.wait_for(began.wait(), 10)


async def test_who_waits_in_this_process_is_told_of_an_outcome(
    deaf: Kapusta, clock: ManualClock, engine: AsyncEngine
) -> None:
    """The outcome is there from the commit on, while the body still runs."""
    may_commit, may_end = asyncio.Event(), asyncio.Event()

    async def book() -> str:
        await may_commit.wait()
        async with AsyncSession(engine) as session, session.begin():
            await deaf.finish_within(session, "booked")
        await may_end.wait()
        return "returned"

    task = deaf.register_task(book, name="book")
    await deaf.startup()
    waiting = asyncio.create_task((await task.launch()).result())
    await clock.settle()
    may_commit.set()

    assert await asyncio.wait_for(waiting, 10) == "booked"
    may_end.set()


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)  # elsewhere others look by themselves
async def test_the_workers_of_all_others_are_woken(
    kapusta: Kapusta, asleep: Kapusta, clock: ManualClock, begin: Begin
) -> None:
    """PostgreSQL passes on what one process says: one that runs nothing launches, and another one begins at once."""
    began = asyncio.Event()

    async def ship() -> None:
        began.set()

    task = kapusta.register_task(ship, name="ship")
    asleep.register_task(ship, name="ship")
    await kapusta.crud.startup()
    await asleep.startup()
    await clock.settle()

    async with begin() as transaction:
        await task.with_options(transaction=transaction).launch()

    await asyncio.wait_for(began.wait(), 10)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_who_waits_elsewhere_is_told_of_an_outcome(
    kapusta: Kapusta, asleep: Kapusta, clock: ManualClock, engine: AsyncEngine
) -> None:
    """As of one that was returned: whoever waits for the result in another process need not look."""
    may_commit = asyncio.Event()

    async def book() -> str:
        await may_commit.wait()
        async with AsyncSession(engine) as session, session.begin():
            await kapusta.finish_within(session, "booked")
        return "returned"

    task = kapusta.register_task(book, name="book")
    await kapusta.startup()
    await asleep.startup()
    handle = await task.launch()
    waiting = asyncio.create_task(asleep.handle(handle).result())
    await clock.settle()
    may_commit.set()

    assert await asyncio.wait_for(waiting, 10) == "booked"
