"""Taking aiosqlite's own connection from a pool, and giving it back."""

from __future__ import annotations

from collections.abc import Coroutine
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
        await self.connection.interrupt()
        self._taken.detach()
        await self.connection.close()


class GivenCheckout(SQLiteCheckout):
    """From a user's engine: put into autocommit for the operation, and back."""

    def __init__(self, taken: AsyncConnection, driver: Connection) -> None:
        self._taken = taken
        self.connection = driver

    @classmethod
    async def take(cls, engine: AsyncEngine) -> GivenCheckout:
        taken = await engine.execution_options(isolation_level="AUTOCOMMIT").connect()
        return cls(taken, _driver_of(await taken.get_raw_connection()))

    def give_back(self) -> Coroutine[Any, Any, None]:
        return self._taken.close()

    async def discard(self) -> None:
        await self.connection.interrupt()
        await self._taken.invalidate()
        await self._taken.close()


def _driver_of(taken: PoolProxiedConnection) -> Connection:
    driver = taken.driver_connection
    if not isinstance(driver, Connection):
        raise TypeError(f"aiosqlite was expected, not {driver!r}")
    return driver
