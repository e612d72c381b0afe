"""Group commit."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from .._errors import StoreUnavailableError
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
        self._waiting: deque[tuple[Change, asyncio.Future[ChangeAnswer]]] = deque()
        self._work = asyncio.Event()
        self._unsettled = self._unsettled_bytes = 0
        self._closed = False
        self.flushed = asyncio.Event()
        self.flushed.set()

    def settle(self, change: Change) -> asyncio.Future[ChangeAnswer]:
        """Have *change* written; the future has the store's answer, or the error that it alone causes.

        It is written also when whoever waits for the answer is cancelled.
        """
        answer: asyncio.Future[ChangeAnswer] = asyncio.get_running_loop().create_future()
        if self._closed:
            answer.set_exception(_too_late())
            return answer
        self._waiting.append((change, answer))
        self._unsettled += 1
        self._unsettled_bytes += _size(change)
        self.flushed.clear()
        self._work.set()
        return asyncio.shield(answer)

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
                self._waiting.extendleft(reversed([each for each in batch if not each[1].done()]))
                self._work.set()
                raise
            failures.succeeded()

    def close(self) -> None:
        """Give up what has not been written, and all that comes later: the leases of those tasks will end."""
        self._closed = True
        while self._waiting:
            _, answer = self._waiting.popleft()
            answer.set_exception(_too_late())
        self._unsettled = self._unsettled_bytes = 0
        self.flushed.set()

    def _batch(self) -> list[tuple[Change, asyncio.Future[ChangeAnswer]]]:
        batch: list[tuple[Change, asyncio.Future[ChangeAnswer]]] = []
        size = 0
        while self._waiting and len(batch) < MAX_ROWS and size < MAX_BYTES:
            change, answer = self._waiting.popleft()
            size += _size(change)
            batch.append((change, answer))
        if not self._waiting:
            self._work.clear()
        return batch

    async def _write(self, batch: Sequence[tuple[Change, asyncio.Future[ChangeAnswer]]]) -> None:
        try:
            answers, trouble = await change_apart(self._store, [change for change, _ in batch])
        except StoreUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a row does to a store, it is logged with it
            # One row that the store cannot take must not harm the others: halve until it stands alone.
            if len(batch) == 1:
                self._refuse(*batch[0], error)
                return
            middle = len(batch) // 2
            await self._write(batch[:middle])
            await self._write(batch[middle:])
            return
        written = []
        for (change, future), answer in zip(batch, answers, strict=True):
            if answer is not None:
                self._done(change)
                future.set_result(answer)
                written.append(change)
        self._settled(written)
        if trouble is not None:
            raise trouble

    def _refuse(self, change: Change, future: asyncio.Future[ChangeAnswer], error: Exception) -> None:
        self._logger.error(
            "The outcome of task %s cannot be stored: %r",
            change.id,
            error,
            exc_info=error,
            extra={"task_id": change.id},
        )
        self._done(change)
        future.set_exception(error)

    def _done(self, change: Change) -> None:
        was_backlogged = self.is_backlogged
        self._unsettled -= 1
        self._unsettled_bytes -= _size(change)
        if was_backlogged and not self.is_backlogged:
            self._relieved()  # nothing was claimed because of the backlog
        if not self._unsettled:
            self.flushed.set()


def _size(change: Change) -> int:
    """About how many bytes it takes: text is counted by its characters."""
    return len(change.result or b"") + len(change.error or "") + len(change.reason or "")


def _too_late() -> StoreUnavailableError:
    return StoreUnavailableError(operation="change_tasks", problem="the worker was shut down before it did")
