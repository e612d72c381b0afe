"""Connections for operations: taken, given back, buried when an operation is cut short."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

from ._dialects import Checkout, Dialect
from ._patience import patiently

T = TypeVar("T")

_log: Final = logging.getLogger("kapusta.sqlalchemy")


class Connections:
    """The connections of one started handle, on one event loop.

    An operation takes a seat, then a connection. If it is cancelled, its caller is let go at once; the
    connection, which may still be at work in the driver, is closed as soon as it can be, and only then the
    seat is free. So no operation waits in the database for a forgotten one, and no transaction outlives it.
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
            return await patiently(self._dialect, operation, lambda: self._seated(work, seats))
        finally:
            self._underway -= 1
            self._ended.set()

    async def _seated(self, work: Callable[[Any], Awaitable[T]], seats: asyncio.Semaphore) -> T:
        await seats.acquire()
        checkout = await self._take(seats)
        try:
            answer = await work(checkout.connection)
        except BaseException as error:
            trouble = self._dialect.trouble(error) if isinstance(error, self._dialect.errors) else None
            if trouble is None or trouble.closes or checkout.in_transaction:
                self._see_through(checkout.discard(), seats)
            else:
                await self._give_back(checkout, seats)
            raise
        await self._give_back(checkout, seats)
        return answer

    async def _take(self, seats: asyncio.Semaphore) -> Checkout:
        opening: asyncio.Task[Checkout] | None = None
        try:
            if self._dialect.at_once(self._engine, made=self._made):
                return await self._dialect.checkout(self._engine, made=self._made)
            # Not cut short with its caller: a connection half open would be nobody's to close.
            opening = asyncio.create_task(self._dialect.checkout(self._engine, made=self._made))
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            if opening is None:
                seats.release()
            else:
                self._see_through(_discard_opened(opening), seats)
            raise
        except BaseException:
            seats.release()
            raise

    async def _give_back(self, checkout: Checkout, seats: asyncio.Semaphore) -> None:
        returning = checkout.give_back()
        if returning is None:
            seats.release()
        else:
            # The operation is done; if the connection cannot be given back, that is not its failure.
            await asyncio.wait([self._see_through(returning, seats)])

    def _see_through(self, ending: Coroutine[Any, Any, None], seats: asyncio.Semaphore) -> asyncio.Task[None]:
        """Let *ending* come to its end, whoever is cancelled meanwhile; the seat is free after it."""
        task = asyncio.create_task(ending)
        self._endings.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._endings.discard(task)
            seats.release()
            self._ended.set()
            if not task.cancelled() and isinstance(error := task.exception(), self._dialect.errors):
                _log.debug("a connection could not be closed in order: %s", error)

        task.add_done_callback(ended)
        return task


async def _discard_opened(opening: asyncio.Task[Checkout]) -> None:
    await (await opening).discard()
