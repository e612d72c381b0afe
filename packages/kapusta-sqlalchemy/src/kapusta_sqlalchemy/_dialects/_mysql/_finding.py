"""Finding tasks, and deleting those that are over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from kapusta.backend import FINAL, RESCUE_AFTER, Guard, TaskQuery

from ..._rows import to_microseconds
from ._session import BEGIN, COMMIT, Session, Statement
from ._sql import MOST_ROWS, Sql, marks, now_is, numbers, storable_only

_FIND: Final = "SELECT {columns} FROM {task} AS task {0} WHERE {1} ORDER BY id LIMIT %s"

# Where few of the tasks fit, an index names them, and the rows are fetched by their ids: asked in one go, the
# server may rather read the whole table in the order of the ids.
_GUARDED: Final = {
    Guard.expired: f"""
      SELECT id FROM {{task}} FORCE INDEX ({{leases}}) WHERE status = 'started' AND lease_end < @kapusta_now
      AND lease_end < @kapusta_now - lease DIV {RESCUE_AFTER}""",
    Guard.overdue: """
      SELECT id FROM {task} FORCE INDEX ({deadlines}) WHERE status = 'pending' AND deadline <= @kapusta_now""",
    Guard.running: "SELECT id FROM {task} WHERE status = 'started'",
    Guard.resting: "SELECT id FROM {task} WHERE status <> 'started'",
    Guard.waiting: "SELECT id FROM {task} WHERE status IN ('pending', 'held')",
}
_FINISHED: Final = "SELECT id FROM {task} FORCE INDEX ({ends}) WHERE finished < %s"

_FINAL: Final = ", ".join(f"'{status.value}'" for status in sorted(FINAL))
_OVER: Final = f"id IN ({{0}}) AND status IN ({_FINAL})"

_LOCK: Final = f"SELECT id FROM {{task}} FORCE INDEX (PRIMARY) WHERE {_OVER} ORDER BY id FOR UPDATE"
_DELETE_KEYS: Final = f"""
DELETE used FROM {{task}} AS task FORCE INDEX (PRIMARY)
STRAIGHT_JOIN {{key}} AS used FORCE INDEX ({{users}}) ON used.task = task.id
WHERE task.id IN ({{0}}) AND task.status IN ({_FINAL}) AND used.until IN ('started', 'finished')"""
_DELETE: Final = f"DELETE task FROM {{task}} AS task FORCE INDEX (PRIMARY) WHERE {_OVER}"
# A few at a time, so that no other transaction waits for long.
_DELETE_ENDED_KEYS: Final = """
DELETE used FROM (
  SELECT `key` FROM {key} FORCE INDEX ({key_ends}) WHERE ends <= @kapusta_now ORDER BY ends LIMIT 100) AS ended
STRAIGHT_JOIN {key} AS used FORCE INDEX (PRIMARY) ON used.`key` = ended.`key`
WHERE used.ends <= @kapusta_now"""


async def rows(session: Session, sql: Sql, offset: int, query: TaskQuery) -> Sequence[Any]:
    """The rows of what a query asks for."""
    conditions: list[str] = ["id > %s"]
    parameters: list[Any] = [query.after_id]
    joins: list[str] = []
    joined: list[Any] = []

    def among(column: str, wanted: Sequence[Any]) -> None:
        conditions.append(f"{column} IN ({marks(len(wanted))})")
        parameters.extend(wanted)

    if query.ids is not None:
        among("id", sorted(query.ids))
    if query.statuses is not None:
        among("status", [status.value for status in sorted(query.statuses)])
    if query.names is not None:
        among("name", storable_only(query.names))
    if query.queues is not None:
        among("queue", storable_only(query.queues))
    if query.guards is not None:
        joins.append(_any_of(query.guards))
    if query.finished_before is not None:
        joins.append(_FINISHED)
        joined.append(to_microseconds(query.finished_before))
    few = " ".join(f"JOIN ({text}) AS few_{place} USING (id)" for place, text in enumerate(joins))
    text = sql.fill(_FIND, sql.fill(few), " AND ".join(conditions))
    _, found = await session.ask(now_is(offset), (text, (*joined, *parameters, query.limit)))
    return list(found)


def _any_of(guards: Iterable[Guard]) -> str:
    return " UNION ".join(_GUARDED[guard] for guard in sorted(guards)) or "SELECT id FROM {task} WHERE FALSE"


async def delete(session: Session, sql: Sql, offset: int, ids: Sequence[int]) -> int:
    wanted = sorted(set(ids))
    statements: list[Statement] = []
    for start in range(0, len(wanted), MOST_ROWS):
        some = numbers(wanted[start : start + MOST_ROWS])
        statements += [(sql.fill(text, some), ()) for text in (_LOCK, _DELETE_KEYS, _DELETE)]
    results = await session.ask(
        now_is(offset), BEGIN, *statements, (sql.fixed(_DELETE_ENDED_KEYS), ()), COMMIT
    )
    return sum(results[4:-2:3])
