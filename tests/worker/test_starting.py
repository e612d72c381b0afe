"""Starting, stopping and starting again: on another loop, without a worker, for one round only."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from kapusta import Kapusta, StillBusyError, StoreNotStartedError, TaskStatus
from kapusta.testing import ManualClock
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.eventually import eventually
from tests.worker.stored import stored


async def test_a_kapusta_works_again_on_another_event_loop(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """Start, stop and start on a new loop works, also when two starts and two stops meet on each."""
    kapusta = Kapusta(open_store())
    task = kapusta.register_task(lambda number: number, name="echo")

    async def session(number: int) -> object:
        await asyncio.gather(kapusta.startup(), kapusta.startup())
        answer = await (await task.launch(number)).result(timeout=10)
        await asyncio.gather(kapusta.shutdown(), kapusta.shutdown())
        return answer

    answers = [await asyncio.to_thread(asyncio.run, session(number)) for number in range(3)]

    assert answers == [0, 1, 2]


async def test_a_stopped_listening_task_claims_nothing_until_it_is_created_again(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """Meanwhile what runs goes on, launches are stored, and none of them starts."""
    kapusta = make_kapusta(open_store())
    let_go, ran = asyncio.Event(), []

    @kapusta.task()
    async def long() -> str:
        ran.append("long")
        await let_go.wait()
        return "done"

    @kapusta.task()
    async def short() -> None:
        ran.append("short")

    await kapusta.startup()
    first = await long.launch()
    await eventually(lambda: ran, "it has begun")
    kapusta.stop_listening_task()
    second = await short.launch()
    let_go.set()
    result = await first.result(timeout=10)
    waiting = await second.status()
    kapusta.create_listening_task()
    await second.result(timeout=10)

    assert (result, waiting) == ("done", TaskStatus.pending)
    assert ran == ["long", "short"]


async def test_a_started_store_takes_launches_that_run_later(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """`crud.startup()` followed by `launch()` stores a task with nothing running it, until the listening task is created."""
    kapusta = make_kapusta(open_store())
    task = kapusta.register_task(lambda: "ran", name="task")

    await kapusta.crud.startup()
    handle = await task.launch()
    before = await handle.status(), await kapusta.get_task_result(handle)
    kapusta.create_listening_task()

    assert before == (TaskStatus.pending, None)
    assert await handle.result(timeout=10) == "ran"


async def test_a_store_that_is_not_started_takes_nothing(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """Before `startup()` and after `shutdown()` a launch raises, and says what comes first."""
    kapusta = make_kapusta(open_store())
    task = kapusta.register_task(lambda: None, name="task")

    with pytest.raises(StoreNotStartedError, match="startup"):
        await task.launch()
    await kapusta.startup()
    await kapusta.shutdown()
    with pytest.raises(StoreNotStartedError, match="startup"):
        await task.launch()


@pytest.mark.parametrize("listening", [False, True])
async def test_everything_due_can_be_run_without_moving_time(
    listening: bool, open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """`run_until_idle()` runs what is due and what that launches, to the end, with a worker or without, and nothing else."""
    clock = ManualClock()
    kapusta = make_kapusta(open_store(clock))
    ran = []

    @kapusta.task()
    async def first() -> None:
        ran.append("first")
        await second.launch()

    @kapusta.task(execution_mode="thread")
    def second() -> None:
        ran.append("second")

    @kapusta.task(eta_delta=timedelta(hours=1))
    async def later() -> None:
        ran.append("later")

    await (kapusta.startup() if listening else kapusta.crud.startup())
    await later.launch()
    await first.launch()
    await kapusta.run_until_idle()
    now = list(ran)
    clock.shift(hours=1)
    await kapusta.run_until_idle()

    assert now == ["first", "second"]
    assert ran == ["first", "second", "later"]


async def test_everything_due_can_be_run_in_real_time(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """`run_until_idle()` waits for bodies that take their time, and keeps their leases by a thread where it must."""
    kapusta = make_kapusta(open_store(), lease=0.3)

    @kapusta.task()
    async def slow() -> str:
        await asyncio.sleep(0.8)
        return "done"

    await kapusta.crud.startup()
    handle = await slow.launch()
    await kapusta.run_until_idle()

    assert await handle.result(timeout=0) == "done"
    assert (await stored(kapusta, handle)).run == 1


async def test_a_body_that_waits_for_time_is_not_idle(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """`run_until_idle()` does not move time, so it says which task waits for it."""
    clock = ManualClock()
    kapusta = make_kapusta(in_memory(clock))

    @kapusta.task()
    async def sleepy() -> None:
        await clock.sleep(60)

    await kapusta.crud.startup()
    handle = await sleepy.launch()

    with pytest.raises(StillBusyError, match=f"task {int(handle)}"):
        await kapusta.run_until_idle()


async def test_time_can_be_moved_while_a_kapusta_shuts_down(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """Two that settle at once do not wait for each other for ever."""
    clock = ManualClock()
    kapusta = make_kapusta(in_memory(clock))
    await kapusta.startup()

    async with asyncio.timeout(5):
        await asyncio.gather(clock.advance(minutes=1), kapusta.shutdown(), clock.settle())

    assert clock.monotonic() == 60
