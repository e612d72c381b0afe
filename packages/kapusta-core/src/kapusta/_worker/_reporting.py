"""The records of a run, from start to settlement."""

from __future__ import annotations

import logging
from typing import Final

from .._enums import TaskStatus
from .._errors import StoreUnavailableError
from .._events import LogEvent, log_event, task_fields
from .._records import Change, ChangeAnswer, Guard, StoredTask
from ._running import Run

LOST_REPLY: Final = "the reply to its claim was lost"

_BY_STATUS: Final = {
    TaskStatus.success: LogEvent.task_succeeded,
    TaskStatus.error: LogEvent.task_failed,
    TaskStatus.timeout: LogEvent.task_timed_out,
    TaskStatus.overdue: LogEvent.task_overdue,
    TaskStatus.cancelled: LogEvent.task_cancelled,
    TaskStatus.held: LogEvent.task_held,
}


def event_of(change: Change) -> LogEvent:
    """Return the event that an accepted change of the status is."""
    if change.status is not TaskStatus.pending:
        return _BY_STATUS[change.status]  # type: ignore[index]  # a change that is reported has a status
    if change.guard is Guard.expired:
        return LogEvent.task_rescued
    if change.failures is not None:
        return LogEvent.task_retried
    if change.crashes is not None:
        return LogEvent.task_crashed
    return LogEvent.task_released if change.interruptions is None else LogEvent.task_interrupted


class Reporter:
    """Logs what happens to runs."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def answer(
        self, run: Run, change: Change, answer: ChangeAnswer | None, problem: Exception | None
    ) -> None:
        """Log the store's answer to the outcome of *run*, or the problem that kept it from being written."""
        if answer is ChangeAnswer.accepted:
            self._accepted(run, change)
        elif answer is ChangeAnswer.already and run.finished_within:
            if run.result_problem is not None:
                self.log(LogEvent.task_result_problem, run, run.result_problem)
            self.log(
                LogEvent.task_succeeded,
                run,
                "is 'success', stored within a transaction of its body's",
                status=TaskStatus.success,
            )
        elif answer is ChangeAnswer.already:
            self.log(
                LogEvent.task_already_settled,
                run,
                "has ended already: its outcome was stored before",
                status=change.status,
            )
        elif answer is ChangeAnswer.refused:
            self.log(
                LogEvent.task_refused,
                run,
                f"ended as '{change.status}', but its claim was lost: refused",
                status=None,  # it is another worker's, or a person's
                exc_info=_exception(run),
            )
        elif isinstance(problem, StoreUnavailableError):
            what = f"is rescued when its lease ends; its outcome was not stored: {problem}"
            self.log(LogEvent.task_unsettled, run, what)
        else:
            what = f"is rescued when its lease ends; its outcome cannot be stored: {problem!r}"
            self.log(LogEvent.task_unstorable, run, what, exc_info=problem)

    def given_back(self, task: StoredTask, answer: ChangeAnswer | None, problem: Exception | None) -> None:
        """Log what became of the release of a task that a claim without a reply had taken."""
        if problem is None and answer is not ChangeAnswer.refused:
            self._about(
                LogEvent.task_released, task, f"is 'pending': {LOST_REPLY}", status=TaskStatus.pending
            )
        elif isinstance(problem, StoreUnavailableError):
            what = f"is rescued when its lease ends; its release was not stored: {problem}"
            self._about(LogEvent.task_unsettled, task, what, status=TaskStatus.started)
        elif problem is not None:
            what = f"is rescued when its lease ends; its release cannot be stored: {problem!r}"
            self._about(LogEvent.task_unstorable, task, what, status=TaskStatus.started, exc_info=problem)

    def housekept(self, change: Change, task: StoredTask) -> None:
        """Log what the housekeeper made of a task that was overdue, or whose worker is gone."""
        what = f"is '{change.status}': {change.reason}"
        self._about(event_of(change), task, what, status=change.status)

    def lease_lost(self, run: Run) -> None:
        """Log that the body of *run* is stopped because its lease was lost."""
        self.log(LogEvent.task_lease_lost, run, "is stopped: its lease is lost")

    def grace_passed(self, run: Run) -> None:
        """Log that a shutdown stops the body of *run*."""
        self.log(LogEvent.task_grace_passed, run, "still runs after the grace of a shutdown: it is stopped")

    def _accepted(self, run: Run, change: Change) -> None:
        event = event_of(change)
        if not self._logger.isEnabledFor(event.level):
            return
        what = f"is '{change.status}'"
        if details := _details(run, change):
            what += f": {details}"
        self.log(event, run, what, status=change.status, exc_info=_exception(run))

    def log(
        self,
        event: LogEvent,
        run: Run,
        what: str,
        *,
        status: TaskStatus | None = TaskStatus.started,
        exc_info: BaseException | None = None,
    ) -> None:
        """Log *event* of *run*: its task, and then *what*."""
        self._about(event, run.task, what, status=status, duration=run.duration, exc_info=exc_info)

    def _about(
        self,
        event: LogEvent,
        task: StoredTask,
        what: str,
        *,
        status: TaskStatus | None,
        duration: float | None = None,
        exc_info: BaseException | None = None,
    ) -> None:
        if self._logger.isEnabledFor(event.level):
            log_event(
                self._logger,
                event,
                "Task %s '%s' %s",
                task.id,
                task.name,
                what,
                fields=task_fields(
                    task.id, task.name, attempt=task.failures + 1, status=status, duration=duration
                ),
                exc_info=exc_info,
            )


def _details(run: Run, change: Change) -> str:
    """Return why: the reason and the exception in a line, without what the traceback shows."""
    brief = None if run.raised is None else run.raised.brief
    if change.reason is None:
        return brief or change.error or ""
    return change.reason if brief is None or brief in change.reason else f"{change.reason}: {brief}"


def _exception(run: Run) -> BaseException | None:
    return None if run.raised is None else run.raised.exception
