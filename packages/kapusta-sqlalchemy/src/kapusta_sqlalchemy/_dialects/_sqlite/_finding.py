"""Finding tasks, and deleting those that are over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from aiosqlite import Connection

from kapusta.backend import FINAL, RESCUE_AFTER, Guard, TaskQuery, TaskStatus

from ..._rows import to_microseconds
from ._sql import MOST_ROWS, Sql, listed, storable_only

_FIND: Final = """
WITH store(now) AS MATERIALIZED (SELECT {now})
SELECT {columns} FROM {task} WHERE {0} ORDER BY id LIMIT ?
"""

# Where few of the tasks fit, a partial index names them, and the rows are fetched by their ids, in order.
_PENDING: Final = "id IN (SELECT t.id FROM {task} AS t WHERE t.status = 'pending')"
_STARTED: Final = "id IN (SELECT t.id FROM {task} AS t WHERE t.status = 'started')"
_FINISHED: Final = "id IN (SELECT t.id FROM {task} AS t WHERE t.finished < ?)"
_GUARDED: Final = {
    Guard.expired: f"""id IN (
        SELECT t.id FROM {{task}} AS t WHERE t.status = 'started' AND t.lease_end < (SELECT now FROM store)
        AND t.lease_end < (SELECT now FROM store) - t.lease / {RESCUE_AFTER})""",
    Guard.overdue: """id IN (
        SELECT t.id FROM {task} AS t WHERE t.status = 'pending' AND t.deadline <= (SELECT now FROM store))""",
    Guard.running: _STARTED,
    Guard.resting: "status <> 'started'",
    Guard.waiting: "status IN ('pending', 'held')",
}

_FINAL: Final = ", ".join(f"'{status.value}'" for status in sorted(FINAL))

_DELETE_KEYS: Final = f"""
WITH store(now) AS MATERIALIZED (SELECT {{now}})
DELETE FROM {{key}} AS used WHERE used.ends <= (SELECT now FROM store) OR (
  used.task IN ({{0}}) AND used.until IN ('started', 'finished')
  AND EXISTS (SELECT 1 FROM {{task}} AS task WHERE task.id = used.task AND task.status IN ({_FINAL})))
"""

_DELETE: Final = f"DELETE FROM {{task}} WHERE id IN ({{0}}) AND status IN ({_FINAL}) RETURNING id"


async def rows(connection: Connection, sql: Sql, offset: int, query: TaskQuery) -> Sequence[Any]:
    """The rows of what a query asks for."""
    conditions, parameters = ["id > ?"], [offset, query.after_id]

    def among(column: str, wanted: Iterable[Any]) -> None:
        text, values = listed(sorted(wanted))
        conditions.append(f"{column} IN ({text})")
        parameters.extend(values)

    if query.ids is not None:
        among("id", query.ids)
    if query.statuses is not None:
        conditions.append(sql.fill(_status_in(query.statuses)))
    if query.names is not None:
        among("name", storable_only(query.names))
    if query.queues is not None:
        among("queue", storable_only(query.queues))
    if query.guards is not None:
        guarded = [sql.fill(_GUARDED[guard]) for guard in sorted(query.guards)]
        conditions.append(f"({' OR '.join(guarded) or 'FALSE'})")
    if query.finished_before is not None:
        conditions.append(sql.fill(_FINISHED))
        parameters.append(to_microseconds(query.finished_before))
    text = sql.fill(_FIND, " AND ".join(conditions))
    return list(await connection.execute_fetchall(text, (*parameters, query.limit)))


def _status_in(statuses: frozenset[TaskStatus]) -> str:
    """Written out, not as parameters: an index on the rows of one status is only chosen for a constant."""
    if statuses == {TaskStatus.pending}:
        return _PENDING
    if statuses == {TaskStatus.started}:
        return _STARTED
    return f"status IN ({', '.join(repr(status.value) for status in sorted(statuses))})"


async def delete(connection: Connection, sql: Sql, offset: int, ids: Sequence[int]) -> int:
    # The keys first: of a task that is over they are free either way, and if the second statement never
    # comes nothing is left behind.
    deleted = 0
    for start in range(0, len(ids), MOST_ROWS):
        text, some = listed(ids[start : start + MOST_ROWS])
        await connection.execute_fetchall(sql.fill(_DELETE_KEYS, text), (offset, *some))
        rows = await connection.execute_fetchall(sql.fill(_DELETE, text), some)
        deleted += len(list(rows))
    return deleted
