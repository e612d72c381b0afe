"""Renewals: a lease is extended or its row is locked, but nobody waits."""

from __future__ import annotations

from typing import Final

from asyncpg import Connection

from kapusta.backend import RenewAnswer, Renewed, RenewRequest

from ..._rows import to_duration
from ._sql import Sql, rows_of

# What the last SELECT sees is the beginning of the statement: a lease that was held then, and was not extended, is
# locked, or was taken in this very moment. Whoever asks again will know.
_RENEW: Final = f"""
WITH store(now) AS MATERIALIZED (SELECT {{now}}),
held AS MATERIALIZED (SELECT * FROM {rows_of("bigint bigint", first=2)} AS held(id, run, place)),
free AS MATERIALIZED (
  SELECT task.id FROM held JOIN {{task}} AS task ON task.id = held.id AND task.run = held.run
  WHERE task.status = 'started' AND task.worker = $5
  ORDER BY task.id FOR NO KEY UPDATE OF task SKIP LOCKED),
renewed AS (
  UPDATE {{task}} SET lease = $4, lease_end = least((SELECT now FROM store) + $4::bigint, {{last}})
  WHERE id = ANY(ARRAY(SELECT id FROM free))
  RETURNING id, cancel_requested)
SELECT id, TRUE, cancel_requested FROM renewed
UNION ALL
SELECT seen.id, FALSE, seen.cancel_requested
FROM held JOIN {{task}} AS seen ON seen.id = held.id AND seen.run = held.run
WHERE seen.status = 'started' AND seen.worker = $5 AND seen.id NOT IN (SELECT id FROM renewed)
"""

_LOST: Final = (RenewAnswer.lost, False)


async def renew(connection: Connection, sql: Sql, offset: int, request: RenewRequest) -> list[Renewed]:
    rows = await connection.fetch(
        sql.fill(_RENEW),
        offset,
        [renewal.id for renewal in request.renewals],
        [renewal.run for renewal in request.renewals],
        to_duration(request.lease),
        request.worker,
    )
    held = {
        id: (RenewAnswer.renewed if renewed else RenewAnswer.busy, cancel_requested)
        for id, renewed, cancel_requested in rows
    }
    answers = [(renewal.id, *held.get(renewal.id, _LOST)) for renewal in request.renewals]
    return [
        Renewed(id=id, answer=answer, cancel_requested=cancel_requested)
        for id, answer, cancel_requested in answers
    ]
