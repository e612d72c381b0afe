"""Rows that change, or go, under whoever decides about them."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kapusta import TaskNotFoundError
from kapusta._worker._housekeeper import PAGE
from kapusta.backend import (
    Guard,
    Renewal,
    RenewRequest,
)
from kapusta.testing import ManualClock
from kapusta_memory import MemoryCRUD
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.scripted import ScriptedCRUD
from tests.worker.stored import claimed_by_the_dead


@pytest.mark.parametrize("alive", [0, PAGE + PAGE // 2])
async def test_a_page_of_tasks_that_need_no_rescue_hides_none_that_does(
    make_kapusta: MakeKapusta, alive: int
) -> None:
    """More leases than a page holds have ended; some are renewed between the look and the rescue. The rest is rescued.

    In one pass, not a page each third of a lease; and what was renewed stays with its worker.
    """
    clock = ManualClock()
    memory = MemoryCRUD(clock=clock)
    store = ScriptedCRUD(memory)
    kapusta = make_kapusta(store, max_concurrent_tasks=1000)
    begun: list[float] = []

    @kapusta.task(name="task")
    async def task() -> None:
        begun.append(clock.monotonic())

    await memory.startup()
    claimed_at = clock.monotonic()
    handles = await task.launch_many({} for _ in range(3 * PAGE))
    held = await claimed_by_the_dead(memory, "task", count=3 * PAGE)
    renewals = [Renewal(id=each.id, run=each.run) for each in sorted(held, key=lambda it: it.id)[:alive]]

    def come_to_life(operation: str, asked: Any) -> None:
        if operation == "change_tasks" and any(
            change.guard is Guard.expired and change.status is not None for change in asked
        ):
            memory.storage.renew(
                RenewRequest(worker="the dead", lease=timedelta(days=1), renewals=renewals), clock.now()
            )

    store.script.before = come_to_life
    await kapusta.startup()
    await clock.advance(minutes=2)

    assert len(handles) == 3 * PAGE
    assert len(begun) == 3 * PAGE - alive
    # At the first look after a lease and a third; plus what its worker would have had, if its row had been locked.
    assert {at - claimed_at for at in begun} == {46.5}


async def test_a_row_that_is_deleted_under_its_body_stops_that_and_nothing_else(
    on_sqlite: OpenStore, make_kapusta: MakeKapusta, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody deletes by hand what runs: the next renewal says so, its body ends, and so does whoever waits for it."""
    clock = ManualClock()
    kapusta = make_kapusta(on_sqlite(clock))
    ended: list[str] = []

    @kapusta.task(timeout=None)
    async def long() -> None:
        try:
            await clock.sleep(3600)
        finally:
            ended.append("long")

    other = kapusta.register_task(lambda: ended.append("other"), name="other")
    await kapusta.startup()
    handle = await long.launch()
    waiting = asyncio.create_task(handle.result())
    await clock.advance(seconds=1)
    with sqlite3.connect(tmp_path / "tasks.db") as database:
        deleted = database.execute("DELETE FROM kapusta_task WHERE id = ?", [int(handle)]).rowcount
    database.close()
    with caplog.at_level(logging.WARNING, logger="kapusta"):
        await clock.advance(seconds=11)
    await other.launch()
    await clock.advance(seconds=1)

    assert (deleted, ended) == (1, ["long", "other"])
    assert "is stopped: its lease is lost" in caplog.text
    with pytest.raises(TaskNotFoundError):
        await waiting
