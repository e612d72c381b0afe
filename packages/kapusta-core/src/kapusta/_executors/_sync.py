"""In the loop's own thread."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Final

from .._clock import Clock
from .._enums import TaskStatus
from .._events import LogEvent, log_event, task_fields
from ._attempt import Attempt, Body, Ended, Raised

LONG: Final = timedelta(seconds=1)
"""A body that blocks the loop for longer earns a warning."""


class SyncExecutor:
    """Calls plain functions where the event loop runs, which stands still meanwhile."""

    def __init__(self, clock: Clock, logger: logging.Logger) -> None:
        self._clock, self._logger = clock, logger

    def warm_up(self) -> None:
        """Nothing is to be made ready."""

    async def run(self, attempt: Attempt, body: Body) -> Ended:  # noqa: ARG002 - nothing can stop it
        began = self._clock.monotonic()
        try:
            value = attempt.function(*attempt.args, **attempt.kwargs)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - also SystemExit: a body must not end the application
            return Raised.of(error)
        finally:
            self._warn(attempt, self._clock.monotonic() - began)
        return attempt.encode(value)

    def _warn(self, attempt: Attempt, seconds: float) -> None:
        if seconds > LONG.total_seconds():
            log_event(
                self._logger,
                LogEvent.task_blocked_loop,
                "Task %s '%s' blocked the event loop for %.1f s; execution_mode='thread' or 'process' would not.",
                attempt.task_id,
                attempt.name,
                seconds,
                fields=task_fields(
                    attempt.task_id,
                    attempt.name,
                    attempt=attempt.number,
                    status=TaskStatus.started,
                    duration=seconds,
                ),
            )

    async def close(self) -> None:
        """Nothing is kept."""
