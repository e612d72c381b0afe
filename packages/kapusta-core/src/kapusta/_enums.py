"""Statuses, modes, and which status may follow which."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class TaskStatus(StrEnum):
    """Where a task stands.

    Attributes:
        pending: waits for its eta and for a worker.
        started: a worker has claimed it and holds its lease.
        success: the function returned.
        error: the function raised, and no retry is left.
        timeout: the function took longer than its ``timeout``, and no retry is left.
        overdue: its deadline passed before it could start.
        cancelled: somebody cancelled it.
        held: it cannot or must not run again by itself; ``reason`` says why, a person decides.
    """

    pending = "pending"
    started = "started"
    success = "success"
    error = "error"
    timeout = "timeout"
    overdue = "overdue"
    cancelled = "cancelled"
    held = "held"

    @property
    def is_final(self) -> bool:
        """Whether nothing but a retry by hand leads out of this status; ``held`` is not final."""
        return self in FINAL


class TaskExecutionMode(StrEnum):
    """Where the body of a task runs.

    Attributes:
        sync: in the event loop's own thread, which it blocks; takes no timeout.
        async_: on the event loop; the only mode for ``async def`` functions.
        thread: in a daemon thread; a timeout is reported, the thread itself cannot be stopped.
        process: in a process of its own, which is killed at its timeout.
    """

    sync = "sync"
    async_ = "async_"
    thread = "thread"
    process = "process"


class OnCrash(StrEnum):
    """What becomes of a task whose worker or child process ended under it.

    Attributes:
        retry: it runs again, at most ``max_crashes`` times in a row.
        hold: it is held until a person decides.
    """

    retry = "retry"
    hold = "hold"


FINAL: Final = frozenset(
    {TaskStatus.success, TaskStatus.error, TaskStatus.timeout, TaskStatus.overdue, TaskStatus.cancelled}
)

TRANSITIONS: Final[Mapping[TaskStatus, frozenset[TaskStatus]]] = MappingProxyType(
    {
        TaskStatus.pending: frozenset(
            {TaskStatus.started, TaskStatus.overdue, TaskStatus.cancelled, TaskStatus.held}
        ),
        TaskStatus.started: frozenset(
            {
                TaskStatus.pending,
                TaskStatus.success,
                TaskStatus.error,
                TaskStatus.timeout,
                TaskStatus.cancelled,
                TaskStatus.held,
            }
        ),
        TaskStatus.held: frozenset(
            {
                TaskStatus.success,
                TaskStatus.error,
                TaskStatus.timeout,
                TaskStatus.cancelled,
                TaskStatus.pending,
            }
        ),
        TaskStatus.success: frozenset({TaskStatus.pending}),
        TaskStatus.error: frozenset({TaskStatus.pending}),
        TaskStatus.timeout: frozenset({TaskStatus.pending}),
        TaskStatus.overdue: frozenset({TaskStatus.pending}),
        TaskStatus.cancelled: frozenset({TaskStatus.pending}),
    }
)
"""Which status may follow which; the only place that says so."""
