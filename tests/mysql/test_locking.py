"""Many at once: nobody waits for a row longer than it must, and nothing is claimed twice or forgotten."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from contextlib import closing
from datetime import timedelta
from typing import Any

import pymysql
import pytest

from kapusta.backend import (
    ChangeAnswer,
    Guard,
    StoreUnavailableError,
    TaskQuery,
    TaskStatus,
    UniqueKey,
)
from kapusta_sqlalchemy import AlchemyCRUD
from kapusta_sqlalchemy._dialects._mysql import _session
from tests.servers.mariadb import connect
from tests.sqlalchemy.records import claim, new, renewal, settled

_JUST_THESE = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
"""Without it a stranger who looks for some rows may keep the gaps between them, and rows beside them, locked."""


async def test_a_locked_row_delays_no_other_lease(store: AlchemyCRUD, mysql_url: str) -> None:
    """While a stranger's transaction has written one task's row, 99 leases are renewed and that one is busy."""
    await store.add_tasks([new() for _ in range(100)])
    tasks = (await store.claim_tasks(claim(100))).tasks
    locked = tasks[41]
    with closing(connect(mysql_url)) as stranger, stranger.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE kapusta_task SET failures = failures + 1 WHERE id = %s", [locked.id])

        async with asyncio.timeout(1):
            answers = await store.renew_leases(renewal(*tasks).replace(lease=timedelta(hours=1)))

        assert [answer.id for answer in answers if answer.answer == "busy"] == [locked.id]
        assert Counter(answer.answer.value for answer in answers) == {"renewed": 99, "busy": 1}
        cursor.execute("ROLLBACK")
    assert {answer.answer.value for answer in await store.renew_leases(renewal(*tasks))} == {"renewed"}


async def test_two_workers_claim_at_once_and_both_get_work(store: AlchemyCRUD, mysql_url: str) -> None:
    """While one worker's claim of ten is not committed, another takes ten more of the same priority."""
    tasks = [new(name=f"name-{n % 3}", priority=n % 2) for n in range(60)]
    await store.add_tasks(tasks)
    names = frozenset({"name-0", "name-1", "name-2"})
    order = [task.id for task in sorted(tasks, key=lambda task: (-task.priority, task.id))]
    with closing(connect(mysql_url)) as stranger, stranger.cursor() as cursor:
        cursor.execute(_JUST_THESE)
        cursor.execute("BEGIN")
        locking = "SELECT * FROM kapusta_task FORCE INDEX (PRIMARY) WHERE id IN ({}) FOR UPDATE"
        cursor.execute(locking.format(", ".join(map(str, order[:10]))))

        async with asyncio.timeout(1):
            claims = await store.claim_tasks(claim(10, names=names))

        assert len(claims.tasks) == 10
        assert {task.id for task in claims.tasks} <= set(order[10:30])
        cursor.execute("ROLLBACK")


async def test_a_lane_that_others_hold_does_not_hide_the_next(store: AlchemyCRUD, mysql_url: str) -> None:
    """If everything of the first priority is locked, the claim gives what there is of the second."""
    first, second = [new(priority=5) for _ in range(20)], [new() for _ in range(20)]
    await store.add_tasks([*first, *second])
    with closing(connect(mysql_url)) as stranger, stranger.cursor() as cursor:
        cursor.execute(_JUST_THESE)
        cursor.execute("BEGIN")
        locking = "SELECT * FROM kapusta_task FORCE INDEX (PRIMARY) WHERE id IN ({}) FOR UPDATE"
        cursor.execute(locking.format(", ".join(str(task.id) for task in first)))

        claims = await store.claim_tasks(claim(10))

        assert [task.id for task in claims.tasks] == [task.id for task in second[:10]]
        cursor.execute("ROLLBACK")


