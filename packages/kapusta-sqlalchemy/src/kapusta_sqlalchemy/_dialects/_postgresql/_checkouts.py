"""Taking asyncpg's own connection from a pool, and giving it back."""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, Final

import asyncpg
from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, PoolProxiedConnection

from kapusta.backend import SystemClock

from ..._whole import opened_whole
from .. import OPENING_SECONDS, Checkout, is_doubted

_CONNECT_SECONDS: Final = 5.0
_POOLED: Final = "KAP01"
_PLANNED: Final = "kapusta: when its plans were made"
_GOODBYE: Final = 5.0
"""Seconds for a server to say that it has stopped what it was doing."""

_FAREWELL: Final = 0.5
"""Seconds for a server to say goodbye to a connection that is doing nothing."""

PLANS_SECONDS: Final = 10.0
"""For how long a plan is kept on a user's connection."""

_clock: Final = SystemClock()  # tables grow in real time, whatever clock a test moves


class PostgreSQLCheckout(Checkout):
    """One that works on asyncpg's connection, which is in autocommit as long as nobody sends BEGIN."""

    connection: asyncpg.Connection

    @property
    def in_transaction(self) -> bool:
        return not self.connection.is_closed() and self.connection.is_in_transaction()


# A plan is kept with its prepared statement, and one that was made while the table was empty would go on reading the
# whole of it when there are a million rows. Every statement of ours has its index, so the planner has no choice.
# Whoever waits for a lock for longer is told so by the server, and by us to the caller, before the call is given up.
# A pooler gives itself away: it has told us of another process than the one that answers. Behind it neither statements
# nor plans are kept, and the session is somebody else's too: then nothing is set.
SETTINGS: Final = """
DO $$ BEGIN IF pg_backend_pid() <> {process} THEN RAISE EXCEPTION SQLSTATE 'KAP01'; END IF; END $$;
SET plan_cache_mode = force_generic_plan; SET jit = off;
SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_mergejoin = off;
SET lock_timeout = 2000
"""


class _Connection(asyncpg.Connection):  # type: ignore[misc]  # a base without types
    """One that a pool can close although nobody answers any more."""

    async def close(self, *, timeout: float | None = _FAREWELL) -> None:
        with suppress(TimeoutError):  # asyncpg has hung up then
            await super().close(timeout=timeout)


_only_idle: Final[ContextVar[bool]] = ContextVar("kapusta_only_idle", default=False)


class _NoneIdleError(Exception):
    """The pool would open a connection, and only an idle one was asked for."""


class _Opening:
    """Opens the connections of one engine; remembers whether a pooler is at the other end."""

    def __init__(self, *, is_pooled: bool) -> None:
        self._is_pooled = is_pooled

    def __call__(self, **arguments: Any) -> Coroutine[Any, Any, asyncpg.Connection]:
        if _only_idle.get():
            raise _NoneIdleError
        return self._open(arguments)

    async def _open(self, arguments: dict[str, Any]) -> asyncpg.Connection:
        if not self._is_pooled:
            connection = await asyncpg.connect(**arguments)
            try:
                settings = SETTINGS.format(process=connection.get_server_pid())
                await connection.execute(settings, timeout=_CONNECT_SECONDS)
            except asyncpg.PostgresError as error:
                connection.terminate()
                if error.sqlstate != _POOLED:
                    raise
                self._is_pooled = True
            except BaseException:
                connection.terminate()
                raise
            else:
                return connection
        # Each statement is sent whole, in one go: the next one may meet another server process.
        return await asyncpg.connect(**arguments | {"statement_cache_size": 0})


def make_engine(url: URL, *, size: int) -> AsyncEngine:
    """An engine of ours, whose connections are for our statements only."""
    arguments: dict[str, Any] = {"timeout": _CONNECT_SECONDS, "connection_class": _Connection}
    query = dict(url.query)
    if "sslmode" in query:  # as other drivers and most providers spell it
        arguments["ssl"] = query.pop("sslmode")
    for number in ("statement_cache_size", "timeout"):  # which SQLAlchemy hands over as text
        if number in query:
            arguments[number] = float(str(query.pop(number)))
    arguments["async_creator_fn"] = _Opening(is_pooled=arguments.get("statement_cache_size") == 0)
    # What SQLAlchemy sends are the few questions of a startup: without a name, so that none is met by its like.
    arguments |= {"prepared_statement_cache_size": 0, "prepared_statement_name_func": str}
    return create_async_engine(
        url.set(drivername="postgresql+asyncpg", query=query),
        poolclass=AsyncAdaptedQueuePool,
        pool_size=size,
        max_overflow=0,
        pool_reset_on_return=None,
        pool_use_lifo=True,  # the connection that has just prepared these statements
        connect_args=arguments,
    )


