"""What may come of asking about a task."""

from __future__ import annotations

from .._enums import TaskStatus
from ._root import KapustaError


class TaskNotFoundError(KapustaError, LookupError):
    """No task has this id."""

    def __init__(self, *, task_id: int) -> None:
        self.task_id = task_id
        super().__init__(
            f"No task has the id {task_id} in this store. Was it deleted, rolled back, launched on another, or "
            f"launched in a transaction that has not committed yet?"
        )


class TaskFailedError(KapustaError):
    """A task has ended, or is held, without a result.

    Attributes:
        task_id: which.
        status: ``error``, ``timeout``, ``overdue``, ``cancelled`` or ``held``.
        error: the traceback of the body's exception, if it raised one.
        reason: why Kapusta decided so, if it was Kapusta that did.
    """

    def __init__(self, *, task_id: int, name: str, status: TaskStatus, error: str | None, reason: str | None):
        self.task_id, self.name, self.status, self.error, self.reason = task_id, name, status, error, reason
        details = reason or (error.strip().rpartition("\n")[2] if error else None)
        super().__init__(
            f"Task {task_id} ('{name}') ended as '{status}'" + (f": {details}" if details else ".")
        )


class TaskNotFinishedError(KapustaError, TimeoutError):
    """A task did not end while ``result(timeout=...)`` waited."""

    def __init__(self, *, task_id: int, status: TaskStatus, timeout: float) -> None:
        self.task_id, self.status, self.timeout = task_id, status, timeout
        super().__init__(
            f"Task {task_id} is still '{status}' after {timeout:g} s. It goes on; ask again, or wait longer."
        )


class ResultNotStoredError(KapustaError, LookupError):
    """A task succeeded, and its result could not be stored."""

    def __init__(self, *, task_id: int, reason: str | None) -> None:
        self.task_id, self.reason = task_id, reason
        super().__init__(f"Task {task_id} succeeded, but has no result: {reason or 'none was stored'}")


class ResultUnreadableError(KapustaError, LookupError):
    """A stored result does not fit the return annotation of the function, as it is here, or is not for us."""

    def __init__(
        self,
        *,
        task: str,
        problem: str,
        remedy: str = "Mend the function's return annotation, or drop it to get plain JSON; the result stays stored.",
    ) -> None:
        self.task, self.problem, self.remedy = task, problem, remedy
        super().__init__(
            f"A run of task '{task}' succeeded, but its stored result cannot be read here: {problem}. {remedy}"
        )
