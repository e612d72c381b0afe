"""Connections for operations: taken, given back, buried when an operation is cut short."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

from kapusta.backend import StoreUnavailableError, SystemClock

from ._dialects import Checkout, Dialect

T = TypeVar("T")

# A driver may wait for a lock for four seconds, and core gives a call ten: nothing is begun again after this,
# so that the last attempt still ends, and names the trouble, before the call is given up.
PATIENCE: Final = 4.5
_PAUSE: Final = 0.02
# Conflicts between writers happen between processes, in real time, whatever clock a test moves.
_clock: Final = SystemClock()
_log: Final = logging.getLogger("kapusta.sqlalchemy")


class Connections:
    """The connections of one started handle, on one event loop.

    An operation takes a seat, then a connection. If it is cancelled, its caller is let go at once; the
    connection, which may still be at work in the driver, is closed as soon as it can be, and only then the
    seat is free. So no operation waits in the database for a forgotten one, and no transaction outlives it.
    """

    def __init__(self, engine: AsyncEngine, dialect: Dialect, *, own: bool) -> None:
        self._engine, self._dialect, self._own = engine, dialect, own
        self._writers = asyncio.Semaphore(dialect.writers)
        self._readers = asyncio.Semaphore(dialect.readers)
        self._closing = False
        self._underway = 0
        self._endings: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()

    async def read(self, operation: str, work: Callable[[Any], Awaitable[T]]) -> T:
        """Do *work* with a connection, again if another writer is in the way.

        Raises:
            StoreUnavailableError: the database cannot, or not before patience ends.
        """
        return await self._patiently(operation, work, self._readers)

    async def write(self, operation: str, work: Callable[[Any], Awaitable[T]]) -> T:
        """As ``read``; in turn where the database has one writer, instead of in its busy loop."""
        return await self._patiently(operation, work, self._writers)

    async def close(self) -> None:
        """Wait for what is under way, then close what is ours."""
        self._closing = True
        while self._underway or self._endings:
            self._ended.clear()
            await self._ended.wait()
        if self._own:
            await self._engine.dispose()

    async def _patiently(
        self, operation: str, work: Callable[[Any], Awaitable[T]], seats: asyncio.Semaphore
    ) -> T:
        begun = _clock.monotonic()
        self._underway += 1
        try:
            while True:
                try:
                    return await self._seated(work, seats)
                except self._dialect.errors as error:
                    trouble = self._dialect.trouble(error)
                    if trouble is None:
                        raise
                    late = self._closing or _clock.monotonic() - begun > PATIENCE
                    if late or not trouble.passes:
                        raise StoreUnavailableError(operation=operation, problem=trouble.problem) from error
                await _clock.sleep(_PAUSE * random.random())  # noqa: S311 - it spreads writers, it hides nothing
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
            if self._dialect.at_once(self._engine, own=self._own):
                return await self._dialect.checkout(self._engine, own=self._own)
            # Not cut short with its caller: a connection half open would be nobody's to close.
            opening = asyncio.create_task(self._dialect.checkout(self._engine, own=self._own))
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
