"""A stored task, of which a test changes what it is about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from kapusta._enums import TaskExecutionMode, TaskStatus
from kapusta._options import Policy
from kapusta._records import StoredTask

NOW: Final = datetime(2026, 5, 17, 12, 0, tzinfo=UTC)


def stored_task(policy: Policy | None = None, **changes: Any) -> StoredTask:
    """The first run of a task, claimed just now; *policy* is stored with it."""
    task = StoredTask(
        id=7,
        token="token",
        name="shop.send_invoice",
        payload=b"{}",
        codec="json",
        mode=TaskExecutionMode.thread,
        queue="default",
        priority=0,
        eta=NOW,
        deadline=None,
        options=msgspec.json.encode(policy or Policy()),
        status=TaskStatus.started,
        run=1,
        worker="worker-1",
        lease=timedelta(seconds=30),
        lease_end=NOW + timedelta(seconds=30),
        settled_run=None,
        failures=0,
        crashes=0,
        interruptions=0,
        cancel_requested=False,
        result=None,
        error=None,
        reason=None,
        created=NOW,
        started=NOW,
        finished=None,
    )
    return task.replace(**changes)
