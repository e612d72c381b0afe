"""The dialect of SQLite, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any, Final

from aiosqlite import Connection
from sqlalchemy import URL, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from kapusta.backend import (
    Added,
    Capabilities,
    Change,
    Changed,
    ClaimRequest,
    Claims,
    Clock,
    NewTask,
    Renewed,
    RenewRequest,
    StoredTask,
    TaskQuery,
    WakeKind,
)

from ..._rows import to_duration
from ..._tables import Tables
from .. import Checkout, Dialect, Trouble
from . import _adding, _changing, _claiming, _finding
from ._checkouts import GivenCheckout, MadeCheckout
from ._file import check_path, path_of
from ._opening import prepare
from ._sql import Sql
from ._trouble import ERRORS, trouble_of
from ._watching import watching

# Nothing ends a wait for a lock within SQLite, so it is short, and repeated: a cancelled operation ends soon.
_BUSY_SECONDS: Final = 0.5


class SQLite(Dialect):
    """SQLite by aiosqlite.

    Every operation that writes does so in one call of the driver: one statement, or one script. Its lock
    begins and ends in the driver's thread, whatever the event loop is doing.
    """

    capabilities = Capabilities(
        shared_between_processes=True,
        survives_restart=True,
        pushes_wakeups=True,
        time_resolution=timedelta(milliseconds=1),
    )
    errors = ERRORS
    writers = 1
    readers = 2

    def __init__(self, tables: Tables, clock: Clock) -> None:
        super().__init__(tables, clock)
        self._sql = Sql(tables)

    # --- opening ------------------------------------------------------------------------------------

    def make_engine(self, url: URL) -> AsyncEngine:
        check_path(url)
        engine = create_async_engine(
            url.set(drivername="sqlite+aiosqlite"),
            isolation_level="AUTOCOMMIT",
            poolclass=AsyncAdaptedQueuePool,
            pool_size=self.writers + self.readers,
            max_overflow=0,
            pool_reset_on_return=None,
            connect_args={"timeout": _BUSY_SECONDS, "cached_statements": 256},
        )
        event.listen(engine.sync_engine, "connect", _make_durable)
        return engine

    async def prepare(self, engine: AsyncEngine) -> None:
        await prepare(engine, check_path(engine.url))

    @asynccontextmanager
    async def migrating(self, connection: AsyncConnection) -> AsyncIterator[None]:
        await connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            await connection.exec_driver_sql("ROLLBACK")
            raise
        await connection.exec_driver_sql("COMMIT")

    def at_once(self, engine: AsyncEngine, *, made: bool) -> bool:
        pool = engine.pool
        return made and isinstance(pool, AsyncAdaptedQueuePool) and pool.checkedin() > 0

    async def checkout(self, engine: AsyncEngine, *, made: bool) -> Checkout:
        return await (MadeCheckout.take(engine) if made else GivenCheckout.take(engine))

    def trouble(self, error: Exception) -> Trouble | None:
        return trouble_of(error)

    # --- operations ---------------------------------------------------------------------------------

    @property
    def _offset(self) -> int:
        return to_duration(self.clock.offset)

    async def add(self, connection: Connection, tasks: Sequence[NewTask]) -> list[Added]:
        return await _adding.add(connection, self._sql, self._offset, tasks)

    async def claim(self, connection: Connection, request: ClaimRequest) -> Claims:
        return await _claiming.claim(connection, self._sql, self._offset, request)

    async def change(self, connection: Connection, changes: Sequence[Change]) -> list[Changed]:
        return await _changing.change(connection, self._sql, self._offset, changes)

    async def renew(self, connection: Connection, request: RenewRequest) -> list[Renewed]:
        return await _changing.renew(connection, self._sql, self._offset, request)

    async def find(self, connection: Connection, query: TaskQuery) -> list[StoredTask]:
        return await _finding.find(connection, self._sql, self._offset, query)

    async def delete(self, connection: Connection, ids: Sequence[int]) -> int:
        return await _finding.delete(connection, self._sql, self._offset, ids)

    def listen(
        self, engine: AsyncEngine, wake: Callable[[WakeKind], None]
    ) -> AbstractAsyncContextManager[None]:
        return watching(path_of(engine.url), self._sql, wake)


def _make_durable(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()
