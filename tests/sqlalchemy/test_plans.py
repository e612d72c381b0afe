"""Which index answers what, and that a long history or a crowd in front costs nothing."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from kapusta.backend import (
    FINAL,
    Guard,
    RenewRequest,
    SystemClock,
    TaskExecutionMode,
    TaskQuery,
    TaskStatus,
    UniqueKey,
    UniqueUntil,
)
from kapusta_sqlalchemy import AlchemyCRUD
from tests.sqlalchemy.records import claim, new, renewal, settled
from tests.sqlalchemy.statements import Statements, watched

HOUR = 3_600_000_000

_CROWD = """
WITH RECURSIVE number(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n + 1 < :count),
now(us) AS (SELECT CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER) * 1000)
INSERT INTO kapusta_task (id, token, name, payload, codec, mode, queue, rank, eta, deadline, options, status, run,
                          failures, crashes, interruptions, cancel_requested, created, finished)
SELECT :first + n, 'token', :name, x'7b7d', 'json', 'sync', 'default', :rank, us + :eta + n, NULL, x'7b7d', :status, 0,
       0, 0, 0, 0, us, CASE :status WHEN 'success' THEN us END
FROM number, now
"""


def _crowd(path: Path, **fields: Any) -> None:
    row = {
        "count": 1,
        "first": 1_000_000,
        "name": "known",
        "rank": 0,
        "eta": -HOUR,
        "status": "pending",
    } | fields
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(_CROWD, row)


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Statements:
    """The statements that all handles send from here on."""
    return watched(monkeypatch)


def _plan(path: Path, statement: tuple[str, tuple[Any, ...]]) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement[0]}", statement[1])]


async def test_an_idle_claim_is_one_question(store: AlchemyCRUD, statements: Statements) -> None:
    """With nothing due, a claim sends one statement, which locks nothing, and knows when the next is due."""
    await store.add_tasks([new(delay=timedelta(hours=3))])
    statements.asked.clear()

    claims = await store.claim_tasks(claim())

    assert claims.next_due is not None
    assert timedelta(hours=2) < claims.next_due <= timedelta(hours=3)
    assert len(statements.asked) == 1
    assert statements.writing == []


async def test_an_idle_claim_needs_no_lock(store: AlchemyCRUD, path: Path) -> None:
    """While another process writes, a claim with nothing due answers at once."""
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")

        assert (await store.claim_tasks(claim())).tasks == []

        writer.execute("COMMIT")


async def test_a_claim_with_nothing_due_that_can_be_read_needs_no_lock(
    store: AlchemyCRUD, path: Path
) -> None:
    """What somebody has written into a row by hand keeps nobody's writes waiting at each look."""
    await store.add_tasks([new()])
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("UPDATE kapusta_task SET options = 5")
        writer.execute("BEGIN IMMEDIATE")

        assert (await store.claim_tasks(claim())).tasks == []

        writer.execute("COMMIT")


async def test_an_idle_claim_is_not_noticed_by_others(store: AlchemyCRUD, path: Path) -> None:
    """It leaves `data_version` alone: two idle processes do not wake each other for ever."""
    with closing(sqlite3.connect(path)) as bystander:
        before = bystander.execute("PRAGMA data_version").fetchone()

        await store.claim_tasks(claim())
        await store.find_tasks(TaskQuery())

        assert bystander.execute("PRAGMA data_version").fetchone() == before


@pytest.mark.parametrize("keyed", [False, True])
async def test_a_batch_is_as_many_statements_as_one(
    store: AlchemyCRUD, statements: Statements, keyed: bool
) -> None:
    """A hundred tasks are added, claimed, renewed, settled, found and deleted by as many statements as one.

    Around a renewal three say how long it waits; they ask no file.
    """

    async def life(size: int) -> list[int]:
        counts = []

        async def counted(call: Awaitable[Any]) -> Any:
            before = len(statements.asked)
            answer = await call
            counts.append(len(statements.asked) - before)
            return answer

        batch = [new(unique=UniqueKey(key=f"{size}-{n}") if keyed else None) for n in range(size)]
        await counted(store.add_tasks(batch))
        tasks = (await counted(store.claim_tasks(claim(100)))).tasks
        await counted(store.renew_leases(renewal(*tasks)))
        await counted(store.change_tasks([settled(task) for task in tasks]))
        await counted(store.find_tasks(TaskQuery(ids=frozenset(task.id for task in tasks))))
        assert await counted(store.delete_tasks([task.id for task in tasks])) == size
        return counts

    assert await life(100) == await life(1) == [3 if keyed else 1, 2, 4, 1, 1, 2]


