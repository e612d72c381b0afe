"""Finding tasks, and deleting those that are over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from asyncpg import Connection

from kapusta.backend import FINAL, RESCUE_AFTER, Guard, StoredTask, TaskQuery, TaskStatus

from ..._rows import to_microseconds, to_record
from ._sql import Sql
from ._text import as_given, stored

_FIND: Final = """
WITH store(now) AS MATERIALIZED (SELECT {now}){few}
SELECT {columns} FROM {task} WHERE {conditions} ORDER BY id LIMIT $2
"""

# Where few of the tasks fit, a partial index names them. The planner is not asked: to it, so few rows in id order
# look like a walk through the whole table that will soon have found enough.
_FEW: Final = """,
few AS MATERIALIZED (SELECT id FROM {task} AS t WHERE {among})"""

_STARTED: Final = "t.status = 'started'"
_GUARDED: Final = {
    Guard.expired: f"""(t.status = 'started' AND t.lease_end < (SELECT now FROM store)
        AND t.lease_end + t.lease / {RESCUE_AFTER} < (SELECT now FROM store))""",
    Guard.overdue: "(t.status = 'pending' AND t.deadline <= (SELECT now FROM store))",
    Guard.running: _STARTED,
    Guard.resting: "status <> 'started'",
}

_FINAL: Final = ", ".join(f"'{status.value}'" for status in sorted(FINAL))

_DELETE: Final = f"""
WITH store(now) AS MATERIALIZED (SELECT {{now}}),
over AS MATERIALIZED (
  SELECT id FROM {{task}} WHERE id = ANY($2::bigint[]) AND status IN ({_FINAL}) ORDER BY id FOR UPDATE),
gone AS (DELETE FROM {{task}} WHERE id = ANY(ARRAY(SELECT id FROM over)) RETURNING id),
freed AS (
  DELETE FROM {{key}} WHERE ends <= (SELECT now FROM store)
  OR (task = ANY(ARRAY(SELECT id FROM over)) AND until IN ('started', 'finished')))
SELECT count(*) FROM gone
"""


async def find(connection: Connection, sql: Sql, offset: int, query: TaskQuery) -> list[StoredTask]:
    conditions, few, parameters = ["id > $3"], [], [offset, query.limit, query.after_id]

    def among(column: str, kind: str, wanted: Iterable[Any]) -> None:
        parameters.append(list(wanted))
        conditions.append(f"{column} = ANY(${len(parameters)}::{kind}[])")

    if query.ids is not None:
        among("id", "bigint", query.ids)
    if query.statuses == {TaskStatus.started}:
        few.append(_STARTED)
    elif query.statuses is not None:
        among("status", "text", [status.value for status in query.statuses])
    if query.names is not None:
        among("name", "text", map(stored, query.names))
    if query.queues is not None:
        among("queue", "text", map(stored, query.queues))
    if query.guards is not None and Guard.resting in query.guards:
        others = [_GUARDED[guard].replace("t.", "") for guard in sorted(query.guards)]
        conditions.append(f"({' OR '.join(others)})")
    elif query.guards is not None:
        few.append(f"({' OR '.join(_GUARDED[guard] for guard in sorted(query.guards)) or 'FALSE'})")
    if query.finished_before is not None:
        # Written out, so that the planner knows how many of the tasks that is.
        conditions.append(f"finished < {to_microseconds(query.finished_before)}")
    if few:
        conditions.append("id = ANY(ARRAY(SELECT id FROM few))")
    chosen = sql.put(_FEW, among=" AND ".join(few)) if few else ""
    text = sql.put(_FIND, few=chosen, conditions=" AND ".join(conditions))
    return [as_given(to_record(row)) for row in await connection.fetch(text, *parameters)]


async def delete(connection: Connection, sql: Sql, offset: int, ids: Sequence[int]) -> int:
    count: int = await connection.fetchval(sql.fill(_DELETE), offset, list(ids))
    return count
