"""Taking aiosqlite's own connection from a pool, and giving it back."""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from aiosqlite import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import PoolProxiedConnection

from .. import Checkout


class SQLiteCheckout(Checkout):
    """One that works on aiosqlite's connection: a statement and its rows are one trip to its thread there."""

    connection: Connection

    @property
    def in_transaction(self) -> bool:
        return self.connection.in_transaction


class MadeCheckout(SQLiteCheckout):
    """From an engine of ours: its connections are in autocommit, and its pool resets nothing."""

    def __init__(self, taken: PoolProxiedConnection) -> None:
        self._taken = taken
        self.connection = _driver_of(taken)

    @classmethod
    async def take(cls, engine: AsyncEngine) -> MadeCheckout:
        return cls(await engine.raw_connection())

    def give_back(self) -> None:
        self._taken.close()

    async def discard(self) -> None:
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
        self.connection = driver
        self._before: Any = driver.isolation_level
        driver.isolation_level = None

    @classmethod
    async def take(cls, engine: AsyncEngine) -> GivenCheckout:
        taken = await engine.connect()
        return cls(taken, await driver_of(taken))

    def give_back(self) -> Coroutine[Any, Any, None]:
        self.connection.isolation_level = self._before
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
