"""A worker with fewer slots than there are modes."""

from __future__ import annotations

from typing import Any

import pytest

from kapusta import BaseCRUD, Kapusta
from kapusta.testing import ManualClock


@pytest.mark.parametrize("slots", [1, 2, 3])
@pytest.mark.parametrize("alone", [True, False], ids=["its own worker", "a listening one"])
async def test_a_small_worker_runs_tasks_of_every_mode(crud: BaseCRUD, slots: int, *, alone: bool) -> None:
    """A slot offered to a mode of which nothing is waiting goes to the next mode, and not to sleep."""
    kapusta = Kapusta(crud, max_concurrent_tasks=slots)
    ran = []

    def plain(mode: str) -> None:
        ran.append(mode)

    async def coroutine(mode: str) -> None:
        ran.append(mode)

    tasks: dict[str, Any] = {
        mode: kapusta.register_task(plain, mode, name=mode) for mode in ("sync", "thread")
    }
    tasks["async_"] = kapusta.register_task(coroutine, name="async_")
    await (crud.startup() if alone else kapusta.startup())
    for mode, task in tasks.items():
        await task.launch(mode)
        await task.launch(mode)

    await kapusta.run_until_idle()
    await kapusta.shutdown()

    assert sorted(ran) == ["async_", "async_", "sync", "sync", "thread", "thread"]


async def test_a_task_that_comes_due_is_not_forgotten_over_one_that_ended(
    crud: BaseCRUD, clock: ManualClock
) -> None:
    """When a slot becomes free, and nothing more is due, the worker still wakes for what comes due later."""
    kapusta = Kapusta(crud, max_tick_interval=3600)
    later = kapusta.register_task(lambda: 42, name="later", eta_delta=20)
    now = kapusta.register_task(lambda: 42, name="now")

    async with kapusta:
        handles = [await later.launch(), await now.launch()]
        await clock.advance(seconds=1)
        assert await handles[1].result(timeout=0) == 42
        await clock.advance(seconds=20)

        assert await handles[0].result(timeout=0) == 42


async def test_a_small_worker_goes_on_by_itself() -> None:
    """Not only when it is told to: each task is begun as soon as the one before has ended, in real time."""
    kapusta = Kapusta("memory://", max_concurrent_tasks=1)
    tasks = [kapusta.register_task(lambda: 42, mode, name=mode) for mode in ("thread", "sync")]

    async with kapusta:
        handles = [await task.launch() for task in tasks * 3]
        results = [await handle.result(timeout=10) for handle in handles]

    assert results == [42] * 6
