"""A worker with fewer slots than there are modes."""

from __future__ import annotations

from typing import Any

import pytest

from kapusta import BaseCRUD, Kapusta


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


async def test_a_small_worker_goes_on_by_itself() -> None:
    """Not only when it is told to: each task is begun as soon as the one before has ended, in real time."""
    kapusta = Kapusta("memory://", max_concurrent_tasks=1)
    tasks = [kapusta.register_task(lambda: None, mode, name=mode) for mode in ("thread", "sync")]

    async with kapusta:
        handles = [await task.launch() for task in tasks * 3]
        results = [await handle.result(timeout=10) for handle in handles]

    assert results == [None] * 6
