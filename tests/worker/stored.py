"""A task as it is stored, and one that a worker had claimed."""

from __future__ import annotations

from datetime import timedelta

from kapusta import Kapusta
from kapusta.backend import BaseCRUD, ClaimRequest, StoredTask, TaskExecutionMode, TaskQuery


async def stored(where: Kapusta | BaseCRUD, task_id: int) -> StoredTask:
    """The record of one task, which is there."""
    crud = where.crud if isinstance(where, Kapusta) else where
    (task,) = await crud.find_tasks(TaskQuery(ids=frozenset({int(task_id)})))
    return task


async def claimed_by_the_dead(
    crud: BaseCRUD, name: str, *, count: int = 1, lease: float = 30
) -> list[StoredTask]:
    """Claim exactly so many tasks of this name, as a worker does that is then killed."""
    request = ClaimRequest(
        worker="the dead",
        lease=timedelta(seconds=lease),
        slots=dict.fromkeys(TaskExecutionMode, count),
        names=frozenset({name}),
    )
    tasks = list((await crud.claim_tasks(request)).tasks)
    assert len(tasks) == count
    return tasks
