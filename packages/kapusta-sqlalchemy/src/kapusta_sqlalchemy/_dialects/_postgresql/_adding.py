"""New tasks without unique keys: one statement, and one more where an id was taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from asyncpg import Connection

from kapusta.backend import Added, AddOutcome, NewTask

from ..._plain import are_alike
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

# The same of tasks that differ in id and payload alone: two arrays in place of fifteen.
_ADD_ALIKE: Final = """
INSERT INTO {task} (id, token, name, payload, codec, mode, queue, rank, eta, deadline, options, status, run,
                    failures, crashes, interruptions, cancel_requested, created)
SELECT new.id, $4, $5, new.payload, $6, $7, $8, $9::smallint,
       coalesce($10::bigint, least(store.now + $11::bigint, {last})),
       CASE WHEN $12::bigint IS NOT NULL THEN least(store.now + $12::bigint, {last}) END,
       $13::bytea, 'pending', 0, 0, 0, 0, FALSE, store.now
FROM ROWS FROM (unnest($2::bigint[]), unnest($3::bytea[])) AS new(id, payload),
     (SELECT {now} AS now OFFSET 0) AS store
ORDER BY new.id
ON CONFLICT (id) DO NOTHING
RETURNING id
"""

_TOKENS: Final = "SELECT id, token FROM {task} WHERE id = ANY($1::bigint[])"


async def add(connection: Connection, sql: Sql, offset: int, tasks: Sequence[NewTask]) -> list[Added]:
    if any(task.unique for task in tasks):
        return await add_keyed(connection, sql, offset, tasks)
    if are_alike(tasks):
        rows = await connection.fetch(sql.fill(_ADD_ALIKE), offset, *_alike(tasks))
    else:
        rows = await connection.fetch(sql.fill(_ADD), offset, *columns([row_of(task) for task in tasks]))
    new = {id for (id,) in rows}
    tokens: dict[int, str] = {}
    if len(new) < len(tasks):
        found = await connection.fetch(sql.fill(_TOKENS), [task.id for task in tasks])
        tokens = {id: token for id, token in found}  # noqa: C416 - dict() does not know that a row is a pair
    return [Added(id=task.id, outcome=_outcome(task, new, tokens)) for task in tasks]


def _alike(tasks: Sequence[NewTask]) -> tuple[Any, ...]:
    """The ids, the payloads, and what they have in common."""
    _, token, name, _, codec, mode, queue, rank, eta, delay, overdue_after, options, *_ = row_of(tasks[0])
    each = [task.id for task in tasks], [task.payload for task in tasks]
    return *each, token, name, codec, mode, queue, rank, eta, delay, overdue_after, options


def _outcome(task: NewTask, new: set[int], tokens: dict[int, str]) -> AddOutcome:
    """What became of *task*; of an id that comes twice the first is the new one."""
    if task.id in new:
        new.remove(task.id)
        return AddOutcome.new
    return AddOutcome.again if tokens.get(task.id) == task.token else AddOutcome.id_in_use
