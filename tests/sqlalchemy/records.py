"""Records that the tests of this folder store and send."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

from kapusta.backend import (
    Change,
    ClaimRequest,
    Guard,
    NewTask,
    Renewal,
    RenewRequest,
    StoredTask,
    TaskExecutionMode,
    TaskStatus,
)

LEASE = timedelta(seconds=30)
WORKER = "worker"
_ids = itertools.count(1)


def new(**fields: Any) -> NewTask:
    """A task that nobody has stored yet."""
    id = fields.pop("id", None) or next(_ids)
    given: dict[str, Any] = {"id": id, "token": f"token-{id}", "name": "known", "payload": b"{}"}
    return NewTask(**given | fields)


def claim(of_each: int = 10, **fields: Any) -> ClaimRequest:
    """A request of a worker that knows the tasks of `new`, for so many of each mode."""
    given: dict[str, Any] = {
        "worker": WORKER,
        "lease": LEASE,
        "slots": dict.fromkeys(TaskExecutionMode, of_each),
        "names": frozenset({"known"}),
    }
    return ClaimRequest(**given | fields)


def settled(task: StoredTask, **fields: Any) -> Change:
    """The success of a task that was claimed by `claim`."""
    given = {"guard": Guard.holder, "worker": WORKER, "status": TaskStatus.success, "result": b"null"}
    return Change(**{"id": task.id, "run": task.run} | given | fields)


def renewal(*tasks: StoredTask) -> RenewRequest:
    """A renewal of the leases of these."""
    return RenewRequest(
        worker=WORKER, lease=LEASE, renewals=[Renewal(id=task.id, run=task.run) for task in tasks]
    )
