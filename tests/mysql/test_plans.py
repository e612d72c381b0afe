"""Which index answers what, and that a long history or a crowd in front costs nothing."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any

import pytest

from kapusta.backend import FINAL, Guard, RenewRequest, TaskExecutionMode, TaskQuery, TaskStatus, UniqueKey
from kapusta_sqlalchemy import AlchemyCRUD
from kapusta_sqlalchemy._dialects._mysql import _session
from tests.servers.mariadb import ask, connect
from tests.sqlalchemy.records import claim, new, renewal, settled

HOUR = 3_600_000_000

_CROWD = """
INSERT INTO kapusta_task (id, token, name, payload, codec, mode, queue, `rank`, eta, deadline, options, status, run,
                          failures, crashes, interruptions, cancel_requested, created, finished)
WITH RECURSIVE number(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n + 1 < {count})
SELECT {first} + n, 'token', '{name}', '{{}}', 'json', 'sync', 'default', {rank}, @now + {eta} + n, NULL, '{{}}',
       '{status}', 0, 0, 0, 0, 0, @now, IF('{status}' = 'success', @now, NULL)
FROM number"""
_NOW = "SET @now = TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
_DEEP = {
    "MariaDB": "SET max_recursive_iterations = 1000000",
    "MySQL": "SET cte_max_recursion_depth = 1000000",
}


def _crowd(mysql_url: str, **fields: Any) -> None:
    row = {"count": 1, "first": 1_000_000, "name": "known", "rank": 0, "eta": -HOUR, "status": "pending"}
    with closing(connect(mysql_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT VERSION()")
        (version,) = cursor.fetchone() or ("",)
        cursor.execute(_DEEP["MariaDB" if "MariaDB" in version else "MySQL"])
        cursor.execute(_NOW)
        cursor.execute(_CROWD.format(**row | fields))


def _analyze(mysql_url: str) -> None:
    """Have the server count, as it does by itself some seconds after a tenth of a table has changed."""
    ask(mysql_url, "ANALYZE TABLE kapusta_task, kapusta_unique_key")


class _Packets:
    """What the handles send: packets of statements."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []

    @property
    def statements(self) -> list[str]:
        return [statement for packet in self.sent for statement in packet]


@pytest.fixture
def packets(monkeypatch: pytest.MonkeyPatch) -> _Packets:
    """What all handles send from here on."""
    seen, send = _Packets(), _session._send

    async def seeing(driver: Any, packet: bytes) -> list[Any]:
        seen.sent.append([statement.strip() for statement in packet.decode().split(";\n")])
        return await send(driver, packet)

    monkeypatch.setattr(_session, "_send", seeing)
    return seen


_VARIABLES = """
SET @kapusta_now = TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)), @kapusta_worker = 'worker',
    @kapusta_lease = 30000000, @kapusta_ids = '1'"""


def _plans(mysql_url: str, statements: list[str], ids: str = "1") -> list[list[dict[str, Any]]]:
    """How the server goes about each statement that touches tables; those within a PREPARE too."""
    plans = []
    with closing(connect(mysql_url)) as connection, connection.cursor() as cursor:
        cursor.execute(_VARIABLES)
        for statement in statements:
            prepared = re.match(
                r"PREPARE \w+ FROM CONCAT\('(.*)', COALESCE\(.*\), '\)'\)", statement, re.DOTALL
            )
            text = f"{prepared[1]}{ids})".replace("''", "'") if prepared else statement
            if "kapusta_task" in text or "kapusta_unique_key" in text:
                cursor.execute("EXPLAIN " + text.replace("INTO @kapusta_ids", ""))
                assert cursor.description
                names = [column[0] for column in cursor.description]
                plans.append([dict(zip(names, row, strict=True)) for row in cursor.fetchall()])
    return plans


async def test_an_idle_claim_is_one_packet_that_locks_nothing(store: AlchemyCRUD, packets: _Packets) -> None:
    """With nothing due, a claim reads once, outside any transaction, and knows when the next is due."""
    await store.add_tasks([new(delay=timedelta(hours=3))])
    await store.claim_tasks(claim())
    packets.sent.clear()

    claims = await store.claim_tasks(claim())

    assert claims.next_due is not None
    assert timedelta(hours=2) < claims.next_due <= timedelta(hours=3)
    assert len(packets.sent) == 1
    assert [statement.split()[0].lstrip("(") for statement in packets.statements] == ["SET", *["SELECT"] * 3]
    assert "FOR UPDATE" not in "".join(packets.statements)


