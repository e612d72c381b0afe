"""Connections for operations: taken, given back, buried when an operation is cut short."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

from kapusta.backend import LogEvent, StoreUnavailableError, log_event

from ._dialects import Checkout, Dialect, said
from ._patience import patiently

T = TypeVar("T")

_LINGER: Final = 1.0
_log: Final = logging.getLogger("kapusta.sqlalchemy")


class Connections:
    """The connections of one started handle, on one event loop.

    An operation takes a seat, then a connection. If it is cancelled, the driver may still be at work: it is
    told to stop, the connection is closed after that, and only then the seat is free. The caller is let go
    when that is done, so that what a cancelled operation did or did not do is settled; or after a second, if
    the driver hangs.
    """

    def __init__(self, engine: AsyncEngine, dialect: Dialect, *, made: bool, disposes: bool) -> None:
        self._engine, self._dialect = engine, dialect
        self._made, self._disposes = made, disposes
        self._writers = asyncio.Semaphore(dialect.writers)
        self._readers = asyncio.Semaphore(dialect.readers)
        self._underway = 0
        self._endings: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()

    async def read(self, operation: str, work: Callable[[Any], Awaitable[T]]) -> T:
        """Do *work* with a connection, again if another writer is in the way.

        Raises:
            StoreUnavailableError: the database cannot, or not before patience ends.
            Exception: the driver's, which concerns the data of a row.
        """
        return await self._operate(operation, work, self._readers)

    async def write(self, operation: str, work: Callable[[Any], Awaitable[T]]) -> T:
        """As ``read``; in turn where the database has one writer, instead of in its busy loop."""
        return await self._operate(operation, work, self._writers)

    async def close(self) -> None:
        """Wait for what is under way, then close what is ours."""
        while self._underway or self._endings:
            self._ended.clear()
            await self._ended.wait()
        await self._dialect.close()
        if self._disposes:
            await self._engine.dispose()

    def abandon(self) -> None:
        """Forget connections whose event loop has gone."""
        if self._disposes:
            self._engine.sync_engine.dispose(close=False)

    async def _operate(
        self, operation: str, work: Callable[[Any], Awaitable[T]], seats: asyncio.Semaphore
    ) -> T:
        self._underway += 1
        try:
            return await patiently(self._dialect, operation, lambda: self._seated(operation, work, seats))
        except StoreUnavailableError:
            raise
        except self._dialect.errors as error:
            # The store was usable at startup, so an operator is at work on it: the caller keeps the row, and asks again.
            if self._dialect.refuses_data(error):
                raise
            raise StoreUnavailableError(operation=operation, problem=said(error)) from error
        finally:
            self._underway -= 1
            self._ended.set()

    async def _seated(
        self, operation: str, work: Callable[[Any], Awaitable[T]], seats: asyncio.Semaphore
    ) -> T:
        await seats.acquire()
        checkout = await self._take(operation, seats)
        try:
            answer = await work(checkout.connection)
        except asyncio.CancelledError:
            self._dialect.doubt()
            await self._end(checkout.discard(), seats)
            raise
        except Exception as error:
            trouble = self._dialect.trouble(error) if isinstance(error, self._dialect.errors) else None
            unharmed = trouble is not None and not trouble.closes and not checkout.in_transaction
            if trouble is not None and trouble.closes:
                self._dialect.doubt()
            await self._end(checkout.give_back() if unharmed else checkout.discard(), seats)
            raise
        await self._end(checkout.give_back(), seats)
        return answer

    async def _take(self, operation: str, seats: asyncio.Semaphore) -> Checkout:
        """A connection; whatever keeps it from being opened is no fault of what was to be done with it."""
        try:
            return await self._dialect.checkout(self._engine, made=self._made)
        except BaseException as error:
            seats.release()
            if isinstance(error, self._dialect.errors) and self._dialect.trouble(error) is None:
                raise StoreUnavailableError(
                    operation=operation, problem=f"no connection could be opened: {error}"
                ) from error
            raise

    async def _end(self, ending: Coroutine[Any, Any, None] | None, seats: asyncio.Semaphore) -> None:
        """Let *ending* come to its end, whoever is cancelled meanwhile; the seat is free after it.

        What the operation has done is done; if its connection cannot be closed, that is not its failure.
        """
        if ending is None:
            seats.release()
            return
        task = asyncio.create_task(ending)
        self._endings.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._endings.discard(task)
            seats.release()
            self._ended.set()
            if not task.cancelled() and isinstance(error := task.exception(), self._dialect.errors):
                what = "a connection could not be closed in order: %s"
                log_event(_log, LogEvent.connection_not_closed, what, error)

        task.add_done_callback(ended)
        try:
            await asyncio.wait([task], timeout=_LINGER)
        except asyncio.CancelledError:
            await asyncio.wait([task], timeout=_LINGER)
            raise
