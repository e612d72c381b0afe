"""Batches whose rows differ in little: a second, narrow text serves them."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from kapusta.backend import Change, NewTask, TaskStatus

_shared = attrgetter(
    "token", "name", "codec", "mode", "queue", "priority", "eta", "delay", "overdue_after", "options"
)


def are_alike(tasks: Sequence[NewTask]) -> bool:
    """Whether new tasks differ in id and payload alone, and take no keys: those of one `launch_many` do."""
    first = tasks[0]
    if first.unique is not None:
        return False
    shared = _shared(first)
    return all(task.unique is None and _shared(task) == shared for task in tasks)


def common_winner(changes: Sequence[Change]) -> str | None:
    """Return the worker whose plain successes all *changes* are; ``None`` if they are something else too."""
    worker = changes[0].worker
    return worker if all(_is_plain_success(change, worker) for change in changes) else None


def _is_plain_success(change: Change, worker: str | None) -> bool:
    return (
        change.status is TaskStatus.success
        and change.worker == worker
        and change.crashes == 0
        and change.reason is None
        and change.error is None
        and change.failures is None
        and change.interruptions is None
        and not change.raise_run
    )
