"""Rows that cannot be read, between those that can."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kapusta.backend import StoredTask, TaskQuery
from kapusta_sqlalchemy._rows import as_many_as_asked
from tests.core.example_task import stored_task


async def test_rows_that_cannot_be_read_cost_a_page_for_a_hundred_of_them() -> None:
    """However many of them there are, and however little was missing: not a question for each."""
    rows = [[id, id < 100 or id > 5_000, "task"] for id in range(1, 5_101)]
    questions = 0

    async def fetch(query: TaskQuery) -> Sequence[Any]:
        nonlocal questions
        questions += 1
        return [row for row in rows if row[0] > query.after_id][: query.limit]

    def read(row: Any) -> StoredTask:
        if not row[1]:
            raise ValueError("written by something newer")
        return stored_task(id=row[0])

    found = await as_many_as_asked(TaskQuery(limit=100), fetch, read)

    assert [task.id for task in found] == [*range(1, 100), 5_001]
    assert questions == 51
