"""The dialect of SQLite, put together."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from aiosqlite import Connection
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

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
    TaskQuery,
    WakeKind,
)

from ..._rows import to_duration
from ..._tables import Tables
from .. import Checkout, Dialect, Trouble
from . import _adding, _changing, _claiming, _finding, _renewing, _starting
from ._checkouts import GivenCheckout, MadeEngine, SQLiteCheckout, driver_of
from ._file import check_options, check_path, identity, log_of
from ._opening import not_a_database, prepare
from ._sql import Sql
from ._trouble import ERRORS, FileReplacedError, refuses_data, trouble_of
from ._watching import watching

_LOG: Final = "kapusta: which log it has open"


class SQLite(Dialect):
    """SQLite by aiosqlite.

    Every operation that writes does so in one call of the driver: one statement, or one script. Its lock
    begins and ends in the driver's thread, whatever the event loop is doing.
    """

    capabilities = Capabilities(
        shared_between_processes=True,
        survives_restart=True,
        joins_transactions=True,
        pushes_wakeups=True,
        time_resolution=timedelta(milliseconds=1),
        starts_tasks=True,
    )
    errors = ERRORS
    writers = 1
    readers = 2

    def __init__(self, tables: Tables, clock: Clock) -> None:
        super().__init__(tables, clock)
        self._sql = Sql(tables)
        self._made: MadeEngine | None = None
        self._path = Path()
        self._file: tuple[int, int] | None = None

    # --- opening ------------------------------------------------------------------------------------

    def make_engine(self, url: URL) -> AsyncEngine:
        check_path(url)
        check_options(url)
        self._made = MadeEngine(url, size=self.writers + self.readers)
        return self._made.engine

    async def prepare(self, engine: AsyncEngine) -> None:
        check_path(engine.url)
        try:
            async with engine.connect() as connection:
                checkout = GivenCheckout(connection, await driver_of(connection))
                try:
                    self._path = await prepare(checkout.connection, engine.url, self.tables.schema)
                finally:
                    await checkout.give_back()
        except (sqlite3.Error, DBAPIError) as error:
            if better := not_a_database(error, engine.url):
                raise better from error
            raise
        self._file = identity(self._path)

    @asynccontextmanager
    async def migrating(self, connection: AsyncConnection) -> AsyncIterator[None]:
        async with connection.begin():
            driver = await driver_of(connection)
            if not driver.in_transaction:  # a listener of the user's may have begun one
                await driver.execute_fetchall("BEGIN IMMEDIATE")
            yield

    async def checkout(self, engine: AsyncEngine, *, made: bool) -> Checkout:
        # SQLite would go on writing into a file that has no name any more, and nobody would ever read it.
        if identity(self._path) != self._file:
            raise FileReplacedError(f"the file {self._path} was deleted or replaced since startup()")
        checkout: SQLiteCheckout = await (
            self._made.take() if made and self._made else GivenCheckout.take(engine)
        )
        if not self._has_its_log(checkout):
            # Not closed: the last connection that is closed copies its log into the file, over what others have written.
            ending = checkout.give_back()
            if ending is not None:
                await ending
            raise FileReplacedError(
                f"the file {log_of(self._path)} was deleted or replaced since it was opened"
            )
        return checkout

    def _has_its_log(self, checkout: SQLiteCheckout) -> bool:
        """Whether a write would go into the log that other processes read: SQLite never replaces one that is open."""
        there = identity(log_of(self._path))
        opened = checkout.info.setdefault(_LOG, there)
        if opened is None:
            checkout.info[_LOG] = there  # the first statement on it has made the log
        return opened in {None, there} or checkout.is_closed

    def trouble(self, error: Exception) -> Trouble | None:
        return trouble_of(error)

    def refuses_data(self, error: Exception) -> bool:
        return refuses_data(error)

    # --- operations ---------------------------------------------------------------------------------

    @property
    def _offset(self) -> int:
        return to_duration(self.clock.offset)

    async def add(self, connection: Connection, tasks: Sequence[NewTask]) -> list[Added]:
        return await _adding.add(connection, self._sql, self._offset, tasks)

    async def claim(self, connection: Connection, request: ClaimRequest) -> Claims:
        return await _claiming.claim(connection, self._sql, self._offset, request)

    async def start(self, connection: Connection, task: NewTask, request: ClaimRequest) -> Claims | None:
        return await _starting.start(connection, self._sql, self._offset, task, request)

    async def change(self, connection: Connection, changes: Sequence[Change]) -> list[Changed]:
        return await _changing.change(connection, self._sql, self._offset, changes)

    async def renew(self, connection: Connection, request: RenewRequest) -> list[Renewed]:
        return await _renewing.renew(connection, self._sql, self._offset, request)

    async def rows(self, connection: Connection, query: TaskQuery) -> Sequence[Any]:
        return await _finding.rows(connection, self._sql, self._offset, query)

    async def delete(self, connection: Connection, ids: Sequence[int]) -> int:
        return await _finding.delete(connection, self._sql, self._offset, ids)

    def listen(
        self,
        engine: AsyncEngine,  # noqa: ARG002 - a file is watched without
        wake: Callable[[WakeKind], None],
    ) -> AbstractAsyncContextManager[None]:
        return watching(self._path, self._sql, wake)
