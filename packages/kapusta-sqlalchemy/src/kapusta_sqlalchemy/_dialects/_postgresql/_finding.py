"""Finding tasks, and deleting those that are over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from asyncpg import Connection

from kapusta.backend import FINAL, RESCUE_AFTER, Guard, TaskQuery, TaskStatus

from ..._rows import to_microseconds
from ._sql import Sql, storable

_FIND: Final = """
WITH store(now) AS MATERIALIZED (SELECT {now})
SELECT {columns} FROM {task} WHERE {conditions} ORDER BY id LIMIT $2
"""

# Where few of the tasks fit, a partial index names them first. The planner is not asked: to it, so few rows in id
# order look like a walk through the whole table that will soon have found enough. That they are wanted in the order
# of that index tells it which one, even when the table is empty; and what lies between two things, instead of only
# below one, it takes for few.
_FEW: Final = "id = ANY(ARRAY({few}))"
_STARTED: Final = "(SELECT t.id FROM {task} AS t WHERE t.status = 'started' ORDER BY t.lease_end)"
_NAMED: Final = {
    Guard.expired: f"""(
        SELECT t.id FROM {{task}} AS t WHERE t.status = 'started' AND t.lease_end < (SELECT now FROM store)
        AND t.lease_end < (SELECT now FROM store) - t.lease / {RESCUE_AFTER} ORDER BY t.lease_end)""",
    Guard.overdue: """(
        SELECT t.id FROM {task} AS t WHERE t.status = 'pending' AND t.deadline <= (SELECT now FROM store)
        AND t.deadline >= (SELECT now FROM store) - {last} ORDER BY t.deadline)""",
    Guard.running: _STARTED,
}
_STATUS: Final = {Guard.resting: "status <> 'started'", Guard.waiting: "status IN ('pending', 'held')"}
"""Many of the tasks may fit these."""

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


async def rows(connection: Connection, sql: Sql, offset: int, query: TaskQuery) -> Sequence[Any]:
    """The rows of what a query asks for."""
    conditions = ["id > $3"]
    parameters: list[Any] = [offset, query.limit, query.after_id]

    def among(column: str, kind: str, wanted: Iterable[Any]) -> None:
        parameters.append(list(wanted))
        conditions.append(f"{column} = ANY(${len(parameters)}::{kind}[])")

    if query.ids is not None:
        among("id", "bigint", query.ids)
    if query.statuses == frozenset({TaskStatus.started}):
        conditions.append(_FEW.format(few=_STARTED))
    elif query.statuses is not None:
        among("status", "text", [status.value for status in query.statuses])
    if query.names is not None:
        among("name", "text", storable(query.names))
    if query.queues is not None:
        among("queue", "text", storable(query.queues))
    if query.guards is not None:
        conditions.append(_guarded(query.guards))
    if query.finished_before is not None:
        # Written out, so that the planner knows how many of the tasks that is.
        conditions.append(f"finished < {to_microseconds(query.finished_before)}")
    text = sql.put(_FIND.replace("{conditions}", " AND ".join(conditions)))
    found: Sequence[Any] = await connection.fetch(text, *parameters)
    return found


def _guarded(guards: frozenset[Guard]) -> str:
    named = [_NAMED[guard] for guard in sorted(guards) if guard in _NAMED]
    alternatives = [_FEW.format(few=" UNION ALL ".join(named))] if named else []
    alternatives += [_STATUS[guard] for guard in sorted(guards) if guard in _STATUS]
    return f"({' OR '.join(alternatives) or 'FALSE'})"


async def delete(connection: Connection, sql: Sql, offset: int, ids: Sequence[int]) -> int:
    count: int = await connection.fetchval(sql.fill(_DELETE), offset, list(ids))
    return count
