"""What a person does to a task: cancel it, or give it another life."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from kapusta import Kapusta, TaskStatus
from kapusta._outcomes import overdue
from kapusta.backend import StoredTask, TaskQuery
from kapusta.testing import ManualClock
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.stored import stored


@pytest.fixture
def clock() -> ManualClock:
    """Time to be moved."""
    return ManualClock()


@pytest.fixture
async def kapusta(open_store: OpenStore, make_kapusta: MakeKapusta, clock: ManualClock) -> Kapusta:
    """A started one, on each kind of store."""
    kapusta = make_kapusta(open_store(clock))
    await kapusta.startup()
    return kapusta


async def test_a_cancelled_task_never_starts(kapusta: Kapusta, clock: ManualClock) -> None:
    """A task that waits for its eta can be cancelled, and then its eta means nothing."""
    ran = []
    task = kapusta.register_task(lambda: ran.append(1), name="later", eta_delta=timedelta(hours=1))

    handle = await task.launch()
    answer = await handle.cancel()
    await clock.advance(hours=2)

    assert answer
    assert ran == []
    assert await handle.status() is TaskStatus.cancelled
    assert (await stored(kapusta, handle)).reason == "cancelled by hand"


async def test_a_running_task_goes_on_when_it_is_cancelled(kapusta: Kapusta, clock: ManualClock) -> None:
    """`cancel()` of a running task answers no, and leaves it alone."""

    @kapusta.task()
    async def run() -> str:
        await clock.sleep(5)
        return "done"

    handle = await run.launch()
    await clock.advance(seconds=1)
    answer = await handle.cancel()
    await clock.advance(seconds=10)

    assert not answer
    assert await handle.result(timeout=0) == "done"


async def test_a_task_that_has_ended_stays_as_it_is(kapusta: Kapusta, clock: ManualClock) -> None:
    """`cancel()` after the end answers no, and the result is still there."""
    task = kapusta.register_task(lambda: "done", name="quick")

    handle = await task.launch()
    await clock.advance(seconds=1)

    assert not await handle.cancel()
    assert await handle.result(timeout=0) == "done"


async def test_another_life_begins_with_fresh_counters(kapusta: Kapusta, clock: ManualClock) -> None:
    """`retry()` of a failed task runs it again at once, with all its retries before it."""
    attempts: list[int] = []

    @kapusta.task(max_retry_attempts=1, backoff=1)
    async def fail_thrice() -> str:
        attempts.append(len(attempts))
        if len(attempts) <= 3:
            raise RuntimeError("again")
        return "fourth"

    handle = await fail_thrice.launch()
    await clock.advance(minutes=1)
    first = await stored(kapusta, handle)
    answer = await handle.retry()
    await clock.advance(minutes=1)

    second = await stored(kapusta, handle)
    assert answer
    assert (first.status, first.failures) == (TaskStatus.error, 2)
    assert (second.status, second.failures) == (TaskStatus.success, 1)
    assert attempts == [0, 1, 2, 3]


async def test_an_overdue_task_can_be_given_more_time(kapusta: Kapusta, clock: ManualClock) -> None:
    """`retry()` of an overdue task counts its deadline from now."""
    await kapusta.shutdown()
    task = kapusta.register_task(lambda: "done", name="punctual", overdue_time=60)
    await kapusta.crud.startup()
    handle = await task.launch()
    await clock.advance(minutes=2)
    await kapusta.startup()
    await clock.advance(seconds=1)
    before = await handle.status()

    answer = await handle.retry()
    await clock.advance(seconds=1)

    assert (before, answer) == (TaskStatus.overdue, True)
    assert await handle.result(timeout=0) == "done"


async def test_a_task_that_waits_is_given_another_life_at_once(kapusta: Kapusta, clock: ManualClock) -> None:
    """`retry()` of one that waits for its next attempt: now, with all its retries before it."""
    attempts: list[float] = []

    @kapusta.task(max_retry_attempts=1, backoff=3600)
    async def fail_twice() -> str:
        attempts.append(clock.monotonic())
        if len(attempts) <= 2:
            raise RuntimeError("again")
        return "third"

    handle = await fail_twice.launch()
    await clock.advance(seconds=1)
    waiting = await stored(kapusta, handle)
    answer = await handle.retry()
    await clock.advance(seconds=1)
    again = await stored(kapusta, handle)

    assert (waiting.status, waiting.failures, answer) == (TaskStatus.pending, 1, True)
    assert (again.status, again.failures, len(attempts)) == (TaskStatus.pending, 1, 2)
    await clock.advance(hours=2)
    assert await handle.result(timeout=0) == "third"


async def test_a_running_task_is_not_given_another_life(kapusta: Kapusta, clock: ManualClock) -> None:
    """`retry()` of a running task answers no: two lives at once would be two runs."""
    ran = []

    @kapusta.task()
    async def run() -> None:
        ran.append(1)
        await clock.sleep(5)

    handle = await run.launch()
    await clock.advance(seconds=1)
    answer = await handle.retry()
    await clock.advance(seconds=30)

    assert not answer
    assert ran == [1]


@pytest.mark.parametrize("by_hand", ["cancel", "retry"])
async def test_what_has_become_overdue_in_that_very_moment_stays_so(
    kapusta: Kapusta, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, by_hand: str
) -> None:
    """Between the look and the write somebody notes that the task is overdue: what was wished was wished of one that waits."""
    task = kapusta.register_task(lambda: None, name="late", eta_delta=1, overdue_time=timedelta(seconds=2))
    handle = await task.launch()
    look, crud = kapusta.crud.find_tasks, kapusta.crud

    async def look_and_be_late(query: TaskQuery) -> Sequence[StoredTask]:
        found = await look(query)
        monkeypatch.undo()
        [seen] = found
        [changed] = await crud.change_tasks([overdue(seen)])
        assert changed.answer == "accepted"
        return found

    clock.shift(seconds=5)  # nobody has woken yet
    monkeypatch.setattr(crud, "find_tasks", look_and_be_late)
    answer = await getattr(handle, by_hand)()

    assert not answer
    assert await handle.status() is TaskStatus.overdue
