"""The write lock is SQLite's only one: it is never held while this process does something else."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from kapusta.backend import (
    Change,
    Guard,
    Renewal,
    RenewRequest,
    StoreUnavailableError,
    TaskQuery,
    TaskStatus,
    UniqueKey,
)
from kapusta_sqlalchemy import AlchemyCRUD
from kapusta_sqlalchemy._dialects._sqlite._sql import MOST_ROWS
from tests.sqlalchemy.records import LEASE, WORKER, claim, new, renewal, settled


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


@contextmanager
def locked(path: Path, how: str = "BEGIN IMMEDIATE") -> Iterator[sqlite3.Connection]:
    """For the block, somebody else has an open transaction in which it has written."""
    with closing(sqlite3.connect(path, isolation_level=None)) as stranger:
        stranger.execute(how)
        yield stranger
        stranger.execute("ROLLBACK")


@pytest.fixture(params=["url", "engine"])
async def crud(request: pytest.FixtureRequest, url: str) -> AsyncIterator[AlchemyCRUD]:
    """A handle that nothing interrupts soon, by a URL and on an engine whose connections wait for five seconds."""
    engine = create_async_engine(url)
    crud = AlchemyCRUD(url if request.param == "url" else engine)
    await crud.startup()
    yield crud
    await crud.shutdown()
    await engine.dispose()


async def test_a_lease_is_busy_while_somebody_keeps_the_file(crud: AlchemyCRUD, path: Path) -> None:
    """Whoever keeps the file keeps it from all: what can be seen to be held is held, and what is not is lost; at once."""
    await crud.add_tasks([new() for _ in range(5)])
    held, asked, over, taken, _ = tasks = (await crud.claim_tasks(claim())).tasks
    request = renewal(*tasks).replace(renewals=[*renewal(*tasks).renewals[:4], Renewal(id=99, run=1)])
    with locked(path) as other:
        other.execute("UPDATE kapusta_task SET cancel_requested = 1 WHERE id = ?", [asked.id])
        other.execute("UPDATE kapusta_task SET worker = 'other' WHERE id = ?", [taken.id])
        other.execute("COMMIT")
        await crud.change_tasks([settled(over)])
        other.execute("BEGIN IMMEDIATE")

        async with asyncio.timeout(2):
            answers = await crud.renew_leases(request)

    assert [(answer.id, answer.answer, answer.cancel_requested) for answer in answers] == [
        (held.id, "busy", False),
        (asked.id, "busy", True),
        (over.id, "lost", False),
        (taken.id, "lost", False),
        (99, "lost", False),
    ]
    assert [task.lease_end for task in await crud.find_tasks(TaskQuery(ids=frozenset({held.id})))] == [
        held.lease_end
    ]
    assert [answer.answer for answer in await crud.renew_leases(renewal(held))] == ["renewed"]


async def test_many_leases_of_a_locked_file_wait_once(crud: AlchemyCRUD, path: Path) -> None:
    """More of them than fit into a statement are answered as soon as one."""
    renewals = [Renewal(id=id, run=1) for id in range(1, 20 * MOST_ROWS)]
    with locked(path):
        async with asyncio.timeout(2):
            answers = await crud.renew_leases(RenewRequest(worker="w", lease=LEASE, renewals=renewals))

    assert {answer.answer for answer in answers} == {"lost"}


async def test_a_lease_of_another_run_is_lost_in_a_locked_file_too(crud: AlchemyCRUD, path: Path) -> None:
    """Seen to be held is a lease only in its own run."""
    await crud.add_tasks([new()])
    [task] = (await crud.claim_tasks(claim())).tasks
    with locked(path):
        earlier = RenewRequest(worker=WORKER, lease=LEASE, renewals=[Renewal(id=task.id, run=task.run - 1)])

        [answer] = await crud.renew_leases(earlier)

    assert answer.answer == "lost"


async def test_a_renewal_waits_for_who_is_about_to_end(crud: AlchemyCRUD, path: Path) -> None:
    """Where many write, and none for long, it has its turn."""
    await crud.add_tasks([new()])
    [task] = (await crud.claim_tasks(claim())).tasks
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        ending = threading.Timer(0.03, writer.execute, ["COMMIT"])
        ending.start()

        [answer] = await crud.renew_leases(renewal(task))

        ending.join()
    assert answer.answer == "renewed"


async def test_a_rescue_waits_for_nobody(crud: AlchemyCRUD, path: Path) -> None:
    """Who waits for the lock would be there before the worker, which asks again a second later; what else was asked is done."""
    await crud.add_tasks([new(), new()])
    late, held = (await crud.claim_tasks(claim())).tasks
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE kapusta_task SET lease_end = 0")
    rescue = Change(id=late.id, run=late.run, guard=Guard.expired, status=TaskStatus.pending)
    with locked(path):
        async with asyncio.timeout(2):
            assert [answer.answer for answer in await crud.change_tasks([rescue])] == ["refused"]

    answers = await crud.change_tasks([rescue, settled(held)])

    assert [(answer.id, answer.answer) for answer in answers] == [
        (late.id, "accepted"),
        (held.id, "accepted"),
    ]


@pytest.mark.parametrize("operation", ["renew", "rescue"])
async def test_a_connection_waits_as_before_after_a_short_wait(url: str, path: Path, operation: str) -> None:
    """How long statements on a user's connection wait is the user's business, whether or not the short wait was in vain."""
    engine = create_async_engine(url, pool_size=1, max_overflow=0, connect_args={"timeout": 3})
    crud = AlchemyCRUD(engine)
    await crud.startup()
    await crud.add_tasks([new()])
    [task] = (await crud.claim_tasks(claim())).tasks
    rescue = Change(id=task.id, run=task.run, guard=Guard.expired, status=TaskStatus.pending)

    async def waits() -> int:
        await (crud.renew_leases(renewal(task)) if operation == "renew" else crud.change_tasks([rescue]))
        async with engine.connect() as connection:
            return int((await connection.exec_driver_sql("PRAGMA busy_timeout")).scalar_one())

    assert await waits() == 3000
    with locked(path):
        assert await waits() == 3000
    await crud.shutdown()
    await engine.dispose()


async def test_a_file_that_cannot_even_be_read_answers_no_renewal(
    url: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a write-ahead log a commit keeps readers out as well: then nobody knows whether a lease is held."""
    monkeypatch.setattr("kapusta_sqlalchemy._patience._PATIENCE", 0.1)
    engine = create_async_engine(url, poolclass=NullPool)
    crud = AlchemyCRUD(engine)
    await crud.startup()
    await crud.add_tasks([new()])
    [task] = (await crud.claim_tasks(claim())).tasks
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")

    with locked(path):
        assert [answer.answer for answer in await crud.renew_leases(renewal(task))] == ["busy"]
    with locked(path, "BEGIN EXCLUSIVE"), pytest.raises(StoreUnavailableError, match="locked") as caught:
        await crud.renew_leases(renewal(task))

    assert caught.value.busy
    await crud.shutdown()
    await engine.dispose()


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
