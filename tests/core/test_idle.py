from __future__ import annotations

import asyncio

import pytest

from kapusta import Kapusta
from kapusta_memory import MemoryCRUD
from tests.worker.eventually import eventually


@pytest.mark.parametrize("listens", [True, False])
async def test_run_until_idle_goes_on_if_more_is_claimed_before_it_looks(listens: bool) -> None:
    """In real time it waits: a worker that was empty for a moment is no reason for `StillBusyError`."""
    kapusta = Kapusta(MemoryCRUD())
    gate, began = asyncio.Event(), asyncio.Event()

    @kapusta.task()
    async def work() -> None:
        began.set()
        await gate.wait()

    await (kapusta.startup() if listens else kapusta.crud.startup())
    await work.launch_many([{}])
    idle = asyncio.create_task(kapusta.run_until_idle())
    await began.wait()
    worker = kapusta._host._worker if listens else next(iter(kapusta._host._helpers))
    assert worker is not None
    await eventually(lambda: bool(worker._running.empty._waiters), "run_until_idle() waits for the body")

    worker._running.empty.set()  # the last body ends,
    worker._running.empty.clear()  # and the next one is claimed
    for _ in range(10):
        await asyncio.sleep(0)

    assert not idle.done()
    gate.set()
    await idle
    await kapusta.shutdown()
