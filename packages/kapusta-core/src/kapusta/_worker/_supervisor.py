"""A loop that no store error can end."""

from __future__ import annotations

import logging
import random
import traceback
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from .._backoff import Backoff
from .._clock import Clock
from .._errors import StoreUnavailableError
from .._events import LogEvent, log_event

PAUSES: Final = Backoff(initial=timedelta(milliseconds=100), maximum=timedelta(seconds=10))


class Failures:
    """Counts failures in a row: how long to pause, and when to say so; written by the loop that fails.

    They are logged at a falling rate: the first, the second, the fourth, the eighth ... An unavailable store
    is a warning in one line, anything else an error with its traceback.
    """

    def __init__(self, what: str, longest: float, logger: logging.Logger) -> None:
        self._what, self._longest, self._logger = what, longest, logger
        self.in_a_row = 0

    def failed(self, error: Exception) -> float:
        """Note *error*, and answer for how many seconds to pause."""
        self.in_a_row += 1
        pause = PAUSES.delay(self.in_a_row, random.uniform(0.5, 1.0)).total_seconds()  # noqa: S311 - jitter
        if self.in_a_row & (self.in_a_row - 1) == 0:
            try:
                self._say(error)
            except Exception:  # noqa: BLE001 - a filter of the application's that fails must end no loop of ours
                traceback.print_exc()  # as logging does for a handler that fails
        return min(pause, self._longest)

    def succeeded(self) -> None:
        failed, self.in_a_row = self.in_a_row, 0
        if failed > 1:
            what = "%s works again after %d failure(s)."
            log_event(self._logger, LogEvent.loop_recovered, what, self._what, failed)

    def _say(self, error: Exception) -> None:
        known = isinstance(error, StoreUnavailableError)
        log_event(
            self._logger,
            LogEvent.loop_paused if known else LogEvent.loop_failed,
            "%s failed %d time(s) in a row and goes on: %s",
            self._what,
            self.in_a_row,
            error if known else repr(error),
            exc_info=None if known else error,
        )


async def supervise(
    what: str,
    loop: Callable[[Failures], Awaitable[None]],
    clock: Clock,
    logger: logging.Logger,
    *,
    longest: float,
) -> None:
    """Run *loop*, which never returns; after an error pause, for *longest* seconds at most, and run it again.

    The loop calls ``succeeded()`` of what it is given after each round that worked.
    """
    failures = Failures(what, longest, logger)
    while True:
        try:
            await loop(failures)
        except Exception as error:  # noqa: BLE001 - logged with what it is; a loop of ours never gives up
            await clock.sleep(failures.failed(error))