@pytest.mark.parametrize("analyzed", [False, True])
async def test_the_claim_reads_the_lane_index_only(
    store: AlchemyCRUD, path: Path, statements: Statements, analyzed: bool
) -> None:
    """Look and grip reach every task by the lane's index or its id, with statistics and without."""
    _crowd(path, count=200)
    if analyzed:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("ANALYZE")
    for queues in (None, frozenset({"default", "other"})):
        statements.asked.clear()
        await store.claim_tasks(claim(queues=queues))

        look, grip = (_plan(path, asked) for asked in statements.asked)

        for plan in (look, grip):
            on_tasks = [
                step for step in plan if re.match(r"(SCAN|SEARCH) (kapusta_task|t|next|found)\b", step)
            ]
            assert on_tasks
            for step in on_tasks:
                assert "ix_kapusta_task_lane" in step or "USING INTEGER PRIMARY KEY" in step, step
            assert not [step for step in on_tasks if step.startswith("SCAN")]
        eta = "(status=? AND queue=? AND mode=? AND name=? AND rank=? AND eta"
        assert sum(eta in step for step in look) == 2
        assert sum(eta in step for step in grip) == 1


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (TaskQuery(guards=frozenset({Guard.expired})), "ix_kapusta_task_lease (lease_end<?)"),
        (TaskQuery(guards=frozenset({Guard.overdue})), "ix_kapusta_task_deadline (status=? AND deadline<?)"),
        (TaskQuery(guards=frozenset({Guard.running})), "ix_kapusta_task_lease"),
        (TaskQuery(statuses=frozenset({TaskStatus.started})), "ix_kapusta_task_lease"),
        (
            TaskQuery(finished_before=datetime(2020, 1, 1, tzinfo=UTC), statuses=FINAL),
            "ix_kapusta_task_finished (finished<?)",
        ),
    ],
)
async def test_a_chore_finds_its_tasks_by_their_index(
    store: AlchemyCRUD, path: Path, statements: Statements, query: TaskQuery, index: str
) -> None:
    """What a worker asks for at intervals is one statement that reads an index of the few, and sorts nothing else."""
    await store.find_tasks(query)

    assert len(statements.asked) == 1
    plan = _plan(path, statements.asked[0])
    assert any(index in step for step in plan), plan
    assert "SEARCH kapusta_task USING INTEGER PRIMARY KEY (rowid=?)" in plan
    assert not any("TEMP B-TREE FOR ORDER BY" in step for step in plan), plan


async def test_expired_and_overdue_together_use_both_indexes(
    store: AlchemyCRUD, path: Path, statements: Statements
) -> None:
    """Asked for at once, each is still found by its index."""
    await store.find_tasks(TaskQuery(guards=frozenset({Guard.expired, Guard.overdue})))

    plan = _plan(path, statements.asked[0])

    assert any("ix_kapusta_task_lease (lease_end<?)" in step for step in plan)
    assert any("ix_kapusta_task_deadline (status=? AND deadline<?)" in step for step in plan)
    assert not any(step.startswith("SCAN kapusta_task") or step == "SCAN t" for step in plan), plan


async def test_changes_and_renewals_reach_their_tasks_by_id(
    store: AlchemyCRUD, path: Path, statements: Statements
) -> None:
    """However many rows there are, a batch of changes looks at its own."""
    await store.add_tasks([new() for _ in range(40)])
    tasks = (await store.claim_tasks(claim(40))).tasks
    statements.asked.clear()
    await store.renew_leases(renewal(*tasks))
    await store.change_tasks([settled(task) for task in tasks])

    for asked in statements.on_tables:
        plan = _plan(path, asked)
        assert "SEARCH task USING INTEGER PRIMARY KEY (rowid=?)" in plan, plan
        assert not any("AUTOMATIC" in step or step.startswith("SCAN task") for step in plan), plan


async def _fastest(call: Callable[[], Awaitable[Any]]) -> float:
    """The shortest of ten tries, in seconds: what it costs when nobody disturbs."""
    times = []
    for _ in range(10):
        begun = perf_counter()
        await call()
        times.append(perf_counter() - begun)
    return min(times)


async def test_a_crowd_in_front_costs_nothing(store: AlchemyCRUD, path: Path) -> None:
    """Neither due tasks of an unknown name, nor future ones of a higher priority, nor finished ones slow a claim.

    With all of them in the table a look takes no more than thrice its time in an empty one (it takes the same;
    reading past them would take hundreds of times as long), and the due task behind them is found.
    """
    empty = await _fastest(lambda: store.claim_tasks(claim()))
    _crowd(path, count=50_000, first=1_000_000, name="unknown")
    _crowd(path, count=100_000, first=2_000_000, rank=-5, eta=HOUR)
    _crowd(path, count=200_000, first=3_000_000, status="success")
    expired = TaskQuery(guards=frozenset({Guard.expired, Guard.overdue}))

    crowded = await _fastest(lambda: store.claim_tasks(claim()))
    chore = await _fastest(lambda: store.find_tasks(expired))
    await store.add_tasks([behind := new()])
    claims = await store.claim_tasks(claim())

    assert crowded < 3 * empty + 0.002
    assert chore < 3 * empty + 0.002
    assert [task.id for task in claims.tasks] == [behind.id]
    assert claims.next_due is not None
    assert timedelta(minutes=50) < claims.next_due < timedelta(minutes=61)


