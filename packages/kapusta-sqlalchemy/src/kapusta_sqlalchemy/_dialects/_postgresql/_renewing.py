"""Renewals: a lease is extended or its row is locked, but nobody waits."""

from __future__ import annotations

from typing import Final

from asyncpg import Connection

from kapusta.backend import RenewAnswer, Renewed, RenewRequest

from ..._rows import to_duration
from ._sql import Sql

# What the last SELECT sees is the beginning of the statement: a lease that was held then, and was not extended, is
# locked, or was taken in this very moment. Whoever asks again will know.
_RENEW: Final = """
WITH store(now) AS MATERIALIZED (SELECT {now}),
held AS MATERIALIZED (SELECT * FROM unnest($2::bigint[], $3::bigint[]) AS held(id, run)),
free AS MATERIALIZED (
  SELECT task.id, task.run FROM {task} AS task
  WHERE task.id = ANY($2::bigint[]) AND task.status = 'started' AND task.worker = $5
  ORDER BY task.id FOR NO KEY UPDATE SKIP LOCKED),
renewed AS (
  UPDATE {task} AS task SET lease = $4, lease_end = least(store.now + $4::bigint, {last})
  FROM free JOIN held ON held.id = free.id AND held.run = free.run CROSS JOIN store
  WHERE task.id = free.id
  RETURNING task.id, task.cancel_requested)
SELECT seen.id, renewed.id IS NOT NULL, coalesce(renewed.cancel_requested, seen.cancel_requested)
FROM held JOIN {task} AS seen ON seen.id = held.id AND seen.run = held.run
LEFT JOIN renewed ON renewed.id = seen.id
WHERE seen.status = 'started' AND seen.worker = $5
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
