"""What MariaDB and MySQL get wrong by default: collations, 64 KiB, 32 bits, character sets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kapusta.backend import MAX_ID, StoreError, TaskQuery, TaskStatus, UniqueKey
from kapusta_sqlalchemy import AlchemyCRUD
from tests.servers.mariadb import ask
from tests.sqlalchemy.records import claim, new, renewal, settled

FOUR = ["order-7", "Order-7", "örder-7", "order-7 "]


async def test_four_names_and_keys_are_four(store: AlchemyCRUD) -> None:
    """Case, an accent and a trailing space make another key, name, queue and token."""
    tasks = [new(name=text, queue=text, token=text, unique=UniqueKey(key=text)) for text in FOUR]

    assert {added.outcome.value for added in await store.add_tasks(tasks)} == {"new"}
    assert {added.outcome.value for added in await store.add_tasks(tasks)} == {"again"}
    others = [new(unique=UniqueKey(key=text)) for text in FOUR]
    assert [added.id for added in await store.add_tasks(others)] == [task.id for task in tasks]
    for task in tasks:
        names, queues = frozenset({task.name}), frozenset({task.queue})
        assert [found.id for found in await store.find_tasks(TaskQuery(names=names))] == [task.id]
        (given,) = (await store.claim_tasks(claim(names=names, queues=queues))).tasks
        assert (given.id, given.name, given.queue, given.token) == (task.id, *[task.name] * 3)


async def test_a_key_can_be_read(store: AlchemyCRUD, mysql_url: str) -> None:
    """Beside its hash stands the key itself, of any length."""
    keys = ["örder-7", "k" * 100_000]
    await store.add_tasks([new(unique=UniqueKey(key=key)) for key in keys])

    assert ask(mysql_url, "SELECT readable FROM kapusta_unique_key ORDER BY task") == [(key,) for key in keys]


async def test_whatever_bytes_come_back(store: AlchemyCRUD) -> None:
    """A payload, a result and options of every byte, quotes and backslashes among them, are kept as they are."""
    every = bytes(range(256)) * 4
    await store.add_tasks([new(payload=every, options=every), new(payload=b"", options=b"")])

    tasks = (await store.claim_tasks(claim())).tasks
    results = [every, b""]
    await store.change_tasks(
        [settled(task, result=result) for task, result in zip(tasks, results, strict=True)]
    )

    found = await store.find_tasks(TaskQuery())
    assert [(task.payload, task.options, task.result) for task in found] == [(every,) * 3, (b"",) * 3]


async def test_payloads_at_the_limit(store: AlchemyCRUD) -> None:
    """Twenty payloads of a mebibyte are added, claimed and settled in a call each, though no packet holds them."""
    mebibyte = b"\xff'\\\0" * (1 << 18)
    tasks = [new(payload=mebibyte + bytes([n])) for n in range(20)]

    assert {added.outcome.value for added in await store.add_tasks(tasks)} == {"new"}
    given = (await store.claim_tasks(claim(20))).tasks
    assert [task.payload for task in given] == [task.payload for task in tasks]
    changes = [settled(task, result=task.payload) for task in given]
    assert {changed.answer.value for changed in await store.change_tasks(changes)} == {"accepted"}
    assert [task.result for task in await store.find_tasks(TaskQuery())] == [task.payload for task in tasks]


async def test_what_no_packet_holds_is_refused_in_words(store: AlchemyCRUD) -> None:
    """A payload beyond `max_allowed_packet` is named as such, stores nothing of its call, and the handle works on."""
    with pytest.raises(StoreError, match="max_allowed_packet"):
        await store.add_tasks([new(), new(payload=bytes(64 << 20))])

    assert await store.find_tasks(TaskQuery()) == []
    assert (await store.add_tasks([new()]))[0].outcome == "new"


async def test_ids_and_counts_have_64_bits(store: AlchemyCRUD, mysql_url: str) -> None:
    """The greatest id, and a run beyond 32 bits, live a whole life."""
    await store.add_tasks([new(id=MAX_ID)])
    ask(mysql_url, f"UPDATE kapusta_task SET run = {1 << 40}")

    (given,) = (await store.claim_tasks(claim())).tasks
    (renewed,) = await store.renew_leases(renewal(given))
    (changed,) = await store.change_tasks([settled(given)])

    assert (given.id, given.run) == (MAX_ID, (1 << 40) + 1)
    assert (renewed.answer, changed.answer) == ("renewed", "accepted")
    assert await store.delete_tasks([MAX_ID]) == 1


async def test_errors_that_are_hard_to_write(store: AlchemyCRUD) -> None:
    """Beyond the basic plane, half a surrogate pair, NUL, and more than 64 KiB of an error: all are kept."""
    errors = ["\U0001f96c 'quoted' \\ \"", "half \ud800 of a pair", "nul \0 inside", "long " * 40_000]
    await store.add_tasks([new() for _ in errors])
    tasks = (await store.claim_tasks(claim())).tasks

    answers = await store.change_tasks(
        [
            settled(task, status=TaskStatus.error, error=text, reason=text)
            for task, text in zip(tasks, errors, strict=True)
        ]
    )

    assert [answer.answer for answer in answers] == ["accepted"] * 4
    found = await store.find_tasks(TaskQuery())
    wanted = [errors[0], "half \\ud800 of a pair", "nul \\x00 inside", errors[3]]
    assert [task.error for task in found] == wanted
    assert [task.reason for task in found] == wanted


async def test_a_connection_of_another_character_set_says_the_same(
    store: AlchemyCRUD, mysql_url: str
) -> None:
    """A handle whose connections speak latin1 stores and reads every text as others do."""
    latin = AlchemyCRUD(f"{mysql_url}?charset=latin1")
    await latin.startup()
    text = "κάππα \U0001f96c"
    task = new(name=text, queue=text, unique=UniqueKey(key=text))
    await latin.add_tasks([task])
    (given,) = (await latin.claim_tasks(claim(names=frozenset({text})))).tasks
    await latin.change_tasks([settled(given, status=TaskStatus.error, error=text)])

    for handle in (latin, store):
        (found,) = await handle.find_tasks(TaskQuery(names=frozenset({text})))
        assert (found.name, found.queue, found.error) == (text, text, text)
    await latin.shutdown()


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
    """The longest `timedelta` as delay, deadline and lease does not overflow; it ends in the year 9999."""
    await store.add_tasks([new(delay=timedelta.max), new(overdue_after=timedelta.max)])

    (given,) = (await store.claim_tasks(claim(lease=timedelta.max))).tasks
    await store.renew_leases(renewal(given).replace(lease=timedelta.max))

    late, endless = await store.find_tasks(TaskQuery())
    assert late.eta.year == 9999
    assert endless.deadline is not None
    assert endless.deadline.year == 9999
    assert endless.lease_end is not None
    assert endless.lease_end.year == 9999
