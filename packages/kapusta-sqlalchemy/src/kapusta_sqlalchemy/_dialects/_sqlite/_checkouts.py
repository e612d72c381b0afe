"""Taking aiosqlite's own connection from a pool, and giving it back."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

from aiosqlite import Connection
from sqlalchemy import URL, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, PoolProxiedConnection

from ..._whole import opened_whole
from .. import Checkout

# Nothing ends a wait for a lock within SQLite, so it is short, and repeated: a cancelled operation ends soon.
_BUSY_SECONDS: Final = 0.5


class SQLiteCheckout(Checkout):
    """One that works on aiosqlite's connection: a statement and its rows are one trip to its thread there."""

    connection: Connection
    info: dict[Any, Any]
    """Notes about the connection, for as long as it is open."""

    @property
    def in_transaction(self) -> bool:
        return self.connection.in_transaction

    @property
    def is_closed(self) -> bool:
        """Whether the user has closed the connection while it was in the pool."""
        try:
            _ = self.connection.in_transaction
        except ValueError:  # aiosqlite's only sign of it
            return True
        return False


def text_of(data: bytes) -> str | bytes:
    """What is read of a text; of what is none, which Python would fail for together with all other rows, the bytes."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


class MadeEngine:
    """An engine of ours: its connections are in autocommit, and its pool resets nothing."""

    def __init__(self, url: URL, *, size: int) -> None:
        self.engine = create_async_engine(
            url.set(drivername="sqlite+aiosqlite"),
            isolation_level="AUTOCOMMIT",
            poolclass=AsyncAdaptedQueuePool,
            pool_size=size,
            max_overflow=0,
            pool_reset_on_return=None,
            pool_use_lifo=True,  # the connection that has just prepared these statements
            connect_args={"timeout": _BUSY_SECONDS, "cached_statements": 256},
        )
        self._open = 0
        event.listen(self.engine.sync_engine, "connect", self._on_connect)

    async def take(self) -> MadeCheckout:
        """A connection: at once if all that the pool has are open, else seen through."""
        pool = self.engine.pool
        if isinstance(pool, AsyncAdaptedQueuePool) and 0 < pool.checkedin() <= self._open - pool.checkedout():
            return await self._take()
        return await opened_whole(self._take(), MadeCheckout.discard)

    async def _take(self) -> MadeCheckout:
        return MadeCheckout(await self.engine.raw_connection(), self._on_discard)

    def _on_connect(self, connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()
        connection.driver_connection.text_factory = text_of
        self._open += 1

    def _on_discard(self) -> None:
        self._open -= 1


class MadeCheckout(SQLiteCheckout):
    """From an engine of ours."""

    def __init__(self, taken: PoolProxiedConnection, on_discard: Callable[[], None]) -> None:
        self._taken, self._on_discard = taken, on_discard
        self.connection, self.info = _driver_of(taken), taken.info

    def give_back(self) -> None:
        self._taken.close()

    async def discard(self) -> None:
        self._on_discard()
        await _interrupt(self.connection)
        self._taken.detach()
        await self.connection.close()


class GivenCheckout(SQLiteCheckout):
    """From a user's engine: in autocommit for the operation, then as it was.

    Not by SQLAlchemy's ``isolation_level``, which afterwards sets its own default instead of what a listener
    of the user's has set.
    """

    def __init__(self, taken: AsyncConnection, driver: Connection) -> None:
        self._taken = taken
        self.connection, self.info = driver, taken.info
        self._before: Any = driver.isolation_level, driver.text_factory
        driver.isolation_level, driver.text_factory = None, text_of

    @classmethod
    async def take(cls, engine: AsyncEngine) -> GivenCheckout:
        return await opened_whole(cls._take(engine), cls.discard)

    @classmethod
    async def _take(cls, engine: AsyncEngine) -> GivenCheckout:
        taken = await engine.connect()
        return cls(taken, await driver_of(taken))

    def give_back(self) -> Coroutine[Any, Any, None]:
        self.connection.isolation_level, self.connection.text_factory = self._before
        return self._taken.close()

    async def discard(self) -> None:
        await _interrupt(self.connection)
        await self._taken.invalidate()
        await self._taken.close()


async def driver_of(connection: AsyncConnection) -> Connection:
    """Aiosqlite's connection under SQLAlchemy's."""
    return _driver_of(await connection.get_raw_connection())


async def _interrupt(connection: Connection) -> None:
    with suppress(ValueError):  # aiosqlite's word for a connection that somebody has closed before
        await connection.interrupt()


def _driver_of(taken: PoolProxiedConnection) -> Connection:
    driver = taken.driver_connection
    if not isinstance(driver, Connection):
        raise TypeError(f"aiosqlite was expected, not {driver!r}")
    return driver
