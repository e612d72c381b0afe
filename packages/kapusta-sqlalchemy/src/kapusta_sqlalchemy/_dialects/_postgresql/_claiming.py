"""The claim: one statement that looks, locks and takes."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Final

from asyncpg import Connection

from kapusta.backend import ClaimRequest, Claims, LogEvent, StoredTask, log_event

from ..._rows import to_duration, to_instant, to_record, to_records
from ._sql import Sql, storable
from ._trouble import ERRORS

_log: Final = logging.getLogger("kapusta.sqlalchemy")

_IN_LANE: Final = """
t.status = 'pending' AND t.queue = served.queue AND t.mode = served.mode AND t.name = served.name
AND t.rank = served.rank"""

_DUE: Final = """
t.eta <= (SELECT now FROM store) AND (t.deadline IS NULL OR t.deadline > (SELECT now FROM store))"""

# All lanes with something pending, by hopping from each to the next in the index, and of these the ones that the
# request serves. However many tasks wait in a lane, and whoever knows them, it costs one hop.
#
# Of each lane the first due tasks are candidates, without a lock. Then, mode by mode and in order, as many are
# locked as there are slots, and not one more: a locked task that is not taken would be missing to others. A task
# that others are just taking is passed over, so there are more candidates than slots; if even those were not
# enough, the answer names the mode. (Without its status in disguise, an empty table's statistics would have the
# planner look for a task not by its id, but by walking through all that are pending.)
#
# A run that somebody has made the greatest number of all stays it: an overflow would be the end of every claim.
_CLAIM: Final = f"""
WITH RECURSIVE
store(now) AS MATERIALIZED (SELECT {{now}}),
slot AS MATERIALIZED (
  SELECT * FROM unnest($2::text[], $3::bigint[], $4::bigint[]) AS slot(mode, free, span)),
lane(queue, mode, name, rank) AS (
  (SELECT queue, mode, name, rank FROM {{task}} WHERE status = 'pending'
   ORDER BY queue, mode, name, rank LIMIT 1)
  UNION ALL
  SELECT next.* FROM lane CROSS JOIN LATERAL (
    SELECT t.queue, t.mode, t.name, t.rank FROM {{task}} AS t
    WHERE t.status = 'pending'
      AND (t.queue, t.mode, t.name, t.rank) > (lane.queue, lane.mode, lane.name, lane.rank)
    ORDER BY t.queue, t.mode, t.name, t.rank LIMIT 1) AS next
),
served AS MATERIALIZED (
  SELECT lane.*, slot.span FROM lane JOIN slot ON slot.mode = lane.mode
  WHERE lane.name = ANY($5::text[]) AND ($6::text[] IS NULL OR lane.queue = ANY($6::text[]))
),
candidate AS MATERIALIZED (
  SELECT first.id, served.mode,
    row_number() OVER (PARTITION BY served.mode ORDER BY served.rank, first.eta, first.id) AS place
  FROM served CROSS JOIN LATERAL (
    SELECT t.id, t.eta FROM {{task}} AS t WHERE {_IN_LANE} AND {_DUE} ORDER BY t.eta, t.id LIMIT served.span
  ) AS first
),
locked AS MATERIALIZED (
  SELECT free.id FROM slot CROSS JOIN LATERAL (
    SELECT t.id FROM {{task}} AS t
    WHERE t.id = ANY(ARRAY(
        SELECT candidate.id FROM candidate WHERE candidate.mode = slot.mode AND candidate.place <= slot.span))
      AND t.status || '' = 'pending' AND {_DUE}
    ORDER BY t.rank, t.eta, t.id LIMIT slot.free FOR NO KEY UPDATE SKIP LOCKED
  ) AS free
),
claimed AS (
  UPDATE {{task}} AS task SET
    status = 'started', run = least(task.run, 9223372036854775806) + 1, worker = $7, lease = $8,
    lease_end = least((SELECT now FROM store) + $8::bigint, {{last}}), started = (SELECT now FROM store),
    cancel_requested = FALSE
  WHERE task.id = ANY(ARRAY(SELECT locked.id FROM locked))
  RETURNING {{task_columns}}
)
SELECT
  store.now,
  (SELECT min(soon.eta) FROM served CROSS JOIN LATERAL (
    SELECT t.eta FROM {{task}} AS t WHERE {_IN_LANE}
      AND t.eta > (SELECT now FROM store) AND (t.deadline IS NULL OR t.deadline > t.eta)
    ORDER BY t.eta LIMIT 1) AS soon),
  ARRAY(SELECT slot.mode FROM slot WHERE EXISTS (
    SELECT FROM candidate WHERE candidate.mode = slot.mode AND candidate.place >= slot.span)),
  claimed.*
FROM store LEFT JOIN claimed ON TRUE
"""

_NOW: Final = "SELECT {now}"

_SPARE: Final = 50
"""So many candidates more than others would take if they had as many slots."""


async def claim(connection: Connection, sql: Sql, offset: int, request: ClaimRequest) -> Claims:
    free = Counter({mode.value: slots for mode, slots in request.slots.items() if slots > 0})
    if not free or not request.names:
        now = to_instant(await connection.fetchval(sql.fill(_NOW), offset))
        return Claims(tasks=[], now=now, next_due=None)
    names = storable(request.names)
    queues = None if request.queues is None else storable(request.queues)
    worker, lease = request.worker, to_duration(request.lease)
    tasks: list[StoredTask] = []
    spare = _SPARE
    while True:
        spans = [slots + max(slots, spare) for slots in free.values()]
        try:
            rows = await connection.fetch(
                sql.fill(_CLAIM), offset, list(free), list(free.values()), spans, names, queues, worker, lease
            )
        except ERRORS as error:
            # Without an answer nobody knows what this look has claimed: then the worker asks, and gives all of it back.
            if not tasks or connection.is_closed():
                raise
            # Refused, it has claimed nothing; what the first look has is claimed, and must reach the worker.
            what = "claim_tasks: the second look for tasks failed: %s"
            log_event(_log, LogEvent.claim_cut_short, what, error)
            break
        now, next_eta, cut, *_ = rows[0]
        taken = to_records([row[3:] for row in rows if row[3] is not None], to_record)
        tasks += taken
        free -= Counter(task.mode.value for task in taken)
        free = Counter({mode: slots for mode, slots in free.items() if mode in cut})
        if not free:
            break
        spare *= 8  # others have locked all of the candidates: look further
    tasks.sort(key=lambda task: (-task.priority, task.eta, task.id))
    next_due = None if next_eta is None else to_instant(next_eta) - to_instant(now)
    return Claims(tasks=tasks, now=to_instant(now), next_due=next_due)
