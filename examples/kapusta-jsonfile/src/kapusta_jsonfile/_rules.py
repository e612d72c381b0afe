"""What the protocol says of one task: functions of records, without a file or a clock."""

from datetime import UTC, datetime, timedelta
from typing import Any

from kapusta.backend import (
    RESCUE_AFTER,
    Change,
    ChangeAnswer,
    ClaimRequest,
    Guard,
    NewTask,
    StoredTask,
    TaskQuery,
    TaskStatus,
)

_GIVEN = ("id", "token", "name", "payload", "codec", "mode", "queue", "priority", "options")
_NEVER = ("worker", "lease", "lease_end", "settled_run", "result", "error", "reason", "started", "finished")


def stored(task: NewTask, now: datetime) -> StoredTask:
    given: dict[str, Any] = {field: getattr(task, field) for field in _GIVEN} | dict.fromkeys(_NEVER)
    return StoredTask(
        **given,
        eta=now + task.delay if task.eta is None else task.eta.astimezone(UTC),
        deadline=_after(now, task.overdue_after),
        created=now,
        status=TaskStatus.pending,
        cancel_requested=False,
        **dict.fromkeys(("run", "failures", "crashes", "interruptions"), 0),
    )


def can_take(request: ClaimRequest, task: StoredTask, now: datetime) -> bool:
    """Whether the request could have a task, now or when its eta comes."""
    return (
        task.status is TaskStatus.pending
        and request.slots.get(task.mode, 0) > 0
        and task.name in request.names
        and (request.queues is None or task.queue in request.queues)
        and (task.deadline is None or max(now, task.eta) < task.deadline)
    )


def claimed(task: StoredTask, request: ClaimRequest, now: datetime) -> StoredTask:
    return task.replace(
        status=TaskStatus.started,
        run=task.run + 1,
        worker=request.worker,
        lease=request.lease,
        lease_end=now + request.lease,
        started=now,
        cancel_requested=False,
    )


def answer(change: Change, task: StoredTask | None, now: datetime) -> ChangeAnswer:
    if task is None or task.run != change.run:
        return ChangeAnswer.refused
    if change.guard is not Guard.holder:
        return ChangeAnswer.accepted if holds(change.guard, task, now) else ChangeAnswer.refused
    if task.worker != change.worker:
        return ChangeAnswer.refused
    if task.settled_run == task.run:
        return ChangeAnswer.already
    holding = task.status in {TaskStatus.started, TaskStatus.held}
    return ChangeAnswer.accepted if holding else ChangeAnswer.refused


def holds(guard: Guard, task: StoredTask, now: datetime) -> bool:
    if guard is Guard.overdue:
        return task.status is TaskStatus.pending and task.deadline is not None and task.deadline <= now
    if guard is Guard.expired:
        lease, end = task.lease, task.lease_end  # both are there exactly while it is started
        return lease is not None and end is not None and end + lease / RESCUE_AFTER <= now
    return (task.status is TaskStatus.started) is (guard is Guard.running)


def changed(task: StoredTask, change: Change, now: datetime) -> StoredTask:
    if change.status is None:
        return task.replace(cancel_requested=change.cancel_requested)
    written: dict[str, Any] = {
        name: value
        for name in ("failures", "crashes", "interruptions")
        if (value := getattr(change, name)) is not None
    }
    if change.guard is Guard.holder:
        written["settled_run"] = task.run
    if change.status is TaskStatus.pending:
        written["eta"] = now + change.delay
    if change.raise_run:
        written |= {"run": task.run + 1, "deadline": _after(now, change.overdue_after)}
    return task.replace(
        **written,
        status=change.status,
        result=change.result,
        error=change.error,
        reason=change.reason,
        finished=now if change.status.is_final else None,
        lease=None,
        lease_end=None,
        cancel_requested=False,
    )


def fits(query: TaskQuery, task: StoredTask, now: datetime) -> bool:
    """Whether a task is one of those that a query is for; order and limit are another matter."""
    return (
        task.id > query.after_id
        and (query.ids is None or task.id in query.ids)
        and (query.statuses is None or task.status in query.statuses)
        and (query.names is None or task.name in query.names)
        and (query.queues is None or task.queue in query.queues)
        and (query.guards is None or any(holds(guard, task, now) for guard in query.guards))
        and (
            query.finished_before is None
            or (task.finished is not None and task.finished < query.finished_before)
        )
    )


def _after(now: datetime, duration: timedelta | None) -> datetime | None:
    return None if duration is None else now + duration