@pytest.mark.parametrize("keyed", [False, True])
async def test_a_batch_is_as_many_packets_as_one(store: AlchemyCRUD, packets: _Packets, keyed: bool) -> None:
    """A hundred tasks are added, claimed, renewed, settled, found and deleted by as many trips as one."""
    await store.add_tasks([new()])
    await store.claim_tasks(claim())

    async def life(size: int) -> list[int]:
        counts = []

        async def counted(call: Awaitable[Any]) -> Any:
            before = len(packets.sent)
            answer = await call
            counts.append(len(packets.sent) - before)
            return answer

        batch = [new(unique=UniqueKey(key=f"{size}-{n}") if keyed else None) for n in range(size)]
        await counted(store.add_tasks(batch))
        tasks = (await counted(store.claim_tasks(claim(100)))).tasks
        assert len(tasks) == size
        await counted(store.renew_leases(renewal(*tasks)))
        await counted(store.change_tasks([settled(task) for task in tasks]))
        await counted(store.find_tasks(TaskQuery(ids=frozenset(task.id for task in tasks))))
        assert await counted(store.delete_tasks([task.id for task in tasks])) == size
        return counts

    assert await life(100) == await life(1) == [2 if keyed else 1, 2, 1, 1, 1, 1]


@pytest.mark.parametrize("analyzed", [False, True])
async def test_whatever_locks_goes_by_an_index_to_its_own_rows(
    store: AlchemyCRUD, mysql_url: str, packets: _Packets, analyzed: bool
) -> None:
    """In a small table, where the server would rather read everything, and lock it, each statement reads its rows.

    Of 40 tasks 38 are claimed, renewed, settled and deleted.
    """
    await store.add_tasks([new(unique=UniqueKey(key=f"key-{n}")) for n in range(40)])
    if analyzed:
        _analyze(mysql_url)
    packets.sent.clear()
    tasks = (await store.claim_tasks(claim(38))).tasks
    await store.renew_leases(renewal(*tasks))
    await store.change_tasks([settled(task) for task in tasks])
    locking = [text for text in packets.statements if re.search("FOR UPDATE|UPDATE kap|PREPARE", text)]
    await store.delete_tasks([task.id for task in tasks])
    locking += [text for text in packets.statements if re.search("FOR UPDATE|^DELETE", text)][-4:]

    plans = _plans(mysql_url, locking, ", ".join(str(task.id) for task in tasks))

    assert len(plans) >= 10
    for plan in plans:
        steps = [step for step in plan if not str(step["table"]).startswith(("<", "None"))]
        assert steps
        for step in steps:
            assert step["type"] in {"range", "ref", "eq_ref", "const"}, step


async def test_the_claim_reads_its_lanes_by_their_index(
    store: AlchemyCRUD, mysql_url: str, packets: _Packets
) -> None:
    """The lanes are found by hops, and each is read from its head, no further than needed; locks go by id."""
    _crowd(mysql_url, count=3_000)
    _crowd(mysql_url, count=3_000, first=2_000_000, rank=-5, eta=HOUR)
    _analyze(mysql_url)
    await store.claim_tasks(claim())
    packets.sent.clear()
    await store.claim_tasks(claim())

    lanes, heads, grip, *_ = _plans(mysql_url, packets.statements)

    assert [step["Extra"] for step in lanes] == ["Using where; Using index for group-by"]
    assert [(step["key"], step["type"]) for step in grip if step["table"] == "task"] == [
        ("PRIMARY", "eq_ref")
    ]
    for step in [*heads, *grip]:
        if step["table"] == "kapusta_task":
            assert step["key"] == "ix_kapusta_task_lane"
            assert step["type"] in {"range", "ref"}
            assert "filesort" not in step["Extra"]


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (TaskQuery(guards=frozenset({Guard.expired})), "ix_kapusta_task_lease"),
        (TaskQuery(guards=frozenset({Guard.overdue})), "ix_kapusta_task_deadline"),
        (
            TaskQuery(finished_before=datetime(2020, 1, 1, tzinfo=UTC), statuses=FINAL),
            "ix_kapusta_task_finished",
        ),
    ],
)
async def test_a_chore_finds_its_tasks_by_their_index(
    store: AlchemyCRUD, mysql_url: str, packets: _Packets, query: TaskQuery, index: str
) -> None:
    """What a worker asks for at intervals is one packet that reads an index of the few."""
    _crowd(mysql_url, count=3_000, status="success")
    packets.sent.clear()
    await store.find_tasks(query)

    assert len(packets.sent) == 1
    [plan] = _plans(mysql_url, packets.statements)
    steps = {step["key"]: step["type"] for step in plan if step["key"] is not None}
    assert steps[index] == "range"
    assert "ALL" not in {step["type"] for step in plan if step["table"] in {"task", "kapusta_task"}}


