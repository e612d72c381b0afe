"""Rows that others have locked, and claims that race: nobody waits who need not, and nothing is given twice."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from kapusta.backend import Change, Guard, StoreUnavailableError, TaskExecutionMode, TaskQuery, UniqueKey
from kapusta_sqlalchemy import AlchemyCRUD
from kapusta_sqlalchemy._dialects._postgresql import PostgreSQL, _keys
from kapusta_sqlalchemy._dialects._postgresql._claiming import _CLAIM
from kapusta_sqlalchemy._dialects._postgresql._sql import Sql
from kapusta_sqlalchemy._dialects._postgresql._trouble import ConflictError
from tests.postgresql.asking import WAITING, answered
from tests.sqlalchemy.records import claim, new, renewal, settled

SYNC = TaskExecutionMode.sync


async def test_one_open_transaction_delays_no_other_lease(
    store: AlchemyCRUD, admin: asyncpg.Connection
) -> None:
    """While somebody has written one row and not committed, the other 99 leases are renewed at once; it is `busy`."""
    await store.add_tasks([new() for _ in range(100)])
    tasks = (await store.claim_tasks(claim(100))).tasks
    async with admin.transaction():
        await admin.execute("UPDATE kapusta_task SET reason = 'mine' WHERE id = $1", tasks[50].id)

        begun = perf_counter()
        answers = await store.renew_leases(renewal(*tasks))
        took = perf_counter() - begun

    assert [answer.answer.value for answer in answers] == ["renewed"] * 50 + ["busy"] + ["renewed"] * 49
    assert took < 1
    again = await store.renew_leases(renewal(*tasks))
    assert {answer.answer.value for answer in again} == {"renewed"}


async def test_a_busy_lease_still_tells_of_a_cancel(store: AlchemyCRUD, admin: asyncpg.Connection) -> None:
    """Whoever cannot renew can read: a request to cancel that is there reaches the worker."""
    await store.add_tasks([new()])
    [task] = (await store.claim_tasks(claim())).tasks
    await store.change_tasks([Change(id=task.id, run=task.run, guard=Guard.running, cancel_requested=True)])
    async with admin.transaction():
        await admin.execute("SELECT FROM kapusta_task FOR UPDATE")

        [answer] = await store.renew_leases(renewal(task))

    assert (answer.answer, answer.cancel_requested) == ("busy", True)


async def test_a_lock_beyond_patience_is_named(store: AlchemyCRUD, admin: asyncpg.Connection) -> None:
    """When somebody keeps a row, its settlement fails before core's ten seconds, with the fact; the others pass it."""
    await store.add_tasks([new(), new()])
    mine, locked = (await store.claim_tasks(claim())).tasks
    async with admin.transaction():
        await admin.execute("SELECT FROM kapusta_task WHERE id = $1 FOR UPDATE", locked.id)

        async with asyncio.timeout(9):
            with pytest.raises(StoreUnavailableError, match=r"change_tasks: .*lock timeout, by another"):
                await store.change_tasks([settled(locked)])
        [changed] = await store.change_tasks([settled(mine)])

    assert changed.answer == "accepted"
    assert (await store.change_tasks([settled(locked)]))[0].answer == "accepted"


async def test_a_locked_task_is_passed_over(store: AlchemyCRUD, admin: asyncpg.Connection) -> None:
    """A claim takes the next ones instead, in order, and waits for nobody; the locked one comes another time."""
    tasks = [new(priority=-n) for n in range(5)]
    await store.add_tasks(tasks)
    async with admin.transaction():
        await admin.execute(
            "SELECT FROM kapusta_task WHERE id = ANY($1) FOR UPDATE", [tasks[0].id, tasks[2].id]
        )

        async with asyncio.timeout(2):
            claims = await store.claim_tasks(claim(2))

    assert [task.id for task in claims.tasks] == [tasks[1].id, tasks[3].id]
    rest = await store.claim_tasks(claim(5))
    assert [task.id for task in rest.tasks] == [tasks[0].id, tasks[2].id, tasks[4].id]


async def test_behind_any_number_of_locked_tasks_there_is_one_to_take(
    store: AlchemyCRUD, admin: asyncpg.Connection
) -> None:
    """A slot is not left empty because the first thousand that are due are locked by somebody."""
    tasks = [new() for _ in range(1_001)]
    await store.add_tasks(tasks)
    async with admin.transaction():
        await admin.execute("SELECT FROM kapusta_task WHERE id < $1 FOR UPDATE", tasks[-1].id)

        claims = await store.claim_tasks(claim(slots={SYNC: 1}))

        assert [task.id for task in claims.tasks] == [tasks[-1].id]
        assert (await store.claim_tasks(claim(slots={SYNC: 1}))).tasks == []


