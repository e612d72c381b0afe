"""Text and instants at the edge of what a column can hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kapusta.backend import TaskQuery, TaskStatus
from kapusta_sqlalchemy import AlchemyCRUD
from tests.sqlalchemy.records import claim, new, settled


async def test_an_error_that_utf8_cannot_hold_settles_with_its_neighbours(store: AlchemyCRUD) -> None:
    """Half a surrogate pair in a traceback is stored as its escape, and NUL too; the batch is accepted."""
    await store.add_tasks([new(), new(), new()])
    tasks = (await store.claim_tasks(claim())).tasks
    errors = ["plain", "half \ud800 of a pair", "nul \0 inside"]

    answers = await store.change_tasks(
        [
            settled(task, status=TaskStatus.error, error=text, reason=text)
            for task, text in zip(tasks, errors, strict=True)
        ]
    )

    assert [answer.answer for answer in answers] == ["accepted"] * 3
    found = await store.find_tasks(TaskQuery())
    assert [task.error for task in found] == ["plain", "half \\ud800 of a pair", "nul \\x00 inside"]
    assert [task.reason for task in found] == [task.error for task in found]


async def test_a_name_that_no_row_can_have_does_not_break_a_claim(store: AlchemyCRUD) -> None:
    """A worker that knows an unstorable name claims and finds by its others."""
    await store.add_tasks([new()])
    names = frozenset({"known", "half \udfff"})

    assert len(await store.find_tasks(TaskQuery(names=names))) == 1
    assert len((await store.claim_tasks(claim(names=names))).tasks) == 1


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

    await store.claim_tasks(claim(lease=timedelta.max))

    late, endless = await store.find_tasks(TaskQuery())
    assert late.eta.year == 9999
    assert endless.deadline is not None
    assert endless.deadline.year == 9999
    assert endless.lease_end is not None
    assert endless.lease_end.year == 9999
