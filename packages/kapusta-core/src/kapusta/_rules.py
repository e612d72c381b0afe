"""What the protocol says of one task, as functions of records: for backends that keep whole records.

A store that speaks SQL says the same in its statements. One that reads a task, puts another in its place and
knows that nobody came in between, as a file, a document or a key-value store does, has it here.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

# Not the method of the same name, which passes its keywords on and takes twice as long.
from msgspec.structs import replace

from ._enums import TaskStatus
from ._records import (
    RESCUE_AFTER,
    Change,
    ChangeAnswer,
    ClaimRequest,
    Guard,
    NewTask,
    Record,
    RenewRequest,
    StoredTask,
    TaskQuery,
    UniqueKey,
    UniqueUntil,
)

_LAST: Final = datetime.max.replace(tzinfo=UTC)


class KeyUse(Record, frozen=True, kw_only=True):
    """Who took a unique key last, and for how long."""

    task_id: int
    until: UniqueUntil
    ends: datetime | None = None


def later(instant: datetime, duration: timedelta) -> datetime:
    """*instant* plus *duration*; the last instant there is, where that lies beyond it."""
    return instant + duration if duration < _LAST - instant else _LAST


def stored(task: NewTask, now: datetime) -> StoredTask:
    """A new task as it is stored."""
    return StoredTask(
        id=task.id,
        token=task.token,
        name=task.name,
        payload=task.payload,
        codec=task.codec,
        mode=task.mode,
        queue=task.queue,
        priority=task.priority,
        eta=later(now, task.delay) if task.eta is None else task.eta.astimezone(UTC),
        deadline=_deadline(now, task.overdue_after),
        options=task.options,
        created=now,
    )


def takes(request: ClaimRequest, task: StoredTask, now: datetime) -> bool:
    """Whether a request could take a task, now or once its eta has come; how many it takes is another matter."""
    return (
        task.status is TaskStatus.pending
        and request.slots.get(task.mode, 0) > 0
        and task.name in request.names
        and (request.queues is None or task.queue in request.queues)
        and in_time(task, max(now, task.eta))
    )


def in_time(task: StoredTask, instant: datetime) -> bool:
    """Whether a task may start at an instant: its deadline, if it has one, is still to come."""
    return task.deadline is None or instant < task.deadline


def rank(task: StoredTask) -> tuple[int, datetime, int]:
    """Of tasks that are due, the one of the smallest rank is claimed first."""
    return -task.priority, task.eta, task.id


def claimed(task: StoredTask, request: ClaimRequest, now: datetime) -> StoredTask:
    """A task once a worker has claimed it."""
    return replace(
        task,
        status=TaskStatus.started,
        run=task.run + 1,
        worker=request.worker,
        lease=request.lease,
        lease_end=later(now, request.lease),
        started=now,
        cancel_requested=False,
    )


def born_claimed(task: NewTask, request: ClaimRequest, now: datetime) -> StoredTask:
    """A new task as it is stored by the worker that claims it at once."""
    return claimed(stored(task, now), request, now)


def is_held(task: StoredTask, worker: str, run: int) -> bool:
    """Whether a worker still has the lease of a run, be it past its end."""
    return (task.status, task.worker, task.run) == (TaskStatus.started, worker, run)


def renewed(task: StoredTask, request: RenewRequest, now: datetime) -> StoredTask:
    """A task once its lease has been extended."""
    return replace(task, lease=request.lease, lease_end=later(now, request.lease))


def expires(task: StoredTask) -> datetime | None:
    """From when on a task can be rescued; ``None``: it is not started."""
    if task.status is not TaskStatus.started or task.lease is None or task.lease_end is None:
        return None
    return later(task.lease_end, task.lease / RESCUE_AFTER)


def answer(change: Change, task: StoredTask | None, now: datetime) -> ChangeAnswer:
    """What to answer to a change of a task, or of none; it is written if ``accepted``."""
    if task is None or task.run != change.run:
        return ChangeAnswer.refused
    if change.guard is not Guard.holder:
        return ChangeAnswer.accepted if holds(change.guard, task, now) else ChangeAnswer.refused
    if task.worker != change.worker:
        return ChangeAnswer.refused
    if task.settled_run == task.run:
        return ChangeAnswer.already
    # A held task whose run was never settled was held without its holder's word: by its own crash.
    holding = task.status in (TaskStatus.started, TaskStatus.held)
    return ChangeAnswer.accepted if holding else ChangeAnswer.refused


def changed(task: StoredTask, change: Change, now: datetime) -> StoredTask:
    """A task once a change has been carried out."""
    if change.status is None:
        return replace(task, cancel_requested=change.cancel_requested)
    return replace(
        task,
        status=change.status,
        run=task.run + 1 if change.raise_run else task.run,
        settled_run=task.run if change.guard is Guard.holder else task.settled_run,
        eta=later(now, change.delay) if change.status is TaskStatus.pending else task.eta,
        deadline=_deadline(now, change.overdue_after) if change.raise_run else task.deadline,
        finished=now if change.status.is_final else None,
        lease=None,
        lease_end=None,
        cancel_requested=False,
        failures=task.failures if change.failures is None else change.failures,
        crashes=task.crashes if change.crashes is None else change.crashes,
        interruptions=task.interruptions if change.interruptions is None else change.interruptions,
        result=change.result,
        error=change.error,
        reason=change.reason,
    )


def holds(guard: Guard, task: StoredTask, now: datetime) -> bool:
    """Whether a guard holds; ``holder`` never does, as it is about a change: see `answer`."""
    match guard:
        case Guard.expired:
            return (begin := expires(task)) is not None and now >= begin
        case Guard.overdue:
            return task.status is TaskStatus.pending and not in_time(task, now)
        case Guard.resting:
            return task.status is not TaskStatus.started
        case Guard.running:
            return task.status is TaskStatus.started
        case Guard.waiting:
            return task.status in (TaskStatus.pending, TaskStatus.held)
        case Guard.holder:
            return False


def fits(query: TaskQuery, task: StoredTask, now: datetime) -> bool:
    """Whether a task is one that a query asks for; order and limit are another matter."""
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


def key_use(task: NewTask, key: UniqueKey, now: datetime) -> KeyUse:
    """What to keep of a unique key that a new task takes."""
    ends = later(now, key.period) if key.period is not None else None
    return KeyUse(task_id=task.id, until=key.until, ends=ends)


def in_use(use: KeyUse, task: StoredTask | None, now: datetime) -> bool:
    """Whether a unique key is in use still; *task* is the one that took it, if it is stored still."""
    match use.until:
        case UniqueUntil.started:
            return task is not None and task.status is TaskStatus.pending
        case UniqueUntil.finished:
            return task is not None and not task.status.is_final
        case UniqueUntil.period:
            return use.ends is not None and now < use.ends
        case UniqueUntil.forever:
            return True


def _deadline(now: datetime, overdue_after: timedelta | None) -> datetime | None:
    return None if overdue_after is None else later(now, overdue_after)