@pytest.mark.parametrize("answers", [True, False])
async def test_a_second_look_that_fails_forgets_nothing_that_was_claimed(
    store: AlchemyCRUD, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    """Refused by the server, it leaves the first look's tasks to the worker; cut off, it says that something is unknown."""
    tasks = [new() for _ in range(301)]
    await store.add_tasks(tasks)
    fetch = asyncpg.Connection.fetch
    looks = 0

    async def fails(connection: asyncpg.Connection, text: str, *parameters: Any) -> Any:
        nonlocal looks
        looks += "claimed" in text
        if looks != 2:
            return await fetch(connection, text, *parameters)
        if answers:
            raise asyncpg.DeadlockDetectedError("deadlock detected")
        await fetch(connection, text, *parameters)
        connection.terminate()
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    async with admin.transaction():
        await admin.execute(
            "SELECT FROM kapusta_task WHERE id > $1 AND id < $2 FOR UPDATE", tasks[0].id, tasks[-1].id
        )
        monkeypatch.setattr(asyncpg.Connection, "fetch", fails)
        if answers:
            claimed = (await store.claim_tasks(claim(slots={SYNC: 2}))).tasks
            assert [task.id for task in claimed] == [tasks[0].id]
        else:
            with pytest.raises(StoreUnavailableError):
                await store.claim_tasks(claim(slots={SYNC: 2}))
        monkeypatch.undo()

    started = await store.find_tasks(TaskQuery(guards=frozenset({Guard.running})))
    assert [task.id for task in started] == ([tasks[0].id] if answers else [tasks[0].id, tasks[-1].id])


async def test_a_claim_locks_no_more_than_it_takes(
    store: AlchemyCRUD, other: AlchemyCRUD, admin: asyncpg.Connection
) -> None:
    """Between two claims that overlap, what the first did not take is there for the second."""
    await store.add_tasks([new(name=f"name-{n % 5}") for n in range(20)])
    names = frozenset(f"name-{n}" for n in range(5))
    text = Sql(store._tables).fill(_CLAIM)
    async with admin.transaction():
        first = await admin.fetch(text, 0, ["sync"], [3], [53], list(names), None, "slow", 30_000_000)

        second = (await other.claim_tasks(claim(20, names=names))).tasks

        assert len(first) == 3
        assert len(second) == 17


@pytest.mark.parametrize("slots", [1, 7])
async def test_four_claimers_lose_nothing_and_take_nothing_twice(
    store: AlchemyCRUD, postgres_url: str, slots: int
) -> None:
    """Four handles that drain two thousand tasks at once are given each once; none comes back short before the end.

    A claim that came back short means "nothing more is due" to a worker, which would sleep beside waiting tasks.
    """
    tasks = [new(name=f"name-{n % 3}", priority=n % 2) for n in range(2_000 if slots > 1 else 300)]
    await store.add_tasks(tasks)
    handles = [AlchemyCRUD(postgres_url) for _ in range(4)]
    await asyncio.gather(*(handle.startup() for handle in handles))
    given: list[int] = []
    short = 0

    async def drain(handle: AlchemyCRUD, worker: str) -> None:
        nonlocal short
        request = claim(slots={SYNC: slots}, worker=worker, names=frozenset({"name-0", "name-1", "name-2"}))
        while taken := (await handle.claim_tasks(request)).tasks:
            given.extend(task.id for task in taken)
            assert len(taken) <= slots
            short += len(taken) < slots and len(given) < len(tasks) - 4 * slots

    await asyncio.gather(*(drain(handle, f"worker-{n}") for n, handle in enumerate(handles)))

    assert sorted(given) == [task.id for task in tasks]
    assert short == 0
    await asyncio.gather(*(handle.shutdown() for handle in handles))


async def test_a_conflict_is_repeated_inside(store: AlchemyCRUD, admin: asyncpg.Connection) -> None:
    """A database whose default is `serializable` makes writers fail; no caller hears of it."""
    name = await admin.fetchval("SELECT current_database()")
    await admin.execute(f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = 'serializable'")
    assert store._started is not None
    engine = create_async_engine(store._started.engine.url)
    crud = AlchemyCRUD(engine)
    try:
        await crud.startup()
        await crud.add_tasks([new() for _ in range(100)])

        async def work(worker: str) -> int:
            count = 0
            while taken := (await crud.claim_tasks(claim(5, worker=worker))).tasks:
                answers = await crud.change_tasks([settled(task, worker=worker) for task in taken])
                assert {answer.answer.value for answer in answers} == {"accepted"}
                count += len(taken)
            return count

        assert sum(await asyncio.gather(*(work(f"worker-{n}") for n in range(3)))) == 100
    finally:
        await admin.execute(f'ALTER DATABASE "{name}" RESET default_transaction_isolation')
        await crud.shutdown()
        await engine.dispose()


async def test_eight_launches_of_one_key_are_one_task(store: AlchemyCRUD, postgres_url: str) -> None:
    """Again and again, at the same moment, through handles of their own: one is stored, all others hear which."""
    handles = [AlchemyCRUD(postgres_url) for _ in range(8)]
    await asyncio.gather(*(handle.startup() for handle in handles))

    for turn in range(40):
        key = UniqueKey(key=f"slot-{turn}")
        tasks = [new(unique=key) for _ in handles]
        answers = await asyncio.gather(
            *(handle.add_tasks([task]) for handle, task in zip(handles, tasks, strict=True))
        )

        outcomes = sorted(added.outcome.value for [added] in answers)
        assert outcomes == ["key_in_use"] * 7 + ["new"]
        assert len({added.id for [added] in answers}) == 1

    await asyncio.gather(*(handle.shutdown() for handle in handles))
    assert len(await store.find_tasks(TaskQuery(limit=1_000))) == 40


@pytest.mark.parametrize("commits", [True, False])
async def test_whoever_wants_a_key_that_is_just_being_taken_waits_and_asks_again(
    admin_of_empty: asyncpg.Connection,
    store: AlchemyCRUD,
    admin: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    *,
    commits: bool,
) -> None:
    """Of two launches of one key the second waits for the first to end: it hears which task has the key, or gets it."""
    troubles: list[Exception] = []
    trouble = PostgreSQL.trouble

    def noted(dialect: PostgreSQL, error: Exception) -> object:
        troubles.append(error)
        return trouble(dialect, error)

    monkeypatch.setattr(PostgreSQL, "trouble", noted)
    first, second = (new(unique=UniqueKey(key="slot")) for _ in range(2))
    taking = admin.transaction()
    await taking.start()
    await _keys._add(admin, Sql(store._tables), 0, [first])

    waiting = asyncio.ensure_future(store.add_tasks([second]))
    await answered(admin_of_empty, WAITING)
    await (taking.commit() if commits else taking.rollback())
    [added] = await waiting

    if commits:
        assert (added.id, added.outcome) == (first.id, "key_in_use")
        assert {type(error) for error in troubles} == {ConflictError}
    else:
        assert (added.id, added.outcome) == (second.id, "new")
        assert troubles == []
    assert [task.id for task in await store.find_tasks(TaskQuery())] == [added.id]


async def test_a_key_that_is_freed_and_wanted_at_once_goes_to_one(
    store: AlchemyCRUD, other: AlchemyCRUD
) -> None:
    """A settlement that frees a key races with two launches that want it: at most one of them gets it."""
    for turn in range(40):
        key = UniqueKey(key=f"key-{turn}")
        await store.add_tasks([new(unique=key)])
        [task] = (await store.claim_tasks(claim())).tasks

        _, [first], [second] = await asyncio.gather(
            store.change_tasks([settled(task)]),
            store.add_tasks([new(name="unknown", unique=key)]),
            other.add_tasks([new(name="unknown", unique=key)]),
        )

        outcomes = {first.outcome.value, second.outcome.value}
        assert outcomes in ({"new", "key_in_use"}, {"key_in_use"})
        if "new" not in outcomes:
            assert {first.id, second.id} == {task.id}


async def test_one_launch_repeated_at_once_is_new_once(store: AlchemyCRUD, other: AlchemyCRUD) -> None:
    """A launch with a key that is sent twice at the same moment is `new` and `again`, not `key_in_use`."""
    for turn in range(30):
        task = new(unique=UniqueKey(key=f"key-{turn}"))

        answers = await asyncio.gather(store.add_tasks([task]), other.add_tasks([task]))

        assert sorted(added.outcome.value for [added] in answers) == ["again", "new"]


async def test_a_frozen_process_gives_back_the_keys_it_has_locked(
    store: AlchemyCRUD, other: AlchemyCRUD, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that stands still within its transaction is ended by the server; a single key needs no transaction."""
    monkeypatch.setattr(_keys, "_BEGIN", _keys._BEGIN.replace("5000", "200"))
    frozen = asyncio.Event()
    add = _keys._add

    async def freeze(*arguments: object) -> object:
        answer = await add(*arguments)  # type: ignore[arg-type]  # as they came
        if not frozen.is_set():
            frozen.set()
            await asyncio.sleep(1)
        return answer

    monkeypatch.setattr(_keys, "_add", freeze)
    batch = [new(unique=UniqueKey(key=key)) for key in "ab"]
    adding = asyncio.ensure_future(store.add_tasks(batch))
    await frozen.wait()

    begun = perf_counter()
    [added] = await other.add_tasks([new(unique=UniqueKey(key="a"))])

    assert added.outcome == "new"
    assert perf_counter() - begun < 0.9
    with pytest.raises(StoreUnavailableError):
        await adding


async def test_two_opposite_batches_do_not_block_each_other(store: AlchemyCRUD, other: AlchemyCRUD) -> None:
    """Changes of the same tasks, upwards and downwards, at once: each task has one winner, and nobody deadlocks."""
    troubles = []
    trouble = PostgreSQL.trouble
    for _ in range(20):
        await store.add_tasks([new() for _ in range(50)])
        tasks = (await store.claim_tasks(claim(50))).tasks
        down = [settled(task) for task in reversed(tasks)]

        def seen(dialect: PostgreSQL, error: Exception) -> object:
            troubles.append(error)
            return trouble(dialect, error)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(PostgreSQL, "trouble", seen)
            up, back = await asyncio.gather(
                store.change_tasks([settled(task) for task in tasks]), other.change_tasks(down)
            )

        for first, second in zip(up, reversed(back), strict=True):
            assert {first.answer.value, second.answer.value} == {"accepted", "already"}
    assert troubles == []