async def _fastest(call: Callable[[], Awaitable[Any]]) -> float:
    """The shortest of ten tries, in seconds: what it costs when nobody disturbs."""
    times = []
    for _ in range(10):
        begun = perf_counter()
        await call()
        times.append(perf_counter() - begun)
    return min(times)


async def test_a_crowd_in_front_costs_nothing(store: AlchemyCRUD, mysql_url: str) -> None:
    """Neither due tasks of an unknown name, nor future ones of a higher priority, nor finished ones slow a claim.

    With all of them in the table a look takes little more than in an empty one; reading past them would take
    tens of times as long. The due task behind them is found.
    """
    await store.add_tasks([new(delay=timedelta(hours=1)), new(delay=timedelta(hours=1), priority=5)])
    empty = await _fastest(lambda: store.claim_tasks(claim()))
    _crowd(mysql_url, count=50_000, first=1_000_000, name="unknown")
    _crowd(mysql_url, count=100_000, first=2_000_000, rank=-5, eta=HOUR)
    _crowd(mysql_url, count=100_000, first=3_000_000, status="success")
    _analyze(mysql_url)
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
    ordered = sorted(wanted, key=lambda t: (-t.priority, t.id))
    assert [task.id for task in claims.tasks] == [task.id for task in ordered]


async def test_a_claim_for_nothing_answers_now(store: AlchemyCRUD) -> None:
    """Without slots, names or queues there is nothing to claim and nothing to wait for."""
    await store.add_tasks([new(), new(delay=timedelta(hours=1))])

    for request in (claim(slots={}), claim(0), claim(names=frozenset()), claim(queues=frozenset())):
        claims = await store.claim_tasks(request)
        assert (list(claims.tasks), claims.next_due) == ([], None)


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


async def test_changes_of_many_kinds_in_one_call(store: AlchemyCRUD) -> None:
    """Successes, retries, a hold and a cancel request, each with its own leavings, are written each as it is."""
    await store.add_tasks([new() for _ in range(12)])
    tasks = (await store.claim_tasks(claim(12))).tasks
    kinds: list[dict[str, Any]] = [
        {"result": b"1"},
        {"result": b"2", "reason": "because"},
        {
            "status": TaskStatus.pending,
            "delay": timedelta(hours=1),
            "failures": 1,
            "result": None,
            "error": "e",
        },
        {"status": TaskStatus.held, "crashes": 3, "result": None, "reason": "held"},
        {"guard": Guard.running, "worker": None, "status": None, "cancel_requested": True, "result": None},
        {"guard": Guard.resting, "worker": None, "status": TaskStatus.cancelled, "result": None},
    ]

    changes = [settled(task, **kinds[n % len(kinds)]) for n, task in enumerate(tasks)]
    answers = await store.change_tasks(list(reversed(changes)))

    assert [answer.id for answer in answers] == [task.id for task in reversed(tasks)]
    refused = [task.id for n, task in enumerate(tasks) if n % len(kinds) == 5]
    assert {answer.id for answer in answers if answer.answer == "refused"} == set(refused)
    found = await store.find_tasks(TaskQuery())
    for first, second in zip(found[:6], found[6:], strict=True):
        fields = ("status", "result", "error", "reason", "failures", "crashes", "cancel_requested")
        assert [getattr(first, f) for f in fields] == [getattr(second, f) for f in fields]
    one, two, retried, held, asked, kept = found[:6]
    assert (one.result, two.result, two.reason) == (b"1", b"2", "because")
    assert (retried.status, retried.failures, retried.error) == (TaskStatus.pending, 1, "e")
    assert (held.status, held.crashes, held.reason) == (TaskStatus.held, 3, "held")
    assert (asked.status, asked.cancel_requested) == (TaskStatus.started, True)
    assert (kept.status, kept.cancel_requested) == (TaskStatus.started, False)


async def test_a_renewal_of_nothing_it_holds_writes_nothing(store: AlchemyCRUD) -> None:
    """A worker that holds none of these is told so of each."""
    await store.add_tasks([new()])
    (given,) = (await store.claim_tasks(claim())).tasks
    request = renewal(given)

    (answer,) = await store.renew_leases(
        RenewRequest(worker="another", lease=request.lease, renewals=request.renewals)
    )

    assert answer.answer == "lost"
