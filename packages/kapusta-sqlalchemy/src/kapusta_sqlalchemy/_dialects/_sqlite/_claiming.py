"""The claim: a look that locks nothing, and a grip when there is something to take."""

from __future__ import annotations

from typing import Any, Final

from aiosqlite import Connection

from kapusta.backend import ClaimRequest, Claims, StoredTask

from ..._rows import to_duration, to_instant, to_microseconds, to_record, to_records
from ._sql import Sql, marks, storable_only

# All lanes with something pending, by hopping from each to the next in the index, and of these the ones that
# the request serves. However many tasks wait in a lane, and whoever knows them, it costs one hop.
_LANES: Final = """
WITH RECURSIVE
store(now) AS MATERIALIZED (SELECT {now}),
lane(queue, mode, name, rank) AS (
  SELECT * FROM (
    SELECT queue, mode, name, rank FROM {task} WHERE status = 'pending'
    ORDER BY queue, mode, name, rank LIMIT 1)
  UNION ALL
  SELECT next.queue, next.mode, next.name, next.rank
  FROM lane JOIN {task} AS next ON next.id = coalesce(
    (SELECT id FROM {task} AS t WHERE t.status = 'pending' AND t.queue = lane.queue AND t.mode = lane.mode
       AND t.name = lane.name AND t.rank > lane.rank ORDER BY t.rank LIMIT 1),
    (SELECT id FROM {task} AS t WHERE t.status = 'pending' AND t.queue = lane.queue AND t.mode = lane.mode
       AND t.name > lane.name ORDER BY t.name, t.rank LIMIT 1),
    (SELECT id FROM {task} AS t WHERE t.status = 'pending' AND t.queue = lane.queue
       AND t.mode > lane.mode ORDER BY t.mode, t.name, t.rank LIMIT 1),
    (SELECT id FROM {task} AS t WHERE t.status = 'pending'
       AND t.queue > lane.queue ORDER BY t.queue, t.mode, t.name, t.rank LIMIT 1))
),
served AS MATERIALIZED (
  SELECT queue, mode, name, rank FROM lane WHERE mode IN ({0}) AND name IN ({1}){2}
)
"""

_IN_LANE: Final = """
t.status = 'pending' AND t.queue = served.queue AND t.mode = served.mode AND t.name = served.name
AND t.rank = served.rank"""

# What nobody could read stays where it is: once it is claimed, no worker has it, and no other may.
_LOOK: Final = f"""{_LANES}
SELECT
  now,
  EXISTS (SELECT 1 FROM served JOIN {{task}} AS found ON found.id = (
    SELECT id FROM {{task}} AS t WHERE {_IN_LANE} AND {{readable}}
      AND t.eta <= now AND (t.deadline IS NULL OR t.deadline > now) LIMIT 1)),
  (SELECT min((
    SELECT eta FROM {{task}} AS t WHERE {_IN_LANE} AND typeof(t.eta) = 'integer'
      AND t.eta > now AND (t.deadline IS NULL OR t.deadline > t.eta) ORDER BY t.eta LIMIT 1)) FROM served)
FROM store
"""

# One UPDATE takes the write lock before it reads, so two workers cannot choose the same task.
# A run that somebody has made the greatest number of all stays it: an overflow would be the end of every claim.
_GRIP: Final = f"""{_LANES}
UPDATE {{task}} SET
  status = 'started', run = min(run, 9223372036854775806) + 1, worker = ?, lease = ?, lease_end = min((SELECT now FROM store) + ?, {{last}}),
  started = (SELECT now FROM store), cancel_requested = 0
WHERE id IN (
  SELECT id FROM (
    SELECT found.id, found.mode,
      row_number() OVER (PARTITION BY found.mode ORDER BY found.rank, found.eta, found.id) AS place
    FROM store, served JOIN {{task}} AS found ON found.id IN (
      SELECT id FROM {{task}} AS t WHERE {_IN_LANE} AND {{readable}}
        AND t.eta <= now AND (t.deadline IS NULL OR t.deadline > now) ORDER BY t.eta, t.id LIMIT ?))
  WHERE place <= CASE mode {{3}} END)
RETURNING {{columns}}
"""


async def claim(connection: Connection, sql: Sql, offset: int, request: ClaimRequest) -> Claims:
    slots = {mode.value: count for mode, count in request.slots.items() if count > 0}
    names = storable_only(request.names)
    queues = None if request.queues is None else storable_only(request.queues)
    in_queues = "" if queues is None else f" AND queue IN ({marks(len(queues))})"
    lists = marks(len(slots)), marks(len(names)), in_queues
    served = (offset, *slots, *names, *(queues or ()))

    [(now, due, next_eta)] = await connection.execute_fetchall(sql.fill(_LOOK, *lists), served)
    tasks: list[StoredTask] = []
    if due:
        grip = sql.fill(_GRIP, *lists, "WHEN ? THEN ? " * len(slots))
        tasks = await _grip(connection, grip, served, slots, request)
        now = to_microseconds(tasks[0].started) if tasks and tasks[0].started else now
    next_due = None if next_eta is None else to_instant(max(next_eta, now)) - to_instant(now)
    return Claims(tasks=tasks, now=to_instant(now), next_due=next_due)


async def _grip(
    connection: Connection, text: str, served: tuple[Any, ...], slots: dict[str, int], request: ClaimRequest
) -> list[StoredTask]:
    lease = to_duration(request.lease)
    places = [number for pair in slots.items() for number in pair]
    parameters = (*served, request.worker, lease, lease, max(slots.values()), *places)
    rows = await connection.execute_fetchall(text, parameters)
    tasks = to_records(rows, to_record)
    tasks.sort(key=lambda task: (-task.priority, task.eta, task.id))
    return tasks
