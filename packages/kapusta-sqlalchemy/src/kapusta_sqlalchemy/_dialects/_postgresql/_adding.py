"""New tasks without unique keys: one statement, and one more where an id was taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from asyncpg import Connection

from kapusta.backend import Added, AddOutcome, NewTask

from ._keys import add_keyed
from ._new import INSERT, NEW, row_of
from ._sql import Sql, columns

_ADD: Final = f"""
WITH {NEW}
{INSERT}
FROM new CROSS JOIN store ORDER BY new.id, new.place
ON CONFLICT (id) DO NOTHING
RETURNING id
"""

_TOKENS: Final = "SELECT id, token FROM {task} WHERE id = ANY($1::bigint[])"


async def add(connection: Connection, sql: Sql, offset: int, tasks: Sequence[NewTask]) -> list[Added]:
    if any(task.unique for task in tasks):
        return await add_keyed(connection, sql, offset, tasks)
    rows = await connection.fetch(sql.fill(_ADD), offset, *columns([row_of(task) for task in tasks]))
    new = {id for (id,) in rows}
    tokens: dict[int, str] = {}
    if len(new) < len(tasks):
        found = await connection.fetch(sql.fill(_TOKENS), [task.id for task in tasks])
        tokens = {id: token for id, token in found}  # noqa: C416 - dict() does not know that a row is a pair
    return [Added(id=task.id, outcome=_outcome(task, new, tokens)) for task in tasks]


def _outcome(task: NewTask, new: set[int], tokens: dict[int, str]) -> AddOutcome:
    """What became of *task*; of an id that comes twice the first is the new one."""
    if task.id in new:
        new.remove(task.id)
        return AddOutcome.new
    return AddOutcome.again if tokens.get(task.id) == task.token else AddOutcome.id_in_use
