"""The write lock is SQLite's only one: it is never held while this process does something else."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kapusta.backend import TaskQuery, UniqueKey
from kapusta_sqlalchemy import AlchemyCRUD
from tests.sqlalchemy.records import claim, new, renewal, settled


@pytest.mark.parametrize("operation", ["add", "add_keyed", "add_many", "claim", "change", "renew", "delete"])
async def test_a_blocked_loop_holds_no_lock(store: AlchemyCRUD, path: Path, operation: str) -> None:
    """Wherever in an operation a `sync` task blocks the event loop, others can write meanwhile.

    The loop is stopped at each of its turns; a lock that waits for the loop would be there for ever.
    """
    with closing(sqlite3.connect(path, timeout=5, isolation_level=None)) as bystander:
        for turns in range(25):
            running = asyncio.ensure_future((await _prepared(store, operation))())
            for _ in range(turns):
                await asyncio.sleep(0)

            bystander.execute("BEGIN IMMEDIATE")
            bystander.execute("COMMIT")

            await running


async def _prepared(store: AlchemyCRUD, operation: str) -> Callable[[], Awaitable[Any]]:
    """The call of *operation*, after what it needs is there."""
    await store.add_tasks([ready := new()])
    if operation == "claim":
        return lambda: store.claim_tasks(claim())
    [task] = (await store.claim_tasks(claim())).tasks
    if operation == "delete":
        await store.change_tasks([settled(task)])
    keyed = new(name="unclaimed", unique=UniqueKey(key="key"))
    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        "add": lambda: store.add_tasks([new(name="unclaimed")]),
        "add_keyed": lambda: store.add_tasks([keyed]),
        "add_many": lambda: store.add_tasks([new(name="unclaimed") for _ in range(600)]),
        "change": lambda: store.change_tasks([settled(task)]),
        "renew": lambda: store.renew_leases(renewal(task)),
        "delete": lambda: store.delete_tasks([ready.id]),
    }
    return calls[operation]


async def test_a_short_lock_is_waited_for(store: AlchemyCRUD, path: Path) -> None:
    """A launch during another process's transaction is stored when that ends."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        ending = threading.Timer(0.7, writer.execute, ["COMMIT"])  # longer than one try of the driver
        ending.start()

        assert (await store.add_tasks([new()]))[0].outcome == "new"

        ending.join()


async def test_many_handles_take_each_task_once(url: str, store: AlchemyCRUD) -> None:
    """Eight handles that claim and settle at once, and launch meanwhile: nothing fails, each task is given once."""
    handles = [AlchemyCRUD(url) for _ in range(8)]
    await asyncio.gather(*(handle.startup() for handle in handles))
    given: list[int] = []

    async def work(handle: AlchemyCRUD, number: int) -> None:
        for turn in range(10):
            key = UniqueKey(key=f"{number}-{turn}")
            await handle.add_tasks([new(), new(unique=key), *(new() for _ in range(8))])
            tasks = (await handle.claim_tasks(claim(10, worker=f"worker-{number}"))).tasks
            given.extend(task.id for task in tasks)
            answers = await handle.change_tasks([settled(task, worker=f"worker-{number}") for task in tasks])
            assert {answer.answer.value for answer in answers} <= {"accepted"}

    await asyncio.gather(*(work(handle, number) for number, handle in enumerate(handles)))
    while tasks := (await store.claim_tasks(claim(100))).tasks:
        given.extend(task.id for task in tasks)

    assert len(given) == len(set(given)) == 800
    assert len(await store.find_tasks(TaskQuery(limit=1000))) == 800
    await asyncio.gather(*(handle.shutdown() for handle in handles))
