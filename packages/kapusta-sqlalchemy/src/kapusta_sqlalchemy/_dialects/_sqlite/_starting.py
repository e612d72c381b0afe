"""A new task that its worker has claimed: one INSERT in place of an INSERT and a claim."""

from __future__ import annotations

from typing import Final

from aiosqlite import Connection

from kapusta.backend import ClaimRequest, Claims, NewTask, rules

from ..._rows import to_duration, to_instant
from ._adding import row_of
from ._sql import Sql

_START: Final = """
WITH store(now) AS MATERIALIZED (SELECT {now})
INSERT INTO {task} (id, token, name, payload, codec, mode, queue, rank, eta, deadline, options, status, run, worker,
                    lease, lease_end, failures, crashes, interruptions, cancel_requested, created, started)
SELECT ?, ?, ?, ?, ?, ?, ?, ?, now, min(now + ?, {last}), ?, 'started', 1, ?, ?, min(now + ?, {last}), 0, 0, 0, 0,
       now, now
FROM store WHERE TRUE
ON CONFLICT (id) DO NOTHING
RETURNING created
"""


async def start(
    connection: Connection, sql: Sql, offset: int, task: NewTask, request: ClaimRequest
) -> Claims | None:
    *identity, _, _, overdue_after, options = row_of(task)
    lease = to_duration(request.lease)
    rows = await connection.execute_fetchall(
        sql.fill(_START), (offset, *identity, overdue_after, options, request.worker, lease, lease)
    )
    for (created,) in rows:
        now = to_instant(created)
        return Claims(tasks=[rules.born_claimed(task, request, now)], now=now, next_due=None)
    return None
