"""Ordinary records, of which a law changes what it is about."""
# ruff: noqa: S101 - a law asserts

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from kapusta._crud import BaseCRUD
from kapusta._enums import TaskExecutionMode, TaskStatus
from kapusta._records import (
    AddOutcome,
    Change,
    ChangeAnswer,
    ClaimRequest,
    Claims,
    Guard,
    NewTask,
    Renewal,
    Renewed,
    RenewRequest,
    StoredTask,
    TaskQuery,
)

SYNC: Final = TaskExecutionMode.sync
ASYNC: Final = TaskExecutionMode.async_
THREAD: Final = TaskExecutionMode.thread
PROCESS: Final = TaskExecutionMode.process

SLACK: Final = timedelta(minutes=1)
"""How far a store whose clock runs on may be from where a law expects it."""

HOUR: Final = timedelta(hours=1)
LEASE: Final = timedelta(minutes=30)
"""A third of it is ten minutes: a task that nobody renews is rescued after forty."""

EVERY_MODE: Final[Mapping[TaskExecutionMode, int]] = dict.fromkeys(TaskExecutionMode, 1000)

_ids: Final = itertools.count(1_000_001)


def task(**fields: Any) -> NewTask:
    """A task that is due at once; each has a greater id than the one before."""
    number = next(_ids)
    ordinary: dict[str, Any] = {"id": number, "token": f"token-{number}", "name": "work", "payload": b"{}"}
    return NewTask(**ordinary | fields)


def request(worker: str = "ann", **fields: Any) -> ClaimRequest:
    """A request of a worker that knows ``work`` and has room in every mode."""
    ordinary: dict[str, Any] = {"lease": LEASE, "slots": EVERY_MODE, "names": frozenset({"work"})}
    return ClaimRequest(worker=worker, **ordinary | fields)


def settled(task: StoredTask, **fields: Any) -> Change:
    """The change by which the worker that was given *task* by a claim reports a success."""
    ordinary: dict[str, Any] = {"guard": Guard.holder, "worker": task.worker, "status": TaskStatus.success}
    return Change(id=task.id, run=task.run, **ordinary | fields)


def changed(task: StoredTask, guard: Guard, **fields: Any) -> Change:
    """A change by somebody who has found *task* and holds no claim."""
    return Change(id=task.id, run=task.run, guard=guard, **fields)


def reaped(task: StoredTask, **fields: Any) -> Change:
    """The change by which any worker rescues *task* from one that is gone."""
    return changed(task, Guard.expired, status=fields.pop("status", TaskStatus.pending), **fields)


async def add(store: BaseCRUD, *tasks: NewTask) -> list[AddOutcome]:
    """Add tasks, and give the outcomes."""
    return [added.outcome for added in await store.add_tasks(tasks)]


async def stored(store: BaseCRUD, new: NewTask) -> StoredTask:
    """Add a task, and give it as it is stored."""
    await store.add_tasks([new])
    return await look(store, new.id)


async def look(store: BaseCRUD, id: int) -> StoredTask:
    """The task with this id; there must be one."""
    found = await store.find_tasks(TaskQuery(ids=frozenset({id})))
    assert [each.id for each in found] == [id], f"a find by the id {id} should give that task"
    return found[0]


async def found(store: BaseCRUD, **fields: Any) -> list[int]:
    """The ids that a query finds, in the order of the answer."""
    return [each.id for each in await store.find_tasks(TaskQuery(**fields))]


async def claim(store: BaseCRUD, worker: str = "ann", **fields: Any) -> Claims:
    """Claim what a worker can have."""
    return await store.claim_tasks(request(worker, **fields))


async def claimed(store: BaseCRUD, worker: str = "ann", **fields: Any) -> list[int]:
    """The ids that a worker is given, in the order of the answer."""
    return [each.id for each in (await claim(store, worker, **fields)).tasks]


async def started(store: BaseCRUD, new: NewTask | None = None, worker: str = "ann") -> StoredTask:
    """Add a task, let *worker* claim it, and give what the claim gave; nothing else may be claimable."""
    await store.add_tasks([new or task()])
    (given,) = (await claim(store, worker)).tasks
    return given


async def reclaimed(store: BaseCRUD, worker: str) -> StoredTask:
    """The one task that *worker* is given."""
    (given,) = (await claim(store, worker)).tasks
    return given


async def answer(store: BaseCRUD, change: Change) -> ChangeAnswer:
    """The answer to one change."""
    (only,) = await store.change_tasks([change])
    return only.answer


async def renewed(store: BaseCRUD, task: StoredTask, *, lease: timedelta = LEASE, **fields: Any) -> Renewed:
    """The answer to the renewal of one task, by the worker that was given it."""
    (only,) = await renewed_all(store, [task], lease=lease, **fields)
    return only


async def renewed_all(
    store: BaseCRUD, tasks: Iterable[StoredTask], *, worker: str | None = None, lease: timedelta = LEASE
) -> list[Renewed]:
    """The answers to the renewal of several tasks of one worker."""
    tasks = list(tasks)
    renewals = [Renewal(id=each.id, run=each.run) for each in tasks]
    owner = worker if worker is not None else str(tasks[0].worker)
    return list(await store.renew_leases(RenewRequest(worker=owner, lease=lease, renewals=renewals)))


def near(instant: datetime | None, expected: datetime) -> bool:
    """Whether an instant is the expected one, but for what a running clock adds."""
    return instant is not None and abs(instant - expected) < SLACK
