"""Log events: the stable words, their levels and meanings, and the one function that logs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from enum import Enum, unique
from typing import Final

from ._brief import in_one_line


@unique
class LogEvent(Enum):
    """One kind of log record; its name is the ``event`` of the record.

    A name never changes its meaning, and every record of one event has the same level.

    Attributes:
        word: the value of ``event`` in the record.
        level: the level, as ``logging`` counts it.
        meaning: one line for the operator.
    """

    # --- about a task: the record has all of TASK_FIELDS -------------------------------------------

    task_started = logging.INFO, "The body begins."
    task_succeeded = logging.INFO, "The function returned, and its result is stored."
    task_failed = logging.ERROR, "The function raised, and no retry follows."
    task_timed_out = logging.ERROR, "The function exceeded its timeout, and no retry follows."
    task_retried = logging.INFO, "The attempt failed; the next one follows after the backoff."
    task_crashed = logging.WARNING, "The attempt ended without an outcome; it is repeated."
    task_interrupted = logging.INFO, "A shutdown stopped the body; another worker runs the task again."
    task_released = logging.INFO, "The worker returned the task before its body began."
    task_held = logging.ERROR, "The task does not run again until a person decides."
    task_cancelled = logging.INFO, "The task was stopped because its cancellation was requested."
    task_overdue = logging.WARNING, "The deadline passed before a worker started the task."
    task_rescued = logging.WARNING, "The lease of a lost worker expired; the task runs again."
    task_already_settled = logging.INFO, "The outcome of this very run was stored before."
    task_result_problem = logging.ERROR, "The function returned; its result is not stored as it was returned."
    task_refused = logging.WARNING, "A late outcome was refused: the worker had lost its claim."
    task_lease_expired = logging.WARNING, "The worker could not renew the lease in time."
    task_lease_lost = logging.WARNING, "The worker stops the body because it lost the lease."
    task_lease_kept = logging.WARNING, "The lease is kept: whether a transaction committed is unknown."
    task_grace_passed = logging.WARNING, "The body still runs after the grace of a shutdown, and is stopped."
    task_abandoned = logging.WARNING, "The body cannot be stopped; the task is rescued when its lease ends."
    task_dropped = (
        logging.WARNING,
        "The application cancelled the run; the task is rescued when its lease ends.",
    )
    task_unsettled = logging.WARNING, "The outcome was not stored; the task is rescued when its lease ends."
    task_unstorable = (
        logging.ERROR,
        "The store cannot write this outcome; the task is rescued when its lease ends.",
    )
    task_broken = logging.ERROR, "The worker failed around the body; the task is rescued when its lease ends."
    task_unreadable = logging.ERROR, "A stored row cannot be read as a task; it stays as it is."
    task_blocked_loop = logging.WARNING, "A body in mode sync blocked the event loop for long."

    # --- about a worker ------------------------------------------------------------------------------

    worker_started = logging.INFO, "The command runs a worker."
    worker_stopping = logging.INFO, "A signal, or the end of the leading process, ends the worker gracefully."
    worker_failed = logging.ERROR, "The command ends: its target or its store cannot be used."
    worker_ended = logging.ERROR, "The worker ended by an error; nothing runs until the next startup."
    processes_started = logging.INFO, "The command starts its worker processes."
    processes_killed = logging.WARNING, "A second signal ends the worker processes at once."
    process_ended = logging.ERROR, "A worker process ended unasked; the next one starts after a pause."
    loop_paused = logging.WARNING, "The store is unavailable; the loop pauses and goes on."
    loop_failed = logging.ERROR, "A loop of the worker failed; it pauses and goes on."
    loop_recovered = logging.INFO, "A loop works again after failures."
    callback_failed = logging.ERROR, "A callback of the worker failed after an outcome was stored."
    claim_unresolved = logging.WARNING, "Tasks of a claim whose reply was lost wait until their lease ends."
    watchdog_missing = logging.WARNING, "No watchdog process can be started for the child processes."
    watchdog_replaced = logging.WARNING, "The watchdog process had ended; another one was started."
    keeper_ended = logging.ERROR, "The lease keeper failed; no lease is renewed."
    keeper_left_behind = logging.WARNING, "The thread of the lease keeper did not end in time."
    keeper_missing = logging.ERROR, "The worker claims nothing because its lease keeper is gone."

    # --- about a store -------------------------------------------------------------------------------

    store_not_closed = logging.WARNING, "A handle of the store could not be closed."
    store_not_durable = logging.WARNING, "The server is configured to forget commits when its machine fails."
    migration_waiting = logging.WARNING, "Another process migrates the tables; this one waits for it."
    claim_cut_short = logging.WARNING, "A second query of one claim failed; the tasks of the first run."
    listener_deaf = (
        logging.WARNING,
        "The connection that listens for tasks receives nothing, and is replaced.",
    )
    listener_polling = logging.WARNING, "A pooler prevents listening; the worker polls instead."
    listener_disconnected = (
        logging.DEBUG,
        "The connection that listens for tasks is lost, and is opened again.",
    )
    watch_failed = logging.DEBUG, "The database file cannot be watched now."
    wakeup_not_sent = logging.DEBUG, "A wake-up for other processes could not be sent; they poll."
    connection_replaced = logging.DEBUG, "An idle connection was closed by the server, and is replaced."
    connection_not_closed = logging.DEBUG, "A connection could not be closed in order."

    def __init__(self, level: int, meaning: str) -> None:
        self.word, self.level, self.meaning = self._name_, level, meaning


TASK_FIELDS: Final = ("task_id", "task_name", "attempt", "status", "duration")
"""The fields of every record about a task; one that is unknown to the writer is ``None``."""


def task_fields(
    task_id: int,
    name: str | None = None,
    *,
    attempt: int | None = None,
    status: str | None = None,
    duration: float | None = None,
) -> dict[str, object]:
    """Return the fields of a record about a task.

    Args:
        task_id: the id of the task.
        name: the name that the task is stored under; control characters are escaped.
        attempt: the failures before this attempt, plus 1.
        status: the status after the event.
        duration: how many seconds the body of the attempt took.
    """
    return {
        "task_id": task_id,
        "task_name": None if name is None else in_one_line(name),
        "attempt": attempt,
        "status": None if status is None else str(status),
        "duration": duration,
    }


def log_event(
    logger: logging.Logger,
    event: LogEvent,
    message: str,
    *args: object,
    fields: Mapping[str, object] | None = None,
    exc_info: BaseException | None = None,
) -> None:
    """Log *message* as *event*, unless its level is off.

    Control characters of *args* are escaped, so that no stored text can start a line or move a terminal's cursor.

    Args:
        logger: where to log.
        event: gives the level, and the field ``event``.
        message: a constant template, by which records can be grouped.
        args: what the template is filled with; all but numbers are converted to text.
        fields: further fields of the record.
        exc_info: the exception whose traceback the record carries.
    """
    if logger.isEnabledFor(event.level):
        logger.log(
            event.level,
            message,
            *[each if isinstance(each, (int, float)) else in_one_line(str(each)) for each in args],
            exc_info=exc_info,
            extra={"event": event.word, **(fields or {})},
            stacklevel=2,  # the caller is the place that the record names
        )
