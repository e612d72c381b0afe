"""Taking aiomysql's own connection from a pool, with the settings that our statements need, and giving it back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final

from aiomysql import Connection, OperationalError  # type: ignore[import-untyped]  # the driver ships no types
from pymysql.constants.CR import CR_CONN_HOST_ERROR  # type: ignore[import-untyped]  # likewise
from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, PoolProxiedConnection

from kapusta.backend import LogEvent, log_event

from ..._whole import opened_whole
from .. import OPENING_SECONDS, Checkout, is_doubted
from ._server import Server
from ._session import NodeSession, Session

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

# On a node of a cluster a transaction begins, and a question is answered, when all is there that other nodes have
# committed before: who moves from one node to another sees what it has done, and who waits for a task, its end.
_CLUSTER: Final = "SET SESSION wsrep_sync_wait = 1"

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
        self.settings: Sequence[str] = _OURS
        arguments: dict[str, Any] = {"async_creator_fn": self._connect}
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

    async def join_cluster(self) -> None:
        """From now on, connections are to a node of a cluster."""
        self.settings = (*_OURS, _CLUSTER)
        await self.engine.dispose()

    async def _connect(self, **arguments: Any) -> Connection:
        return await _connect(self.settings, arguments)

    async def take(self, server: Server, doubted_at: float) -> MadeCheckout:
        return await opened_whole(
            self._take(server, doubted_at), MadeCheckout.discard, patience=OPENING_SECONDS
        )

    async def _take(self, server: Server, doubted_at: float) -> MadeCheckout:
        while True:
            taken = await self.engine.raw_connection()
            checkout = MadeCheckout(taken, server)
            if not _has_ended(checkout.connection.driver) and not is_doubted(taken.info, doubted_at):
                return checkout
            what = "a connection was closed by the server while it was idle, or may have been"
            log_event(_log, LogEvent.connection_replaced, what)
            await checkout.discard()


class _Connection(Connection):  # type: ignore[misc]  # a base without types
    """One that is closed also where nobody is left to say goodbye to."""

    async def ensure_closed(self) -> None:
        try:
            # The network may have ended it before us; the pool would log that as an error.
            with suppress(OSError):
                await super().ensure_closed()
        finally:
            self.close()


async def _connect(settings: Sequence[str], arguments: dict[str, Any]) -> Connection:
    """A connection with our settings, within so many seconds; aiomysql itself waits for a greeting without end."""
    driver = _Connection(**arguments)
    try:
        async with asyncio.timeout(arguments["connect_timeout"]):
            await driver._connect()  # noqa: SLF001 - what aiomysql.connect() does; it would not close the socket
            for setting in settings:
                await driver.query(setting)
    except TimeoutError as error:
        driver.close()
        raise OperationalError(
            CR_CONN_HOST_ERROR, f"the server does not answer within {arguments['connect_timeout']} s"
        ) from error
    except BaseException:
        driver.close()
        raise
    return driver


def _has_ended(driver: Connection) -> bool:
    """Whether the connection has ended, as far as the event loop has heard: no question, as a ping would be."""
    reader = driver._reader  # noqa: SLF001 - as aiomysql's own pool does
    # A server that hangs up says so; one that is killed, or a firewall, resets.
    return bool(driver.closed or reader.at_eof() or reader.exception() is not None)


class MadeCheckout(MySQLCheckout):
    """From an engine of ours."""

    def __init__(self, taken: PoolProxiedConnection, server: Server) -> None:
        self._taken = taken
        self.connection = _session(_driver_of(taken), server)

    def give_back(self) -> None:
        self._taken.close()

    async def discard(self) -> None:
        await self.connection.end()
        self._taken.detach()


class GivenCheckout(MySQLCheckout):
    """From a user's engine: with our settings for the operation, then with its own, which the server remembers."""

    def __init__(self, taken: AsyncConnection, driver: Connection, server: Server) -> None:
        self._taken, self._server = taken, server
        self.connection = _session(driver, server)

    @classmethod
    async def take(cls, engine: AsyncEngine, server: Server, doubted_at: float) -> GivenCheckout:
        return await opened_whole(
            cls._take(engine, server, doubted_at), cls.discard, patience=OPENING_SECONDS
        )

    @classmethod
    async def _take(cls, engine: AsyncEngine, server: Server, doubted_at: float) -> GivenCheckout:
        while True:
            taken = await engine.connect()
            driver = await driver_of(taken)
            if not is_doubted((await taken.get_raw_connection()).info, doubted_at):
                break
            driver.close()
            await taken.invalidate()
            await taken.close()
        checkout = cls(taken, driver, server)
        try:
            await checkout._borrow()
        except BaseException:
            await checkout.discard()
            raise
        return checkout

    async def _borrow(self) -> None:
        if self.connection.in_transaction:  # a listener of the user's has begun one
            await self.connection.ask(("ROLLBACK", ()))
        remember = ", ".join(f"@kapusta_{name} = @@{name}" for name in self._settings)
        isolation = f"@kapusta_isolation = @@{self._server.isolation}"
        ours = (*_OURS, _CLUSTER) if self._server.is_cluster else _OURS
        await self.connection.ask((f"SET {remember}, {isolation}", ()), *((text, ()) for text in ours))

    @property
    def _settings(self) -> Sequence[str]:
        return (*_SETTINGS, "wsrep_sync_wait") if self._server.is_cluster else _SETTINGS

    def give_back(self) -> Coroutine[Any, Any, None]:
        return self._give_back()

    async def _give_back(self) -> None:
        restore = ", ".join(f"SESSION {name} = @kapusta_{name}" for name in self._settings)
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


def _session(driver: Connection, server: Server) -> Session:
    return (NodeSession if server.is_cluster else Session)(driver, server.longest)


async def driver_of(connection: AsyncConnection) -> Connection:
    """Aiomysql's connection under SQLAlchemy's."""
    return _driver_of(await connection.get_raw_connection())


def _driver_of(taken: PoolProxiedConnection) -> Connection:
    driver = taken.driver_connection
    if not isinstance(driver, Connection):
        raise TypeError(f"aiomysql was expected, not {driver!r}")
    return driver
