"""A worker's own clock may be wrong, jump, or have stood still: the store's decides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kapusta import TaskHandle, TaskStatus
from kapusta.backend import ClaimRequest, Claims, SystemClock
from kapusta_sqlalchemy import AlchemyCRUD
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.eventually import eventually
from tests.worker.scripted import ScriptedCRUD
from tests.worker.stored import stored

HOUR = timedelta(hours=1)


class WrongClock(SystemClock):
    """A machine's clock that is wrong by so much, and a machine that can be suspended; written by the test.

    Attributes:
        wrong_by: what the time of day is ahead.
        suspended: for how many seconds the machine has slept; its event loop's timers have stood still meanwhile.
    """

    def __init__(self, wrong_by: timedelta = timedelta(0)) -> None:
        self.wrong_by, self.suspended = wrong_by, 0.0

    def now(self) -> datetime:
        """Wrong."""
        return super().now() + self.wrong_by

    def monotonic(self) -> float:
        """Goes on while the machine sleeps."""
        return super().monotonic() + self.suspended

    def call_at(self, when: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        """By the event loop's own time."""
        return asyncio.get_running_loop().call_later(max(0.0, when - self.monotonic()), callback)


@pytest.fixture(params=["sqlite", "postgres_url", "mysql_url"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database that has a clock of its own."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/tasks.db"
    found: str = request.getfixturevalue(request.param)
    return found


async def reaches(handle: TaskHandle[Any], status: TaskStatus) -> None:
    """Return when the task has this status."""

    async def has() -> bool:
        return await handle.status() is status

    await eventually(has, f"it is {status}")


async def test_workers_whose_clocks_are_two_hours_apart_agree(url: str, make_kapusta: MakeKapusta) -> None:
    """Neither starts too early, nor takes the other's task for lost, nor finds a task overdue that is not."""
    ahead, behind = (
        make_kapusta(AlchemyCRUD(url, clock=WrongClock(wrong_by)), lease=1) for wrong_by in (HOUR, -HOUR)
    )
    begun: list[int] = []

    async def work(number: int, seconds: float) -> None:
        begun.append(number)
        await asyncio.sleep(seconds)

    tasks = [each.register_task(work, name="work", overdue_time=600) for each in (ahead, behind)]
    await ahead.startup()
    await behind.startup()

    later = [await task.with_options(eta_delta=1).launch(number, 0) for number, task in enumerate(tasks)]
    long = [await task.launch(10 + number, 3) for number, task in enumerate(tasks)]
    for handle in (*later, *long):
        await handle.result(timeout=20)

    assert sorted(begun) == [0, 1, 10, 11]
    for handle in later:
        record = await stored(ahead, handle)
        assert record.started is not None
        assert timedelta(seconds=1) <= record.started - record.created < timedelta(seconds=15)
    for handle in long:
        assert (await stored(ahead, handle)).run == 1


async def test_a_deadline_passes_by_the_clock_of_the_store(url: str, make_kapusta: MakeKapusta) -> None:
    """Two hours make no task overdue, and half a second does, whatever the worker's clock says."""
    ahead, behind = (
        make_kapusta(AlchemyCRUD(url, clock=WrongClock(wrong_by)), lease=1) for wrong_by in (HOUR, -HOUR)
    )
    task = behind.register_task(lambda: None, name="nobody here knows it")
    await behind.crud.startup()
    passed = await task.with_options(overdue_time=0.5).launch()
    waits = await task.with_options(overdue_time=1800).launch()

    await ahead.startup()
    await reaches(passed, TaskStatus.overdue)

    assert await waits.status() is TaskStatus.pending


async def test_a_clock_that_jumps_back_stops_nothing(url: str, make_kapusta: MakeKapusta) -> None:
    """What runs keeps its lease, and what is launched starts at once."""
    clock = WrongClock()
    kapusta, other = (
        make_kapusta(AlchemyCRUD(url, clock=clock), lease=1),
        make_kapusta(AlchemyCRUD(url), lease=1),
    )
    begun: list[float] = []

    async def work(seconds: float) -> None:
        begun.append(seconds)
        await asyncio.sleep(seconds)

    task = kapusta.register_task(work, name="work")
    other.register_task(work, name="work")
    await kapusta.startup()
    long = await task.launch(3)
    await eventually(lambda: begun == [3], "it has begun")
    clock.wrong_by = -HOUR
    await other.startup()
    short = await task.launch(0)

    await short.result(timeout=10)
    await long.result(timeout=10)
    assert begun == [3, 0]


async def test_a_machine_that_slept_past_its_lease_stops_what_it_ran(
    on_sqlite: OpenStore, make_kapusta: MakeKapusta, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody can say any more whose the task is: the body is told to stop within moments, not at the next renewal."""
    clock = WrongClock()
    kapusta = make_kapusta(on_sqlite(clock))
    stopped = asyncio.Event()
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            stopped.set()

    task = kapusta.register_task(work, name="work", on_crash="hold")
    await kapusta.startup()
    handle = await task.launch()
    await asyncio.wait_for(begun.wait(), 10)

    clock.suspended = 3600
    await asyncio.wait_for(stopped.wait(), 8)

    await reaches(handle, TaskStatus.held)
    assert f"Task {int(handle)} 'work': its lease could not be renewed in time" in caplog.text


async def test_a_machine_that_slept_between_claim_and_start_begins_nothing(
    on_sqlite: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """Its lease may have ended meanwhile: the task is given back, at no cost, and claimed again."""
    clock = WrongClock()

    class SleepyCRUD(ScriptedCRUD):
        """The machine sleeps while the answer to its first claim is on its way."""

        async def claim_tasks(self, request: ClaimRequest) -> Claims:
            claims = await super().claim_tasks(request)
            if claims.tasks and not clock.suspended:
                clock.suspended = 3600
            return claims

    kapusta = make_kapusta(SleepyCRUD(on_sqlite(clock)))
    begun = []
    task = kapusta.register_task(lambda: begun.append(1), name="task")
    await kapusta.startup()

    handle = await task.launch()
    async with asyncio.timeout(10):
        await handle.result()

    record = await stored(kapusta, handle)
    assert begun == [1]
    assert (record.run, record.crashes, record.interruptions) == (2, 0, 0)
