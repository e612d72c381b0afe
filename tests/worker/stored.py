"""A task as it is stored."""

from __future__ import annotations

from kapusta import Kapusta
from kapusta.backend import BaseCRUD, StoredTask, TaskQuery


async def stored(where: Kapusta | BaseCRUD, task_id: int) -> StoredTask:
    """The record of one task, which is there."""
    crud = where.crud if isinstance(where, Kapusta) else where
    (task,) = await crud.find_tasks(TaskQuery(ids=frozenset({int(task_id)})))
    return task
