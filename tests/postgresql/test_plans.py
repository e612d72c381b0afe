"""Which index answers what, that a long history or a crowd in front costs nothing, and how often the server is asked."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from kapusta.backend import FINAL, Guard, TaskExecutionMode, TaskQuery, TaskStatus, UniqueKey
from kapusta_sqlalchemy import AlchemyCRUD
from kapusta_sqlalchemy._dialects._postgresql import _checkouts
from tests.postgresql.statements import Statements, plan, watched
from tests.sqlalchemy.records import claim, new, renewal, settled
from tests.worker.eventually import eventually

HOUR = 3_600_000_000

_CROWD = """
INSERT INTO kapusta_task (id, token, name, payload, codec, mode, queue, rank, eta, options, status, run, failures,
                          crashes, interruptions, cancel_requested, created, finished)
SELECT $1 + n, 'token', $2, '{}', 'json', 'sync', 'default', $3, now.us + $4 + n, '{}', $5::text, 0, 0, 0, 0, FALSE,
       now.us, CASE $5::text WHEN 'success' THEN now.us END
FROM generate_series(0, $6::bigint - 1) AS n,
     (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS us) AS now
"""


async def _crowd(
    admin: asyncpg.Connection,
    count: int,
    *,
    first: int = 1_000_000,
    name: str = "known",
    rank: int = 0,
    eta: int = -HOUR,
    status: str = "pending",
) -> None:
    await admin.execute(_CROWD, first, name, rank, eta, status, count)


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Statements:
    """The statements that all handles send from here on."""
    return watched(monkeypatch)


@pytest.mark.parametrize("keyed", [False, True])
async def test_an_operation_is_one_statement(store: AlchemyCRUD, statements: Statements, keyed: bool) -> None:
    """Of one task or of a hundred; but several unique keys are taken within a transaction, which is three."""

    async def life(size: int) -> list[int]:
        counts = []

        async def counted(call: Awaitable[Any]) -> Any:
            statements.asked.clear()
            answer = await call
            counts.append(len(statements.asked))
            return answer

        batch = [new(unique=UniqueKey(key=f"{size}-{n}") if keyed else None) for n in range(size)]
        await counted(store.add_tasks(batch))
        tasks = (await counted(store.claim_tasks(claim(100)))).tasks
        await counted(store.renew_leases(renewal(*tasks)))
        await counted(store.change_tasks([settled(task) for task in tasks]))
        await counted(store.change_tasks([settled(task) for task in tasks]))  # repeated: each is `already`
        await counted(store.find_tasks(TaskQuery(ids=frozenset(task.id for task in tasks))))
        assert await counted(store.delete_tasks([task.id for task in tasks])) == size
        return counts

    assert await life(1) == [1, 1, 1, 1, 1, 1, 1]
    assert await life(100) == [3 if keyed else 1, 1, 1, 1, 1, 1, 1]


async def test_a_repeated_launch_is_one_statement_more(store: AlchemyCRUD, statements: Statements) -> None:
    """Where an id is taken, its token is looked at."""
    task = new()
    await store.add_tasks([task])
    statements.asked.clear()

    await store.add_tasks([task])

    assert len(statements.asked) == 2


async def test_many_writes_are_few_hints(store: AlchemyCRUD, statements: Statements) -> None:
    """Two hundred launches, one after the other, do not make two hundred notifications: one is under way at a time."""
    begun = perf_counter()
    for _ in range(200):
        await store.add_tasks([new()])
    await eventually(lambda: statements.hints, "its connection is open, and the first one is sent")
    took = perf_counter() - begun

    assert statements.hints <= took / 0.01 + 2


async def test_reading_and_claiming_are_not_hinted_at(store: AlchemyCRUD, statements: Statements) -> None:
    """What changes nothing for others is told to nobody; nor is a refused change."""
    await store.add_tasks([new()])
    [task] = (await store.claim_tasks(claim())).tasks
    assert store._started is not None
    await store._started.dialect.close()  # the hint of the launch has gone out
    before = statements.hints

    await store.claim_tasks(claim())
    await store.renew_leases(renewal(task))
    await store.find_tasks(TaskQuery())
    await store.change_tasks([settled(task, run=task.run + 1)])
    await store._started.dialect.close()

    assert statements.hints == before


@pytest.mark.parametrize("when", ["never analyzed", "analyzed empty", "analyzed full"])
async def test_the_claim_reaches_every_task_by_an_index(
    store: AlchemyCRUD, admin: asyncpg.Connection, statements: Statements, when: str
) -> None:
    """Whatever the server knows of the table, lanes are searched by their index and tasks by their id."""
    if when == "analyzed empty":
        await admin.execute("VACUUM ANALYZE kapusta_task")
    await _crowd(admin, 2_000)
    if when == "analyzed full":
        await admin.execute("VACUUM ANALYZE kapusta_task")
    for queues in (None, frozenset({"default", "other"})):
        await store.claim_tasks(claim(queues=queues))

    steps = await plan(admin, statements.asked[-1])

    assert not re.search(r"Seq Scan on kapusta_task|Bitmap", steps), steps
    lane = r"\(status = 'pending'::text\) AND \(queue = served\S*\.queue\) AND \(mode = .*AND \(rank = \S+ AND \(eta"
    assert len(re.findall(lane, steps)) == 2, steps  # what is due, and what will be
    assert re.search(r"\(status = 'pending'::text\) AND \(ROW\(queue, mode, name, rank\) > ROW", steps), steps
    assert len(re.findall(r"Index Cond: \(id = ANY", steps)) == 2, steps  # to lock, and to take


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (TaskQuery(guards=frozenset({Guard.expired})), r"_lease .*\n.*Index Cond: \(lease_end <"),
        (TaskQuery(guards=frozenset({Guard.overdue})), r"_deadline .*\n.*pending.* AND \(deadline <="),
        (TaskQuery(guards=frozenset({Guard.running})), "_lease "),
        (TaskQuery(statuses=frozenset({TaskStatus.started})), "_lease "),
    ],
)
@pytest.mark.parametrize("full", [False, True])
async def test_a_chore_finds_its_tasks_by_their_index(
    store: AlchemyCRUD,
    admin: asyncpg.Connection,
    statements: Statements,
    query: TaskQuery,
    index: str,
    full: bool,
) -> None:
    """What a worker asks for at intervals is one statement that reads an index of the few."""
    if full:
        await _crowd(admin, 2_000)
    await admin.execute("VACUUM ANALYZE kapusta_task")
    statements.asked.clear()
    await store.find_tasks(query)

    [asked] = [each for each in statements.asked if "LIMIT $2" in each[0]]
    steps = await plan(admin, asked)

    assert re.search(f"ix_kapusta_task{index}", steps), steps
    assert "Seq Scan" not in steps, steps


async def test_pruning_reads_the_index_of_what_has_finished(
    store: AlchemyCRUD, admin: asyncpg.Connection, statements: Statements
) -> None:
    """Of a long history of which nothing is old enough, nothing is read."""
    await _crowd(admin, 20_000, status="success")
    await admin.execute("ANALYZE kapusta_task")
    statements.asked.clear()

    await store.find_tasks(TaskQuery(finished_before=datetime(2020, 1, 1, tzinfo=UTC), statuses=FINAL))

    steps = await plan(admin, statements.asked[-1])
    assert "ix_kapusta_task_finished" in steps, steps


async def test_changes_and_renewals_reach_their_tasks_by_id(
    store: AlchemyCRUD, admin: asyncpg.Connection, statements: Statements
) -> None:
    """However many rows there are, a batch looks at its own, and locks them in the order of their ids."""
    await _crowd(admin, 5_000, first=1_000_000, status="success")
    await store.add_tasks([new() for _ in range(40)])
    tasks = (await store.claim_tasks(claim(40))).tasks
    await admin.execute("ANALYZE kapusta_task")
    statements.asked.clear()
    await store.renew_leases(renewal(*tasks))
    await store.change_tasks([settled(task) for task in tasks])

    for asked in list(statements.asked):
        steps = await plan(admin, asked)
        assert "Seq Scan on kapusta_task" not in steps, steps
        in_order = (
            r"LockRows.*\n(\s+->  Sort.*\n\s+Sort Key: (\w+\.)?id|\s+->  Index Scan using kapusta_task_pkey)"
        )
        assert re.search(in_order, steps), steps


async def _fastest(call: Callable[[], Awaitable[Any]]) -> float:
    """The shortest of ten tries, in seconds: what it costs when nobody disturbs."""
    times = []
    for _ in range(10):
        begun = perf_counter()
        await call()
        times.append(perf_counter() - begun)
    return min(times)


async def test_a_crowd_in_front_costs_nothing(store: AlchemyCRUD, admin: asyncpg.Connection) -> None:
    """Neither due tasks of an unknown name, nor future ones of a higher priority, nor finished ones slow a claim.

    With all of them in the table a look takes no more than thrice its time in an empty one, although its plan was
    made, and kept, when the table was empty and known to be so; and the due task behind them is found.
    """
    await admin.execute("VACUUM ANALYZE kapusta_task")
    expired = TaskQuery(guards=frozenset({Guard.expired, Guard.overdue}))
    empty = await _fastest(lambda: store.claim_tasks(claim()))
    await _fastest(lambda: store.find_tasks(expired))
    await _crowd(admin, 50_000, first=1_000_000, name="unknown")
    await _crowd(admin, 100_000, first=2_000_000, rank=-5, eta=HOUR)
    await _crowd(admin, 100_000, first=3_000_000, status="success")

    crowded = await _fastest(lambda: store.claim_tasks(claim()))
    chore = await _fastest(lambda: store.find_tasks(expired))
    await store.add_tasks([behind := new()])
    claims = await store.claim_tasks(claim())

    assert crowded < 3 * empty + 0.002
    assert chore < 3 * empty + 0.002
    assert [task.id for task in claims.tasks] == [behind.id]
    assert claims.next_due is not None
    assert timedelta(minutes=50) < claims.next_due < timedelta(minutes=61)


async def test_on_a_given_engine_plans_grow_old(
    store: AlchemyCRUD, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's connection keeps its settings, so a plan of an empty table is forgotten there after a while."""
    await admin.execute("VACUUM ANALYZE kapusta_task")
    assert store._started is not None
    engine = create_async_engine(store._started.engine.url)
    crud = AlchemyCRUD(engine)
    await crud.startup()
    empty = await _fastest(lambda: crud.claim_tasks(claim()))
    await _crowd(admin, 50_000, name="unknown")

    monkeypatch.setattr(_checkouts, "PLANS_SECONDS", 0)
    await crud.claim_tasks(claim())
    monkeypatch.undo()

    assert await _fastest(lambda: crud.claim_tasks(claim())) < 5 * empty + 0.005
    await crud.shutdown()
    await engine.dispose()


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


async def test_batches_of_any_size_are_whole(store: AlchemyCRUD, other: AlchemyCRUD) -> None:
    """Five thousand tasks are added, claimed, renewed, settled and deleted in one call each."""
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
    assert await store.delete_tasks([task.id for task in tasks]) == 5_000
