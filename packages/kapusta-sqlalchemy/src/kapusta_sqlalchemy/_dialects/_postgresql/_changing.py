"""Changes: many compare-and-sets in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from asyncpg import Connection

from kapusta.backend import FINAL, RESCUE_AFTER, Change, ChangeAnswer, Changed, Guard, TaskStatus

from ..._plain import common_winner
from ..._rows import to_duration
from ._sql import Sql, columns, rows_of

# The rows are locked first, in id order, and come back as they are once they are locked: so the guards are judged
# by what nobody can change any more, and a repeat of what was settled meanwhile is told from a refusal at once.
_ROWS: Final = rows_of(
    "bigint bigint text text text boolean bigint boolean bigint boolean integer integer integer bytea text text",
    first=2,
)

_CHANGE: Final = f"""
WITH store(now) AS MATERIALIZED (SELECT {{now}}),
change AS MATERIALIZED (
  SELECT * FROM {_ROWS}
  AS change(id, run, guard, worker, status, final, delay, life, overdue_after, cancel, failures, crashes,
    interruptions, result, error, reason, place)),
found AS MATERIALIZED (
  SELECT id, run, status, worker, settled_run, deadline, lease, lease_end
  FROM {{task}} WHERE id = ANY($2::bigint[]) ORDER BY id FOR NO KEY UPDATE),
fitting AS MATERIALIZED (
  SELECT change.* FROM change JOIN found ON found.id = change.id AND found.run = change.run CROSS JOIN store
  WHERE CASE change.guard
    WHEN 'holder' THEN found.status IN ('started', 'held') AND found.worker = change.worker
      AND found.settled_run IS DISTINCT FROM found.run
    WHEN 'expired' THEN found.status = 'started' AND found.lease_end < store.now - found.lease / {RESCUE_AFTER}
    WHEN 'overdue' THEN found.status = 'pending' AND found.deadline <= store.now
    WHEN 'resting' THEN found.status <> 'started'
    WHEN 'running' THEN found.status = 'started'
    WHEN 'waiting' THEN found.status IN ('pending', 'held')
  END),
done AS (
  UPDATE {{task}} AS task SET
    status = coalesce(change.status, task.status),
    run = task.run + change.life::integer,
    settled_run = CASE WHEN change.guard = 'holder' AND change.status IS NOT NULL THEN change.run
                       ELSE task.settled_run END,
    eta = CASE WHEN change.status = 'pending' THEN least(store.now + change.delay, {{last}}) ELSE task.eta END,
    deadline = CASE WHEN NOT change.life THEN task.deadline
                    WHEN change.overdue_after IS NOT NULL THEN least(store.now + change.overdue_after, {{last}}) END,
    finished = CASE WHEN change.status IS NULL THEN task.finished WHEN change.final THEN store.now END,
    lease = CASE WHEN change.status IS NULL THEN task.lease END,
    lease_end = CASE WHEN change.status IS NULL THEN task.lease_end END,
    cancel_requested = change.cancel,
    failures = coalesce(change.failures, task.failures),
    crashes = coalesce(change.crashes, task.crashes),
    interruptions = coalesce(change.interruptions, task.interruptions),
    result = CASE WHEN change.status IS NULL THEN task.result ELSE change.result END,
    error = CASE WHEN change.status IS NULL THEN task.error ELSE change.error END,
    reason = CASE WHEN change.status IS NULL THEN task.reason ELSE change.reason END
  FROM fitting AS change CROSS JOIN store
  WHERE task.id = change.id
  RETURNING task.id, change.place)
SELECT place, id, run, settled_run, worker FROM found LEFT JOIN done USING (id)
"""

# Whoever has locked the row of a lease that has run out may be its own worker's body, in a transaction: nobody waits
# there, to be the first when the lock is gone. The keeper asks more often.
_RESCUE: Final = _CHANGE.replace("FOR NO KEY UPDATE", "FOR NO KEY UPDATE SKIP LOCKED")

# A worker writes hardly anything but successes: three arrays in place of sixteen, and no look before the write. What an
# UPDATE waits for it judges anew by what the row has become. A row that it does not meet is asked for by the statement
# above, which knows why. (Without its status in disguise, the planner would look for the rows by a partial index.)
_SUCCEED: Final = """
UPDATE {task} AS task SET
  status = 'success', settled_run = task.run, finished = {now}, lease = NULL, lease_end = NULL,
  cancel_requested = FALSE, crashes = 0, result = change.result, error = NULL, reason = NULL
FROM ROWS FROM (unnest($2::bigint[]), unnest($3::bigint[]), unnest($4::bytea[])) AS change(id, run, result)
WHERE task.id = change.id AND task.run = change.run AND task.worker = $5
  AND task.status || '' IN ('started', 'held') AND task.settled_run IS DISTINCT FROM task.run
RETURNING task.id, task.run
"""

_GUARDS: Final = {guard: guard.value for guard in Guard}
_STATUSES: Final = {status: status.value for status in TaskStatus}


async def change(connection: Connection, sql: Sql, offset: int, changes: Sequence[Change]) -> list[Changed]:
    worker = common_winner(changes)
    if worker is None:
        return await _change(connection, sql, offset, changes)
    ordered = sorted([(change.id, change.run, change.result) for change in changes])
    rows = await connection.fetch(sql.fill(_SUCCEED), offset, *columns(ordered), worker)
    done = {(id, run) for id, run in rows}
    left = [change for change in changes if (change.id, change.run) not in done]
    answers = iter(await _change(connection, sql, offset, left) if left else ())
    return [
        Changed(id=change.id, answer=ChangeAnswer.accepted)
        if (change.id, change.run) in done
        else next(answers)
        for change in changes
    ]


async def _change(connection: Connection, sql: Sql, offset: int, changes: Sequence[Change]) -> list[Changed]:
    text = _RESCUE if any(change.guard is Guard.expired for change in changes) else _CHANGE
    rows = await connection.fetch(sql.fill(text), offset, *columns([_row(change) for change in changes]))
    done = {place for place, *_ in rows}
    found = {id: tuple(facts) for _, id, *facts in rows}
    # By its place: a batch may have two runs of one task in it, of which one has been lost.
    return [
        Changed(id=change.id, answer=ChangeAnswer.accepted if place in done else _refusal(change, found))
        for place, change in enumerate(changes, start=1)
    ]


def _refusal(change: Change, found: dict[int, tuple[Any, ...]]) -> ChangeAnswer:
    # A task that was settled in the very run that the change is about, by its worker.
    already = (change.run, change.run, change.worker)
    if change.guard is Guard.holder and found.get(change.id) == already:
        return ChangeAnswer.already
    return ChangeAnswer.refused


def _row(change: Change) -> tuple[Any, ...]:
    if change.status is None:
        nothing = (None,) * 6
        cancel = (None, False, 0, False, None, change.cancel_requested)
        return (change.id, change.run, _GUARDS[change.guard], change.worker, *cancel, *nothing)
    return (
        change.id,
        change.run,
        _GUARDS[change.guard],
        change.worker,
        _STATUSES[change.status],
        change.status in FINAL,
        to_duration(change.delay),
        change.raise_run,
        None if change.overdue_after is None else to_duration(change.overdue_after),
        False,
        change.failures,
        change.crashes,
        change.interruptions,
        change.result,
        change.error,
        change.reason,
    )