async def test_a_crowd_that_others_hold_does_not_hide_what_is_behind_it(
    store: AlchemyCRUD, mysql_url: str
) -> None:
    """However many rows of a lane are locked, the claim finds the one behind them; when all are, it finds none."""
    tasks = [new() for _ in range(1_000)]
    await store.add_tasks(tasks)
    with closing(connect(mysql_url)) as stranger, stranger.cursor() as cursor:
        cursor.execute(_JUST_THESE)
        cursor.execute("BEGIN")
        locking = "SELECT * FROM kapusta_task FORCE INDEX (PRIMARY) WHERE id IN ({}) FOR UPDATE"
        cursor.execute(locking.format(", ".join(str(task.id) for task in tasks[:-1])))

        behind = (await store.claim_tasks(claim(3))).tasks
        async with asyncio.timeout(1):
            nothing = (await store.claim_tasks(claim(3))).tasks

        assert [task.id for task in behind] == [tasks[-1].id]
        assert list(nothing) == []
        cursor.execute("ROLLBACK")


async def test_the_end_of_a_lane_hides_nothing_of_the_next(store: AlchemyCRUD, other: AlchemyCRUD) -> None:
    """Of many lanes side by side, each is emptied at once by a claimer of its own, and none finds it empty."""
    for _ in range(5):
        tasks = [new(name=f"name-{n:02}") for n in range(30)]
        await store.add_tasks(tasks)

        claims = await asyncio.gather(
            *(
                (store, other)[n % 2].claim_tasks(claim(names=frozenset({task.name})))
                for n, task in enumerate(tasks)
            )
        )

        assert [[task.id for task in each.tasks] for each in claims] == [[task.id] for task in tasks]


