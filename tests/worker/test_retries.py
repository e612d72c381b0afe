"""Attempts: counted in the store, apart by the backoff, and never after the deadline."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kapusta import Backoff, TaskStatus
from kapusta.testing import ManualClock
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.stored import stored

EXACTLY = Backoff(initial=timedelta(seconds=10), factor=3, jitter=False)


async def test_attempts_are_as_far_apart_as_the_backoff_says(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """With 10 s tripling there are attempts at 0, 10, 40 and 130 s, then the failure is final."""
    clock = ManualClock()
    kapusta = make_kapusta(in_memory(clock))
    attempts: list[float] = []

    @kapusta.task(max_retry_attempts=3, backoff=EXACTLY)
    async def fail() -> None:
        attempts.append(clock.monotonic())
        raise RuntimeError(f"attempt {len(attempts)}")

    await kapusta.startup()
    handle = await fail.launch()
    await clock.advance(hours=1)

    task = await stored(kapusta, handle)
    assert attempts == pytest.approx([0, 10, 40, 130], abs=0.01)
    assert (task.status, task.failures) == (TaskStatus.error, 4)
    assert "attempt 4" in (task.error or "")


async def test_a_restart_changes_nothing_about_a_retry(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """Retries are durable: what a Kapusta that is gone has counted and put off, another one goes on with."""
    clock = ManualClock()
    attempts: list[float] = []

    async def fail() -> str:
        attempts.append(clock.monotonic())
        if len(attempts) < 3:
            raise RuntimeError("again")
        return "third"

    first, second = (make_kapusta(open_store(clock), default_max_retry_attempts=2) for _ in range(2))
    task, again = (
        kapusta.register_task(fail, name="fail", backoff=timedelta(minutes=10)) for kapusta in (first, second)
    )
    await first.startup()
    handle = await task.launch()
    await clock.advance(minutes=1)
    await first.shutdown()
    await second.startup()
    before = await stored(second, handle)
    await clock.advance(minutes=30)

    after = await stored(second, handle)
    assert again.name == "fail"
    assert (before.status, before.failures, before.run) == (TaskStatus.pending, 1, 1)
    assert (after.status, after.failures, after.run) == (TaskStatus.success, 2, 3)
    assert attempts[1] - attempts[0] == pytest.approx(600, abs=1)


async def test_a_task_that_nobody_started_in_time_is_overdue(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """Past its deadline it is `overdue` and is never run, though a worker comes that could."""
    clock = ManualClock()
    kapusta = make_kapusta(open_store(clock))
    ran = []

    @kapusta.task(overdue_time=timedelta(minutes=5))
    async def punctual() -> None:
        ran.append(1)

    await kapusta.crud.startup()
    handle = await punctual.launch()
    await clock.advance(minutes=6)
    await kapusta.startup()
    await clock.advance(minutes=1)

    task = await stored(kapusta, handle)
    assert (task.status, ran) == (TaskStatus.overdue, [])
    assert "it had not started by" in (task.reason or "")


async def test_a_retry_that_would_come_after_the_deadline_is_not_waited_for(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """It ends as its failure now: an `overdue` an hour later would hide why."""
    clock = ManualClock()
    kapusta = make_kapusta(in_memory(clock))

    @kapusta.task(overdue_time=timedelta(minutes=5), max_retry_attempts=3, backoff=timedelta(minutes=10))
    async def fail() -> None:
        raise RuntimeError("once")

    await kapusta.startup()
    handle = await fail.launch()
    await clock.advance(seconds=1)

    task = await stored(kapusta, handle)
    assert (task.status, task.failures) == (TaskStatus.error, 1)
    assert "after the deadline" in (task.reason or "")


async def test_whoever_waits_sees_only_the_last_outcome(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """`result()` goes on waiting while retries are left: a first failure is not the task's."""
    kapusta = make_kapusta(in_memory())
    attempts = []

    @kapusta.task(max_retry_attempts=2, backoff=0.02)
    async def flaky() -> int:
        attempts.append(1)
        if len(attempts) < 3:
            raise RuntimeError("again")
        return len(attempts)

    await kapusta.startup()

    assert await (await flaky.launch()).result(timeout=10) == 3
