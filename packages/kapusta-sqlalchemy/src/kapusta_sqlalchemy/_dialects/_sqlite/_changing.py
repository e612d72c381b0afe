"""Changes: many compare-and-sets in one statement; a rescue does not wait for whoever keeps the file."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from aiosqlite import Connection

from kapusta.backend import (
    FINAL,
    RESCUE_AFTER,
    Change,
    ChangeAnswer,
    Changed,
    Guard,
    TaskStatus,
)

from ..._plain import common_winner
from ..._rows import to_duration
from ._sql import MOST_ROWS, Sql, listed, values
from ._trouble import is_locked
from ._waiting import waiting_for

_CHANGE: Final = f"""
WITH store(now) AS MATERIALIZED (SELECT {{now}}),
change(id, run, guard, worker, status, final, delay, life, overdue_after, cancel, failures, crashes,
       interruptions, result, error, reason) AS (VALUES {{0}})
UPDATE {{task}} AS task SET
  status = coalesce(change.status, task.status),
  run = task.run + change.life,
  settled_run = iif(change.guard = 'holder' AND change.status IS NOT NULL, change.run, task.settled_run),
  eta = iif(change.status = 'pending', min(store.now + change.delay, {{last}}), task.eta),
  deadline = iif(change.life, min(store.now + change.overdue_after, {{last}}), task.deadline),
  finished = iif(change.status IS NULL, task.finished, iif(change.final, store.now, NULL)),
  lease = iif(change.status IS NULL, task.lease, NULL),
  lease_end = iif(change.status IS NULL, task.lease_end, NULL),
  cancel_requested = change.cancel,
  failures = coalesce(change.failures, task.failures),
  crashes = coalesce(change.crashes, task.crashes),
  interruptions = coalesce(change.interruptions, task.interruptions),
  result = iif(change.status IS NULL, task.result, change.result),
  error = iif(change.status IS NULL, task.error, change.error),
  reason = iif(change.status IS NULL, task.reason, change.reason)
FROM change, store
WHERE task.id = change.id AND task.run = change.run AND CASE change.guard
  WHEN 'holder' THEN task.status IN ('started', 'held') AND task.worker = change.worker
    AND task.settled_run IS NOT task.run
  WHEN 'expired' THEN task.status = 'started' AND task.lease_end < store.now - task.lease / {RESCUE_AFTER}
  WHEN 'overdue' THEN task.status = 'pending' AND task.deadline <= store.now
  WHEN 'resting' THEN task.status <> 'started'
  WHEN 'running' THEN task.status = 'started'
  WHEN 'waiting' THEN task.status IN ('pending', 'held')
END
RETURNING id, run
"""

# A worker writes hardly anything but successes: three values a row in place of sixteen.
_SUCCEED: Final = """
WITH change(id, run, result) AS (VALUES {0})
UPDATE {task} AS task SET
  status = 'success', settled_run = task.run, finished = {now}, lease = NULL, lease_end = NULL,
  cancel_requested = 0, crashes = 0, result = change.result, error = NULL, reason = NULL
FROM change
WHERE task.id = change.id AND task.run = change.run AND task.status IN ('started', 'held')
  AND task.worker = ? AND task.settled_run IS NOT task.run
RETURNING id, run
"""

_SETTLED: Final = "SELECT id, run, settled_run, worker FROM {task} WHERE id IN ({0})"

_RESCUES_WAIT: Final = 0.05
"""Seconds; a fifth of what renewals may, so that where many write the living come before the rescuers."""


async def change(connection: Connection, sql: Sql, offset: int, changes: Sequence[Change]) -> list[Changed]:
    accepted: set[tuple[int, int]] = set()
    rescues = [change for change in changes if change.guard is Guard.expired]
    others = changes if not rescues else [change for change in changes if change.guard is not Guard.expired]
    await _write(connection, sql, offset, others, accepted)
    if rescues:
        await _rescue(connection, sql, offset, rescues, accepted)
    # By the run as well: a batch may have two of one task in it, of which one has been lost.
    left = [change for change in changes if _kept(change) not in accepted and change.guard is Guard.holder]
    already = await _already(connection, sql, left) if left else set()
    return [Changed(id=change.id, answer=_answer(change, accepted, already)) for change in changes]


async def _write(
    connection: Connection, sql: Sql, offset: int, changes: Sequence[Change], accepted: set[tuple[int, int]]
) -> None:
    """Write what may be written, and note in *accepted* what that was."""
    for start in range(0, len(changes), MOST_ROWS):
        some = changes[start : start + MOST_ROWS]
        worker = common_winner(some)
        if worker is None:
            text, parameters = values([_row(change) for change in some])
            rows = await connection.execute_fetchall(sql.fill(_CHANGE, text), (offset, *parameters))
        else:
            text, parameters = values([(change.id, change.run, change.result) for change in some])
            rows = await connection.execute_fetchall(sql.fill(_SUCCEED, text), (*parameters, offset, worker))
        accepted.update((id, run) for id, run in rows)


async def _rescue(
    connection: Connection, sql: Sql, offset: int, rescues: Sequence[Change], accepted: set[tuple[int, int]]
) -> None:
    # Whoever keeps the file keeps it from the worker, too: when the lock has gone, that is to be the first.
    async def write() -> None:
        await _write(connection, sql, offset, rescues, accepted)

    try:
        await waiting_for(_RESCUES_WAIT, connection, write)
    except sqlite3.Error as error:
        if not is_locked(error):
            raise


def _kept(change: Change) -> tuple[int, int]:
    """What a change leaves behind: the task, in this run."""
    return change.id, change.run + change.raise_run


def _answer(change: Change, accepted: set[tuple[int, int]], already: set[tuple[int, int]]) -> ChangeAnswer:
    if _kept(change) in accepted:
        return ChangeAnswer.accepted
    return ChangeAnswer.already if (change.id, change.run) in already else ChangeAnswer.refused


async def _already(connection: Connection, sql: Sql, changes: Sequence[Change]) -> set[tuple[int, int]]:
    """Those whose very run this worker has settled before."""
    settled = {}
    for start in range(0, len(changes), MOST_ROWS):
        text, ids = listed([change.id for change in changes[start : start + MOST_ROWS]])
        rows = await connection.execute_fetchall(sql.fill(_SETTLED, text), ids)
        settled.update({id: rest for id, *rest in rows})
    return {
        (change.id, change.run)
        for change in changes
        if settled.get(change.id) == [change.run, change.run, change.worker]
    }


def _row(change: Change) -> tuple[Any, ...]:
    if change.status is None:
        only_cancel = (
            None,
            False,
            0,
            False,
            None,
            change.cancel_requested,
            None,
            None,
            None,
            None,
            None,
            None,
        )
        return (change.id, change.run, change.guard.value, change.worker, *only_cancel)
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


_GUARDS: Final = {guard: guard.value for guard in Guard}
_STATUSES: Final = {status: status.value for status in TaskStatus}
