"""A worker starts at once what is there to start, and leaves the store alone while there is nothing."""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest

from kapusta import Kapusta
from kapusta._worker._settler import BACKLOG
from kapusta.testing import ManualClock
from kapusta_memory import MemoryCRUD
from tests.worker.conftest import MakeKapusta, OpenStore

PER_MINUTE = 8
LEASES_PER_MINUTE = 2


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that any connection of this process sends to SQLite, but the look at `data_version`."""
    sent: list[str] = []

    def note(statement: str) -> None:
        if "data_version" not in statement:
            sent.append(statement)

    monkeypatch.setattr(sqlite3, "connect", _traced(sqlite3.connect, note))
    return sent


def _traced(
    connect: Callable[..., sqlite3.Connection], note: Callable[[str], object]
) -> Callable[..., sqlite3.Connection]:
    def traced(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection = connect(*args, **kwargs)
        connection.set_trace_callback(note)
        return connection

    return traced


async def test_a_launch_starts_at_once_in_its_own_process(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """With max_tick_interval=300 a launch starts within 100 ms."""
    kapusta = make_kapusta(open_store(), max_tick_interval=300)
    began: list[float] = []

    @kapusta.task()
    async def stamp() -> None:
        began.append(time.perf_counter())

    await kapusta.startup()
    took = []
    for _ in range(7):
        launched = time.perf_counter()
        handle = await stamp.launch()
        await handle.result(timeout=10)
        took.append(began[-1] - launched)

    assert len(began) == 7
    assert statistics.median(took) < 0.1


async def test_an_idle_worker_leaves_a_file_alone(
    on_sqlite: OpenStore, make_kapusta: MakeKapusta, statements: list[str]
) -> None:
    """An idle worker on SQLite makes at most 8 statements a minute besides `data_version`."""
    clock = ManualClock()
    kapusta = make_kapusta(on_sqlite(clock), max_tick_interval=300)

    @kapusta.task()
    async def nothing() -> None:
        """What it could run, if it were launched."""

    await kapusta.startup()
    await clock.advance(minutes=1)
    before = len(statements)
    await clock.advance(minutes=10)

    sent = statements[before:]
    assert 0 < len(sent) <= 10 * PER_MINUTE, sent[:20]


async def test_an_idle_worker_with_its_thread_leaves_a_file_alone(
    on_sqlite: OpenStore, make_kapusta: MakeKapusta, statements: list[str]
) -> None:
    """In real time, with the keeper's thread on a handle of its own, an idle worker sends no more per lease."""
    kapusta = make_kapusta(on_sqlite(), max_tick_interval=300, lease=0.6)

    @kapusta.task()
    async def nothing() -> None:
        """What it could run, if it were launched."""

    await kapusta.startup()
    await asyncio.sleep(0.3)  # what is measured is how little happens in a stretch of time
    before = len(statements)
    await asyncio.sleep(2 * 0.6)

    sent = statements[before:]
    assert 0 < len(sent) <= 2 * PER_MINUTE / LEASES_PER_MINUTE, sent


async def test_a_launch_wakes_a_worker_that_has_no_free_slot_once_one_is_free(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """The task that found all slots of its mode taken starts when one is given back, not at the next tick."""
    kapusta = make_kapusta(in_memory(), max_tick_interval=300, max_threads=1)

    @kapusta.task(execution_mode="thread")
    def rest(seconds: float) -> None:
        time.sleep(seconds)

    await kapusta.startup()
    handles = await rest.launch_many({"seconds": 0.05} for _ in range(3))

    for handle in handles:
        await handle.result(timeout=5)


async def test_a_backlog_that_is_worked_off_wakes_the_dispatcher() -> None:
    """More slots than outcomes may wait for the store: claiming goes on when it has caught up, not a lease later."""
    clock = ManualClock()
    kapusta = Kapusta(MemoryCRUD(clock=clock), max_concurrent_tasks=3 * BACKLOG)
    ran = 0

    async def work() -> None:
        nonlocal ran
        ran += 1

    task = kapusta.register_task(work, name="work")
    await kapusta.crud.startup()
    await task.launch_many([{}] * (4 * BACKLOG))

    kapusta.create_listening_task()
    await clock.settle()

    assert ran == 4 * BACKLOG
    await kapusta.shutdown()
