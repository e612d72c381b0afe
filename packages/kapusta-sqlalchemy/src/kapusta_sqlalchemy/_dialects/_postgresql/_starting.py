"""A new task that its worker has claimed: one INSERT in place of an INSERT, a hint and a claim."""

from __future__ import annotations

from typing import Final

from asyncpg import Connection

from kapusta.backend import ClaimRequest, Claims, NewTask, rules

from ..._rows import to_duration, to_instant
from ._new import row_of
from ._sql import Sql

_START: Final = """
INSERT INTO {task} (id, token, name, payload, codec, mode, queue, rank, eta, deadline, options, status, run, worker,
                    lease, lease_end, failures, crashes, interruptions, cancel_requested, created, started)
SELECT $2::bigint, $3, $4, $5::bytea, $6, $7, $8, $9::smallint, store.now,
       CASE WHEN $10::bigint IS NOT NULL THEN least(store.now + $10::bigint, {last}) END,
       $11::bytea, 'started', 1, $12, $13::bigint, least(store.now + $13::bigint, {last}), 0, 0, 0, FALSE,
       store.now, store.now
FROM (SELECT {now} AS now OFFSET 0) AS store
ON CONFLICT (id) DO NOTHING
RETURNING created
"""


async def start(
    connection: Connection, sql: Sql, offset: int, task: NewTask, request: ClaimRequest
) -> Claims | None:
    id, token, name, payload, codec, mode, queue, rank, _, _, overdue_after, options, *_ = row_of(task)
    now = await connection.fetchval(
        sql.fill(_START),
        *(offset, id, token, name, payload, codec, mode, queue, rank, overdue_after, options),
        *(request.worker, to_duration(request.lease)),
    )
    if now is None:
        return None
    started = rules.born_claimed(task, request, to_instant(now))
    return Claims(tasks=[started], now=to_instant(now), next_due=None)
