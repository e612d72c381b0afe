"""What must hold of a row, and what is written if it does: functions of records, without a store."""

from __future__ import annotations

from datetime import datetime

from kapusta.backend import (
    RESCUE_AFTER,
    Change,
    ChangeAnswer,
    ClaimRequest,
    Guard,
    StoredTask,
    TaskQuery,
    TaskStatus,
)

from ._instants import later


def answer_to(change: Change, row: StoredTask, now: datetime) -> ChangeAnswer:
    """Whether a change may be carried out."""
    if row.run != change.run:
        return ChangeAnswer.refused
    if change.guard is Guard.holder:
        return _answer_to_holder(change, row)
    return ChangeAnswer.accepted if holds(change.guard, row, now) else ChangeAnswer.refused


def _answer_to_holder(change: Change, row: StoredTask) -> ChangeAnswer:
    if row.worker != change.worker:
        return ChangeAnswer.refused
    if row.settled_run == row.run:
        return ChangeAnswer.already
    # A held task whose run was never settled was held without its holder's word: by its own crash.
    holding = row.status in {TaskStatus.started, TaskStatus.held}
    return ChangeAnswer.accepted if holding else ChangeAnswer.refused


def holds(guard: Guard, row: StoredTask, now: datetime) -> bool:
    """Whether a guard other than ``holder`` holds."""
    match guard:
        case Guard.expired:
            if row.status is not TaskStatus.started or row.lease is None or row.lease_end is None:
                return False
            return now >= later(row.lease_end, row.lease / RESCUE_AFTER)
        case Guard.overdue:
            return row.status is TaskStatus.pending and row.deadline is not None and now >= row.deadline
        case Guard.resting:
            return row.status is not TaskStatus.started
        case Guard.running:
            return row.status is TaskStatus.started
        case Guard.holder:
            return False


def fits(row: StoredTask, query: TaskQuery, now: datetime) -> bool:
    """Whether a row fits a query, its ``after_id`` and ``limit`` aside."""
    return (
        (query.ids is None or row.id in query.ids)
        and (query.statuses is None or row.status in query.statuses)
        and (query.names is None or row.name in query.names)
        and (query.queues is None or row.queue in query.queues)
        and (query.guards is None or any(holds(guard, row, now) for guard in query.guards))
        and (
            query.finished_before is None
            or (row.finished is not None and row.finished < query.finished_before)
        )
    )


def claimed(row: StoredTask, request: ClaimRequest, now: datetime) -> StoredTask:
    """A row once a worker has claimed it."""
    return row.replace(
        status=TaskStatus.started,
        run=row.run + 1,
        worker=request.worker,
        lease=request.lease,
        lease_end=later(now, request.lease),
        started=now,
        cancel_requested=False,
    )


def changed(row: StoredTask, change: Change, now: datetime) -> StoredTask:
    """A row once a change has been carried out."""
    if change.status is None:
        return row.replace(cancel_requested=change.cancel_requested)
    new_life = change.raise_run
    overdue_after = change.overdue_after
    return row.replace(
        status=change.status,
        run=row.run + 1 if new_life else row.run,
        settled_run=row.run if change.guard is Guard.holder else row.settled_run,
        eta=later(now, change.delay) if change.status is TaskStatus.pending else row.eta,
        deadline=row.deadline
        if not new_life
        else None
        if overdue_after is None
        else later(now, overdue_after),
        finished=now if change.status.is_final else None,
        lease=None,
        lease_end=None,
        cancel_requested=False,
        failures=row.failures if change.failures is None else change.failures,
        crashes=row.crashes if change.crashes is None else change.crashes,
        interruptions=row.interruptions if change.interruptions is None else change.interruptions,
        result=change.result,
        error=change.error,
        reason=change.reason,
    )
