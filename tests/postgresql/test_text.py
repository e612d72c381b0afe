"""Text, bytes and numbers at the edge of what a column can hold."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from kapusta.backend import MAX_ID, TaskQuery, TaskStatus, UniqueKey, UniqueUntil
from kapusta_sqlalchemy import AlchemyCRUD
from tests.sqlalchemy.records import claim, new, renewal, settled

ALIKE = ["order-7", "Order-7", "órder-7", "order-7 "]


async def test_four_keys_that_a_person_could_confuse_are_four(store: AlchemyCRUD) -> None:
    """Case, an accent and a trailing space make another key."""
    tasks = [new(unique=UniqueKey(key=key)) for key in ALIKE]

    assert {added.outcome.value for added in await store.add_tasks(tasks)} == {"new"}
    again = await store.add_tasks([new(unique=UniqueKey(key=key)) for key in ALIKE])

    assert [(added.id, added.outcome) for added in again] == [(task.id, "key_in_use") for task in tasks]


async def test_the_databases_collation_decides_nothing(store: AlchemyCRUD, admin: asyncpg.Connection) -> None:
    """Every text column of a store is compared byte by byte, whatever the database is otherwise told."""
    rows = await admin.fetch(
        "SELECT attname FROM pg_attribute JOIN pg_collation ON pg_collation.oid = attcollation "
        "WHERE attrelid IN ('kapusta_task'::regclass, 'kapusta_unique_key'::regclass) "
        "AND attnum > 0 AND collname <> 'C' AND attname NOT IN ('error', 'reason', 'readable')"
    )

    assert [name for (name,) in rows] == []


async def test_a_payload_and_a_result_at_the_limit_are_whole(store: AlchemyCRUD) -> None:
    """Random bytes of a whole mebibyte, which compress to nothing less, come back as they were."""
    blob = random.Random(1).randbytes(1 << 20)
    await store.add_tasks([new(payload=blob, options=blob)])

    [task] = (await store.claim_tasks(claim())).tasks
    await store.change_tasks([settled(task, result=blob, error="x" * (1 << 20))])

    [found] = await store.find_tasks(TaskQuery())
    assert (found.payload, found.options, found.result) == (blob, blob, blob)
    assert found.error == "x" * (1 << 20)


async def test_ids_and_runs_need_sixty_three_bits(store: AlchemyCRUD, admin: asyncpg.Connection) -> None:
    """The greatest id, and one just beyond 32 bits, live a whole life, with a run beyond 32 bits too."""
    ids = [(1 << 32) + 1, MAX_ID]
    await store.add_tasks([new(id=id, unique=UniqueKey(key=str(id))) for id in ids])
    await admin.execute("UPDATE kapusta_task SET run = 1::bigint << 33")

    tasks = (await store.claim_tasks(claim())).tasks

    assert [(task.id, task.run) for task in tasks] == [(id, (1 << 33) + 1) for id in ids]
    assert {renewed.answer.value for renewed in await store.renew_leases(renewal(*tasks))} == {"renewed"}
    answers = await store.change_tasks([settled(task) for task in tasks])
    assert {changed.answer.value for changed in answers} == {"accepted"}
    assert [task.id for task in await store.find_tasks(TaskQuery(after_id=ids[0]))] == [MAX_ID]
    assert await store.delete_tasks(ids) == 2


async def test_an_error_that_no_column_can_hold_settles_with_its_neighbours(store: AlchemyCRUD) -> None:
    """Half a surrogate pair and NUL in a traceback are stored as their escapes; the batch is accepted."""
    await store.add_tasks([new(), new(), new()])
    tasks = (await store.claim_tasks(claim())).tasks
    errors = ["plain", "half \ud800 of a pair", "nul \0 inside"]

    answers = await store.change_tasks(
        [
            settled(task, status=TaskStatus.error, error=text, reason=text)
            for task, text in zip(tasks, errors, strict=True)
        ]
    )

    assert {answer.answer.value for answer in answers} == {"accepted"}
    found = await store.find_tasks(TaskQuery())
    assert [task.error for task in found] == ["plain", "half \\ud800 of a pair", "nul \\x00 inside"]


async def test_a_name_that_no_row_can_have_does_not_break_a_claim(store: AlchemyCRUD) -> None:
    """A worker that knows an unstorable name or queue claims and finds by its others."""
    await store.add_tasks([new()])
    names = frozenset({"known", "half \udfff", "nul \0"})

    assert len(await store.find_tasks(TaskQuery(names=names, queues=frozenset({"default", "\0"})))) == 1
    assert len((await store.claim_tasks(claim(names=names))).tasks) == 1


async def test_long_keys_are_compared_whole(store: AlchemyCRUD) -> None:
    """Keys of 100,000 random characters that differ in the last one are two; and neither is its own digest."""
    chance = random.Random(2)
    begin = "".join(chance.choices("äöüß0123456789", k=100_000))
    keys = [f"{begin}a", f"{begin}b"]
    tasks = [new(unique=UniqueKey(key=key)) for key in keys]

    assert [added.outcome.value for added in await store.add_tasks(tasks)] == ["new", "new"]
    again = await store.add_tasks([new(unique=UniqueKey(key=key)) for key in keys])

    assert [added.id for added in again] == [task.id for task in tasks]


async def test_what_is_stored_of_a_long_key_is_another_key(
    store: AlchemyCRUD, admin: asyncpg.Connection
) -> None:
    """Nobody can take a long key by a short one that is spelt like its digest."""
    await store.add_tasks([new(unique=UniqueKey(key="x" * 5_000))])
    [(stored,)] = await admin.fetch("SELECT key FROM kapusta_unique_key")

    [added] = await store.add_tasks([new(unique=UniqueKey(key=stored))])

    assert added.outcome == "new"


@pytest.mark.parametrize(
    "eta",
    [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2038, 1, 19, 3, 14, 8, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ],
)
async def test_every_instant_comes_back_exactly(store: AlchemyCRUD, eta: datetime) -> None:
    """An eta keeps its microseconds from the first year to the last."""
    await store.add_tasks([new(eta=eta)])

    assert (await store.find_tasks(TaskQuery()))[0].eta == eta


async def test_a_duration_beyond_time_is_stored_as_its_end(store: AlchemyCRUD) -> None:
    """The longest `timedelta` as delay, deadline, lease and period does not overflow; it ends in the year 9999."""
    key = UniqueKey(key="key", until=UniqueUntil.period, period=timedelta.max)
    await store.add_tasks([new(delay=timedelta.max, unique=key), new(overdue_after=timedelta.max)])

    await store.claim_tasks(claim(lease=timedelta.max))

    late, endless = await store.find_tasks(TaskQuery())
    assert late.eta.year == 9999
    assert endless.deadline is not None
    assert endless.deadline.year == 9999
    assert endless.lease_end is not None
    assert endless.lease_end.year == 9999
