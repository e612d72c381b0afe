"""Renewals: where somebody keeps the file locked, a lease that can be seen to be held is busy."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from aiosqlite import Connection

from kapusta.backend import Renewal, RenewAnswer, Renewed, RenewRequest

from ..._rows import to_duration
from ._sql import MOST_ROWS, Sql, values
from ._trouble import is_locked
from ._waiting import waiting_for

_RENEW: Final = """
WITH store(now) AS MATERIALIZED (SELECT {now}),
held(id, run) AS (VALUES {0})
UPDATE {task} AS task SET lease = ?, lease_end = min(store.now + ?, {last})
FROM held, store
WHERE task.id = held.id AND task.run = held.run AND task.status = 'started' AND task.worker = ?
RETURNING id, cancel_requested
"""

_HELD: Final = """
WITH held(id, run) AS (VALUES {0})
SELECT task.id, task.cancel_requested FROM held CROSS JOIN {task} AS task ON task.id = held.id
WHERE task.run = held.run AND task.status = 'started' AND task.worker = ?
"""

# A worker asks again for what was busy a sixth of a lease later, and a second at most. Where nobody keeps the file,
# but many write to it, a renewal that came as often and gave up at once might never have its turn.
_WAITS: Final = 0.25
_WAITS_PER_LEASE: Final = 24

_LOST: Final = (RenewAnswer.lost, False)
_Answers = dict[int, tuple[RenewAnswer, bool]]


async def renew(connection: Connection, sql: Sql, offset: int, request: RenewRequest) -> list[Renewed]:
    async def ask() -> _Answers:
        return await _renew(connection, sql, offset, request)

    wait = min(_WAITS, request.lease.total_seconds() / _WAITS_PER_LEASE)
    found = await waiting_for(wait, connection, ask)
    answers = [(renewal.id, *found.get(renewal.id, _LOST)) for renewal in request.renewals]
    return [
        Renewed(id=id, answer=answer, cancel_requested=cancel_requested)
        for id, answer, cancel_requested in answers
    ]


async def _renew(connection: Connection, sql: Sql, offset: int, request: RenewRequest) -> _Answers:
    """What became of those that are held."""
    found: _Answers = {}
    locked = False
    for start in range(0, len(request.renewals), MOST_ROWS):
        renewals = request.renewals[start : start + MOST_ROWS]
        if not locked:
            try:
                found |= await _extend(connection, sql, offset, request, renewals)
            except sqlite3.Error as error:
                if not is_locked(error):
                    raise
                locked = True
        if locked:
            found |= await _look(connection, sql, request, renewals)
    return found


async def _extend(
    connection: Connection, sql: Sql, offset: int, request: RenewRequest, renewals: Sequence[Renewal]
) -> _Answers:
    lease = to_duration(request.lease)
    text, parameters = values([(renewal.id, renewal.run) for renewal in renewals])
    rows = await connection.execute_fetchall(
        sql.fill(_RENEW, text), (offset, *parameters, lease, lease, request.worker)
    )
    return {id: (RenewAnswer.renewed, bool(cancel_requested)) for id, cancel_requested in rows}


async def _look(
    connection: Connection, sql: Sql, request: RenewRequest, renewals: Sequence[Renewal]
) -> _Answers:
    # Nobody can take it either. Where not even this can be read, the error goes on: then nobody knows.
    text, parameters = values([(renewal.id, renewal.run) for renewal in renewals])
    rows = await connection.execute_fetchall(sql.fill(_HELD, text), (*parameters, request.worker))
    return {id: (RenewAnswer.busy, bool(cancel_requested)) for id, cancel_requested in rows}