class MadeCheckout(PostgreSQLCheckout):
    """From an engine of ours, whose pool resets nothing."""

    def __init__(self, taken: PoolProxiedConnection) -> None:
        self._taken = taken
        self.connection = driver_of(taken)

    @classmethod
    async def take(cls, engine: AsyncEngine, doubted_at: float) -> MadeCheckout:
        idle = cls._take_idle(engine, doubted_at)
        if idle is not None:
            return idle
        return await opened_whole(cls._take(engine, doubted_at), cls.discard, patience=OPENING_SECONDS)

    @classmethod
    def _take_idle(cls, engine: AsyncEngine, doubted_at: float) -> MadeCheckout | None:
        """Return an idle connection of the pool; ``None`` if one must be opened.

        Nothing is waited for, so neither the greenlet nor the asyncio task is needed that opening takes: together
        they cost more than many a statement.
        """
        if not engine.sync_engine.pool.checkedin():  # type: ignore[attr-defined]  # a queue pool has it
            return None
        token = _only_idle.set(True)
        try:
            taken = engine.sync_engine.raw_connection()
        except _NoneIdleError:
            return None  # in place of a connection that was closed, the pool opens another one
        finally:
            _only_idle.reset(token)
        if _is_usable(driver_of(taken), taken.info, doubted_at):
            return cls(taken)
        taken.invalidate()
        taken.close()
        return None

    @classmethod
    async def _take(cls, engine: AsyncEngine, doubted_at: float) -> MadeCheckout:
        while True:
            taken = await engine.raw_connection()
            if _is_usable(driver_of(taken), taken.info, doubted_at):
                return cls(taken)
            # The server has closed it since it was used last; the pool makes another in its place.
            taken.invalidate()
            taken.close()

    def give_back(self) -> None:
        self._taken.close()

    async def discard(self) -> None:
        self._taken.detach()
        await close(self.connection)


class GivenCheckout(PostgreSQLCheckout):
    """From a user's engine, through SQLAlchemy, so that the user's listeners are asked."""

    def __init__(self, taken: AsyncConnection, driver: asyncpg.Connection) -> None:
        self._taken = taken
        self.connection = driver

    @classmethod
    async def take(cls, engine: AsyncEngine, doubted_at: float) -> GivenCheckout:
        return await opened_whole(cls._take(engine, doubted_at), cls.discard, patience=OPENING_SECONDS)

    @classmethod
    async def _take(cls, engine: AsyncEngine, doubted_at: float) -> GivenCheckout:
        while True:
            taken = await engine.connect()
            pooled = await taken.get_raw_connection()
            driver = driver_of(pooled)
            if _is_usable(driver, pooled.info, doubted_at):
                checkout = cls(taken, driver)
                await checkout._plan_anew(pooled.info)
                return checkout
            await taken.invalidate()
            await taken.close()

    async def _plan_anew(self, info: dict[Any, Any]) -> None:
        """Have old plans forgotten: the settings of this session are the user's, so the planner has its choice."""
        now = _clock.monotonic()
        if now - info.setdefault(_PLANNED, now) < PLANS_SECONDS:
            return
        info[_PLANNED] = now
        try:
            await self.connection.execute("DISCARD PLANS")
        except BaseException:
            await self.discard()
            raise

    def give_back(self) -> Coroutine[Any, Any, None]:
        return self._taken.close()

    async def discard(self) -> None:
        try:
            await close(self.connection)
        finally:
            await self._taken.invalidate()
            await self._taken.close()


def _is_usable(driver: asyncpg.Connection, info: dict[Any, Any], doubted_at: float) -> bool:
    if is_doubted(info, doubted_at) and not driver.is_closed():
        driver.terminate()  # a farewell would be waited for
    return not driver.is_closed()


async def close(connection: asyncpg.Connection) -> None:
    """Have the server stop what it is doing, hear from it that it has, and close.

    Only then it is settled whether a cancelled statement has happened.
    """
    with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):  # it is gone either way
        await connection.close(timeout=_GOODBYE)


def driver_of(taken: PoolProxiedConnection) -> asyncpg.Connection:
    """Asyncpg's connection under SQLAlchemy's."""
    driver = taken.driver_connection
    if not isinstance(driver, asyncpg.Connection):
        raise TypeError(f"asyncpg was expected, not {driver!r}")
    return driver
