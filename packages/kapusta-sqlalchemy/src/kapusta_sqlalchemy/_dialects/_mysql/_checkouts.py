"""Taking aiomysql's own connection from a pool, with the settings that our statements need, and giving it back."""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from typing import Any, Final

from aiomysql import Connection  # type: ignore[import-untyped]  # the driver ships no types
from sqlalchemy import URL, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, PoolProxiedConnection

from ..._whole import opened_whole
from .. import Checkout
from ._server import Server
from ._session import Session

# Whoever waits for a row longer than this asks again, and can be told so; the server's own 50 seconds are more
# than core gives a call.
_LOCK_SECONDS: Final = 2
_CONNECT_SECONDS: Final = 4

# READ COMMITTED locks no gaps, so launches and claims do not wait for each other. A strict mode refuses what
# does not fit, where another would cut it off. GROUP_CONCAT lists ids for us.
_OURS: Final = (
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    (
        "SET SESSION sql_mode = 'STRICT_ALL_TABLES', SESSION group_concat_max_len = 1048576, "
        f"SESSION innodb_lock_wait_timeout = {_LOCK_SECONDS}, SESSION lock_wait_timeout = {_LOCK_SECONDS}, "
        "SESSION autocommit = 1"
    ),
)
_SETTINGS: Final = (
    "autocommit",
    "sql_mode",
    "group_concat_max_len",
    "innodb_lock_wait_timeout",
    "lock_wait_timeout",
)

_log: Final = logging.getLogger("kapusta.sqlalchemy")


class MySQLCheckout(Checkout):
    """One whose operations speak through a `Session`."""

    connection: Session

    @property
    def in_transaction(self) -> bool:
        return self.connection.in_transaction


class MadeEngine:
    """An engine of ours: its connections have our settings from the start, and its pool resets nothing."""

    def __init__(self, url: URL, *, size: int) -> None:
        arguments: dict[str, Any] = {}
        if "connect_timeout" not in url.query:
            arguments["connect_timeout"] = _CONNECT_SECONDS
        if "charset" not in url.query:
            arguments["charset"] = "utf8mb4"
        self.engine = create_async_engine(
            url.set(drivername=f"{url.get_backend_name()}+aiomysql"),
            isolation_level="AUTOCOMMIT",
            poolclass=AsyncAdaptedQueuePool,
            pool_size=size,
            max_overflow=0,
            pool_reset_on_return=None,
            pool_use_lifo=True,
            connect_args=arguments,
        )
        event.listen(self.engine.sync_engine, "connect", _on_connect)

    async def take(self, longest: int) -> MadeCheckout:
        return await opened_whole(self._take(longest), MadeCheckout.discard)

    async def _take(self, longest: int) -> MadeCheckout:
        while True:
            checkout = MadeCheckout(await self.engine.raw_connection(), longest)
            if not _has_ended(checkout.connection.driver):
                return checkout
            _log.debug("a connection was closed by the server while nobody used it")
            await checkout.discard()


def _on_connect(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for setting in _OURS:
        cursor.execute(setting)
    cursor.close()


def _has_ended(driver: Connection) -> bool:
    """Whether the server has hung up, as far as the event loop has heard: no question, as a ping would be."""
    return bool(driver.closed or driver._reader.at_eof())  # noqa: SLF001 - as aiomysql's own pool does


class MadeCheckout(MySQLCheckout):
    """From an engine of ours."""

    def __init__(self, taken: PoolProxiedConnection, longest: int) -> None:
        self._taken = taken
        self.connection = Session(_driver_of(taken), longest)

    def give_back(self) -> None:
        self._taken.close()

    async def discard(self) -> None:
        await self.connection.end()
        self._taken.detach()


class GivenCheckout(MySQLCheckout):
    """From a user's engine: with our settings for the operation, then with its own, which the server remembers."""

    def __init__(self, taken: AsyncConnection, driver: Connection, server: Server) -> None:
        self._taken, self._server = taken, server
        self.connection = Session(driver, server.longest)

    @classmethod
    async def take(cls, engine: AsyncEngine, server: Server) -> GivenCheckout:
        return await opened_whole(cls._take(engine, server), cls.discard)

    @classmethod
    async def _take(cls, engine: AsyncEngine, server: Server) -> GivenCheckout:
        taken = await engine.connect()
        checkout = cls(taken, await driver_of(taken), server)
        try:
            await checkout._borrow()
        except BaseException:
            await checkout.discard()
            raise
        return checkout

    async def _borrow(self) -> None:
        if self.connection.in_transaction:  # a listener of the user's has begun one
            await self.connection.ask(("ROLLBACK", ()))
        remember = ", ".join(f"@kapusta_{name} = @@{name}" for name in _SETTINGS)
        isolation = f"@kapusta_isolation = @@{self._server.isolation}"
        await self.connection.ask((f"SET {remember}, {isolation}", ()), *((text, ()) for text in _OURS))

    def give_back(self) -> Coroutine[Any, Any, None]:
        return self._give_back()

    async def _give_back(self) -> None:
        restore = ", ".join(f"SESSION {name} = @kapusta_{name}" for name in _SETTINGS)
        isolation = f"SESSION {self._server.isolation} = @kapusta_isolation"
        try:
            await self.connection.ask((f"SET {restore}, {isolation}", ()))
        except BaseException:
            await self.discard()
            raise
        await self._taken.close()

    async def discard(self) -> None:
        await self.connection.end()
        await self._taken.invalidate()
        await self._taken.close()


async def driver_of(connection: AsyncConnection) -> Connection:
    """Aiomysql's connection under SQLAlchemy's."""
    return _driver_of(await connection.get_raw_connection())


def _driver_of(taken: PoolProxiedConnection) -> Connection:
    driver = taken.driver_connection
    if not isinstance(driver, Connection):
        raise TypeError(f"aiomysql was expected, not {driver!r}")
    return driver