async def test_a_conflict_in_the_middle_of_a_claim_loses_nothing(
    store: AlchemyCRUD, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the first lane gave something and the second a deadlock, the claim answers what the first gave.

    The lane of high priority has one task; by the time of the grip, the second is gone.
    """
    first, gone, second = new(priority=5), new(priority=5), new()
    await store.add_tasks([first, gone, second])
    send, grips = _session._send, 0

    async def deadlocking(driver: Any, packet: bytes) -> list[Any]:
        nonlocal grips
        if b"GROUP_CONCAT" in packet:
            grips += 1
            if grips == 2:
                raise pymysql.err.OperationalError(1213, "Deadlock found when trying to get lock")
            await send(driver, b"DELETE FROM kapusta_task WHERE id = %d" % gone.id)
        return await send(driver, packet)

    monkeypatch.setattr(_session, "_send", deadlocking)

    claims = await store.claim_tasks(claim(2))

    assert grips == 2
    assert [task.id for task in claims.tasks] == [first.id]
    assert [task.id for task in (await store.claim_tasks(claim(2))).tasks] == [second.id]


async def test_four_claimers_share_all_that_is_due(mysql_url: str) -> None:
    """Two thousand tasks of four lanes go to four handles that claim at once: each to one, none to nobody.

    As long as something is due and free, no claim comes back empty.
    """
    handles = [AlchemyCRUD(mysql_url) for _ in range(4)]
    for handle in handles:
        await handle.startup()
    tasks = [new(name=f"name-{n % 2}", priority=n % 2, queue=f"queue-{n % 2}") for n in range(2_000)]
    await handles[0].add_tasks(tasks)
    names = frozenset({"name-0", "name-1"})
    taken: list[list[int]] = [[] for _ in handles]

    async def work(place: int) -> None:
        while True:
            request = claim(10, worker=f"worker-{place}", names=names)
            given = (await handles[place].claim_tasks(request)).tasks
            if not given:
                # Whatever is left now is on its way to another.
                left = await handles[place].find_tasks(TaskQuery(statuses=frozenset({TaskStatus.pending})))
                assert len(left) <= 30
                return
            taken[place] += [task.id for task in given]
            changes = [settled(task, worker=f"worker-{place}") for task in given]
            answers = await handles[place].change_tasks(changes)
            assert {answer.answer for answer in answers} == {ChangeAnswer.accepted}

    await asyncio.gather(*(work(place) for place in range(4)))

    assert sorted(id for ids in taken for id in ids) == sorted(task.id for task in tasks)
    assert all(len(ids) > 100 for ids in taken)
    for handle in handles:
        await handle.shutdown()


async def test_a_change_waits_for_a_row_and_then_asks_again(store: AlchemyCRUD, mysql_url: str) -> None:
    """A row that a stranger holds for longer than one wait is written as soon as it is free."""
    await store.add_tasks([new()])
    (given,) = (await store.claim_tasks(claim())).tasks
    with closing(connect(mysql_url)) as stranger, stranger.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT id FROM kapusta_task FOR UPDATE")
        release = threading.Timer(2.5, lambda: cursor.execute("ROLLBACK"))
        release.start()

        answers = await store.change_tasks([settled(given)])
        release.join()

    assert [answer.answer for answer in answers] == [ChangeAnswer.accepted]


async def test_a_row_that_stays_locked_is_named(store: AlchemyCRUD, mysql_url: str) -> None:
    """After its patience an operation says who is in the way; nothing is left open, and the handle works on."""
    await store.add_tasks([new(), new()])
    given, free = (await store.claim_tasks(claim())).tasks
    with closing(connect(mysql_url)) as stranger, stranger.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT * FROM kapusta_task WHERE id = %s FOR UPDATE", [given.id])

        with pytest.raises(StoreUnavailableError, match="a row stayed locked by another transaction"):
            await store.change_tasks([settled(given), settled(free)])
        answers = await store.change_tasks([settled(free)])

        assert [answer.answer for answer in answers] == [ChangeAnswer.accepted]
        cursor.execute("ROLLBACK")


async def test_a_deadlock_is_tried_again(store: AlchemyCRUD, mysql_url: str) -> None:
    """A change that the server chose as the victim of a deadlock is carried out all the same."""
    await store.add_tasks([new(), new()])
    low, high = (await store.claim_tasks(claim())).tasks
    with closing(connect(mysql_url)) as stranger, stranger.cursor() as cursor:
        # Of two the server undoes the one that has written less.
        cursor.execute("CREATE TABLE weight (id INT PRIMARY KEY)")
        cursor.execute("BEGIN")
        cursor.execute("INSERT INTO weight VALUES " + ", ".join(f"({n})" for n in range(500)))
        cursor.execute("UPDATE kapusta_task SET failures = 1 WHERE id = %s", [high.id])
        changing = asyncio.ensure_future(store.change_tasks([settled(low), settled(high)]))
        await _until_waiting(mysql_url)

        cursor.execute("UPDATE kapusta_task SET failures = 1 WHERE id = %s", [low.id])
        cursor.execute("COMMIT")
        answers = await changing

    assert [answer.answer for answer in answers] == [ChangeAnswer.accepted] * 2
    assert [task.status for task in await store.find_tasks(TaskQuery())] == [TaskStatus.success] * 2


async def _until_waiting(mysql_url: str) -> None:
    """Return once some transaction waits for a lock."""
    waiting = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
    with closing(connect(mysql_url)) as bystander, bystander.cursor() as cursor:
        while True:
            cursor.execute(waiting)
            if cursor.fetchone() != (0,):
                return
            await asyncio.sleep(0.15)  # InnoDB keeps the answer for a tenth of a second


async def test_the_same_key_from_many_at_once_is_taken_once(store: AlchemyCRUD, other: AlchemyCRUD) -> None:
    """Forty launches with one key, through two handles at once: one is new, the others are told of it."""
    tasks = [new(unique=UniqueKey(key="one")) for _ in range(40)]

    answers = await asyncio.gather(
        *((store, other)[place % 2].add_tasks([task]) for place, task in enumerate(tasks))
    )

    outcomes = Counter(added.outcome.value for (added,) in answers)
    assert outcomes == {"new": 1, "key_in_use": 39}
    (stored,) = await store.find_tasks(TaskQuery())
    assert {added.id for (added,) in answers} == {stored.id}


@pytest.mark.parametrize("commits", [True, False])
async def test_whoever_wants_a_key_that_is_just_being_taken_waits_and_asks_again(
    store: AlchemyCRUD, mysql_url: str, *, commits: bool
) -> None:
    """Of two launches of one key the second waits for the first to end: it hears which task has the key, or gets it."""
    first, second = (new(unique=UniqueKey(key="slot")) for _ in range(2))
    await store.add_tasks([first])
    with closing(connect(mysql_url)) as taking, taking.cursor() as cursor:
        for table in ("task", "unique_key"):
            cursor.execute(f"CREATE TABLE {table}_apart AS SELECT * FROM kapusta_{table}")
            cursor.execute(f"DELETE FROM kapusta_{table}")
        cursor.execute("BEGIN")
        for table in ("task", "unique_key"):
            cursor.execute(f"INSERT INTO kapusta_{table} SELECT * FROM {table}_apart")

        waiting = asyncio.ensure_future(store.add_tasks([second]))
        await _until_waiting(mysql_url)
        cursor.execute("COMMIT" if commits else "ROLLBACK")
        [added] = await waiting

    expected = (first.id, "key_in_use") if commits else (second.id, "new")
    assert (added.id, added.outcome) == expected
    assert [task.id for task in await store.find_tasks(TaskQuery())] == [added.id]


async def test_a_key_that_is_free_again_is_taken_once(store: AlchemyCRUD, other: AlchemyCRUD) -> None:
    """Of many who find the key of a finished task free at the same time, one takes it."""
    for _ in range(5):
        before = new(unique=UniqueKey(key="again"))
        await store.add_tasks([before])
        (kept,) = await store.find_tasks(TaskQuery(ids=frozenset({before.id})))
        change = {"guard": Guard.resting, "worker": None, "status": TaskStatus.cancelled, "result": None}
        await store.change_tasks([settled(kept, **change)])
        tasks = [new(unique=UniqueKey(key="again")) for _ in range(16)]

        answers = await asyncio.gather(
            *((store, other)[place % 2].add_tasks([task]) for place, task in enumerate(tasks))
        )

        assert Counter(added.outcome.value for (added,) in answers) == {"new": 1, "key_in_use": 15}
        (taker,) = await store.find_tasks(TaskQuery(statuses=frozenset({TaskStatus.pending})))
        change["guard"] = Guard.resting
        await store.change_tasks([settled(taker, **change)])


async def test_a_killed_connection_is_replaced(store: AlchemyCRUD, mysql_url: str) -> None:
    """When an administrator kills our idle connections, the next operations open others and nobody notices."""
    await store.add_tasks([new()])
    _kill_all(mysql_url)
    await asyncio.sleep(0)  # a turn of the loop, in which it hears that the server has hung up
    await asyncio.sleep(0.05)

    assert len(await store.find_tasks(TaskQuery())) == 1
    assert (await store.add_tasks([new()]))[0].outcome == "new"


async def test_a_connection_that_is_killed_at_work_is_trouble(store: AlchemyCRUD, mysql_url: str) -> None:
    """An operation whose connection is killed raises `StoreUnavailableError`; repeated, it works."""
    await store.add_tasks([new()])
    (given,) = (await store.claim_tasks(claim())).tasks
    with closing(connect(mysql_url)) as stranger, stranger.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT id FROM kapusta_task FOR UPDATE")
        changing = asyncio.ensure_future(store.change_tasks([settled(given)]))
        await _until_waiting(mysql_url)
        _kill_all(mysql_url, but=stranger.thread_id())

        with pytest.raises(StoreUnavailableError):
            await changing

        cursor.execute("ROLLBACK")
    answers = await store.change_tasks([settled(given)])
    assert [answer.answer for answer in answers] == [ChangeAnswer.accepted]


def _kill_all(mysql_url: str, but: int = 0) -> None:
    with closing(connect(mysql_url)) as admin, admin.cursor() as cursor:
        cursor.execute("SELECT id FROM information_schema.processlist WHERE db = DATABASE()")
        for (id,) in cursor.fetchall():
            if id not in {admin.thread_id(), but}:
                try:
                    cursor.execute(f"KILL {id}")
                except pymysql.err.OperationalError as error:
                    assert error.args[0] == 1094  # noqa: PT017 - it has gone by itself
