"""Group commit."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from .._errors import StoreUnavailableError
from .._events import LogEvent, log_event
from .._records import Change, ChangeAnswer
from .._store import Store
from ._changing import change_apart
from ._supervisor import Failures

MAX_ROWS: Final = 500
MAX_BYTES: Final = 4 << 20
BACKLOG: Final = 1000
"""With so many outcomes waiting for the store, no further task is claimed."""

BACKLOG_BYTES: Final = 64 << 20
"""Nor when those that wait take so many bytes."""


Answered = Callable[[ChangeAnswer | None, Exception | None], object]
"""Called once: with the store's answer to a change, or with the error that kept it from being written."""

_Batch = list[tuple[Change, Answered]]


class Settler:
    """Writes what has become of tasks, as many at once as have gathered; written by the worker's loop.

    While one write is under way the next outcomes gather; there is no timer, so an idle settler adds no
    latency. Outcomes wait here as long as the store is away. Repeating a write whose reply was lost is safe.
    """

    def __init__(
        self,
        store: Store,
        settled: Callable[[Sequence[Change]], object],
        relieved: Callable[[], object],
        logger: logging.Logger,
    ) -> None:
        self._store, self._settled, self._relieved, self._logger = store, settled, relieved, logger
        self._waiting: deque[tuple[Change, Answered]] = deque()
        self._work = asyncio.Event()
        self._unsettled = self._unsettled_bytes = 0
        self._closed = False
        self.flushed = asyncio.Event()
        self.flushed.set()

    def settle(self, change: Change, answered: Answered) -> None:
        """Have *change* written, and then *answered* called; an error concerns this change alone."""
        if self._closed:
            answered(None, _too_late())
            return
        self._waiting.append((change, answered))
        self._unsettled += 1
        self._unsettled_bytes += _size(change)
        if self._unsettled == 1:
            self.flushed.clear()
        self._work.set()

    @property
    def is_backlogged(self) -> bool:
        return self._unsettled >= BACKLOG or self._unsettled_bytes >= BACKLOG_BYTES

    async def run(self, failures: Failures) -> None:
        """Settle for ever."""
        while True:
            await self._work.wait()
            batch = self._batch()
            try:
                await self._write(batch)
            except BaseException:
                self._waiting.extendleft(reversed(batch))  # what has no answer yet
                self._work.set()
                raise
            failures.succeeded()

    def close(self) -> None:
        """Give up what has not been written, and all that comes later: the leases of those tasks will end."""
        self._closed = True
        while self._waiting:
            _, answered = self._waiting.popleft()
            self._tell(answered, None, _too_late())
        self._unsettled = self._unsettled_bytes = 0
        self.flushed.set()

    def _batch(self) -> _Batch:
        batch: _Batch = []
        size = 0
        while self._waiting and len(batch) < MAX_ROWS and size < MAX_BYTES:
            each = self._waiting.popleft()
            size += _size(each[0])
            batch.append(each)
        if not self._waiting:
            self._work.clear()
        return batch

    async def _write(self, batch: _Batch) -> None:
        """Write *batch*, and remove from it each change that has its answer."""
        try:
            answers, trouble = await change_apart(self._store, [change for change, _ in batch])
        except StoreUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a row does to a store, its callback logs it
            # One row that the store cannot take must not harm the others: halve until it stands alone.
            if len(batch) == 1:
                self._refuse(*batch.pop(), error)
                return
            middle = len(batch) // 2
            halves = batch[:middle], batch[middle:]
            try:
                for half in halves:
                    await self._write(half)
            finally:
                batch[:] = [each for half in halves for each in half]
            return
        told = list(zip(batch, answers, strict=True))
        batch[:] = [each for each, answer in told if answer is None]
        written = [change for (change, _), answer in told if answer is not None]
        self._done(written)
        for (_, answered), answer in told:
            if answer is not None:
                self._tell(answered, answer, None)
        self._settled(written)
        if trouble is not None:
            raise trouble

    def _refuse(self, change: Change, answered: Answered, error: Exception) -> None:
        self._done([change])
        self._tell(answered, None, error)

    def _tell(self, answered: Answered, answer: ChangeAnswer | None, problem: Exception | None) -> None:
        try:
            answered(answer, problem)
        except Exception as error:  # noqa: BLE001 - what one callback does must not keep others from their answers
            what = "A callback failed at the answer to an outcome: %s"
            try:
                log_event(self._logger, LogEvent.callback_failed, what, repr(error), exc_info=error)
            except Exception:  # noqa: BLE001 - a filter of the application's that fails must keep no answer back
                traceback.print_exc()  # as logging does for a handler that fails

    def _done(self, changes: Sequence[Change]) -> None:
        was_backlogged = self.is_backlogged
        self._unsettled -= len(changes)
        self._unsettled_bytes -= sum(map(_size, changes))
        if was_backlogged and not self.is_backlogged:
            self._relieved()  # nothing was claimed because of the backlog
        if not self._unsettled:
            self.flushed.set()


def _size(change: Change) -> int:
    """About how many bytes it takes: text is counted by its characters."""
    size = 0 if change.result is None else len(change.result)
    if change.error is not None:
        size += len(change.error)
    return size if change.reason is None else size + len(change.reason)


def _too_late() -> StoreUnavailableError:
    return StoreUnavailableError(operation="change_tasks", problem="the worker was shut down before it did")