async def test_slots_count_for_each_mode_across_lanes(store: AlchemyCRUD) -> None:
    """Tasks of many names and priorities compete for the slots of their mode, in one order."""
    modes = [TaskExecutionMode.sync, TaskExecutionMode.thread]
    tasks = [
        new(name=f"name-{n % 7}", priority=n % 5, mode=modes[n % 2], queue=f"queue-{n % 3}")
        for n in range(200)
    ]
    await store.add_tasks(tasks)
    slots = {TaskExecutionMode.sync: 1, TaskExecutionMode.thread: 15, TaskExecutionMode.process: 3}

    claims = await store.claim_tasks(claim(slots=slots, names=frozenset(f"name-{n}" for n in range(7))))

    wanted = []
    for mode, count in slots.items():
        wanted += sorted((t for t in tasks if t.mode is mode), key=lambda t: (-t.priority, t.id))[:count]
    assert [task.id for task in claims.tasks] == [
        t.id for t in sorted(wanted, key=lambda t: (-t.priority, t.id))
    ]


async def test_a_claim_for_nothing_answers_now(store: AlchemyCRUD) -> None:
    """Without slots, names or queues there is nothing to claim and nothing to wait for."""
    await store.add_tasks([new(), new(delay=timedelta(hours=1))])

    for request in (claim(slots={}), claim(0), claim(names=frozenset()), claim(queues=frozenset())):
        claims = await store.claim_tasks(request)
        assert (list(claims.tasks), claims.next_due) == ([], None)


async def test_batches_of_any_size_are_whole(
    store: AlchemyCRUD, other: AlchemyCRUD, statements: Statements
) -> None:
    """Five thousand tasks are added, claimed, renewed, settled and deleted in one call each.

    No statement has more parameters than SQLite takes by default, which some distributions have raised.
    """
    many = [new() for _ in range(5_000)]

    assert {added.outcome.value for added in await store.add_tasks(many)} == {"new"}
    assert {added.outcome.value for added in await other.add_tasks(many)} == {"again"}
    tasks = (await store.claim_tasks(claim(5_000))).tasks
    assert [task.id for task in tasks] == [task.id for task in many]
    renewed = await other.renew_leases(renewal(*tasks))
    assert {answer.answer.value for answer in renewed} == {"renewed"}
    changes = [settled(task) for task in tasks]
    assert {changed.answer.value for changed in await store.change_tasks(changes)} == {"accepted"}
    assert {changed.answer.value for changed in await other.change_tasks(changes)} == {"already"}
    assert len(await store.find_tasks(TaskQuery(ids=frozenset(t.id for t in tasks), limit=10_000))) == 5_000
    assert 1_000 < max(len(parameters) for _, parameters in statements.asked) <= 32_766
    assert await store.delete_tasks([task.id for task in tasks]) == 5_000


async def test_keys_whose_period_has_ended_do_not_pile_up(url: str, path: Path) -> None:
    """Any deletion takes the keys along that no task holds any more; the others stay."""
    crud = AlchemyCRUD(url, clock=(clock := _Ahead()))
    await crud.startup()
    ends = {"hour": timedelta(hours=1), "day": timedelta(days=1), "forever": None}
    until = {name: UniqueUntil.period if period else UniqueUntil.forever for name, period in ends.items()}
    keys = [UniqueKey(key=name, until=until[name], period=period) for name, period in ends.items()]
    await crud.add_tasks([new(unique=key) for key in [*keys, UniqueKey(key="finished")]])
    tasks = (await crud.claim_tasks(claim())).tasks
    await crud.change_tasks([settled(task) for task in tasks])

    assert await crud.delete_tasks([task.id for task in tasks]) == 4
    kept = _keys(path)
    clock.ahead = timedelta(hours=2)
    await crud.delete_tasks([1])

    assert kept == {"hour", "day", "forever"}
    assert _keys(path) == {"day", "forever"}
    await crud.shutdown()


class _Ahead(SystemClock):
    """A clock that goes ahead of the store's."""

    ahead = timedelta(0)

    @property
    def offset(self) -> timedelta:
        return self.ahead


def _keys(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {key for (key,) in connection.execute("SELECT key FROM kapusta_unique_key")}


async def test_nothing_asked_is_nothing_sent(store: AlchemyCRUD, statements: Statements) -> None:
    """An empty batch is answered without the database."""
    empty = RenewRequest(worker="w", lease=timedelta(seconds=1), renewals=[])

    assert [await store.add_tasks([]), await store.change_tasks([]), await store.renew_leases(empty)] == [
        [],
        [],
        [],
    ]
    assert await store.delete_tasks([]) == 0
    assert statements.asked == []
