"""The dialect of MariaDB and MySQL, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import URL, text
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
from .._turns import take_turn
from . import _adding, _changing, _claiming, _finding, _renewing, _starting
from ._checkouts import GivenCheckout, MadeEngine
from ._lanes import Looker
from ._server import Server, look_at, refused
from ._session import Session
from ._sql import Sql, record_of
from ._trouble import ERRORS, FORBIDDEN, code_of, refuses_data, trouble_of

# A lock is the server's, not a database's; a name has at most 64 characters.
_LOCK_NAME: Final = "CONCAT('kapusta.', SHA1(CONCAT_WS('/', COALESCE(:schema, DATABASE()), :prefix)))"


class MySQL(Dialect):
    """MariaDB and MySQL by aiomysql.

    DDL commits by itself there, so a migration that broke off is found half done: each step of it looks
    first, and the row that says what the schema is comes last.
    """

    capabilities = Capabilities(
        shared_between_processes=True,
        survives_restart=True,
        joins_transactions=True,
        time_resolution=timedelta(microseconds=1),
        poll_interval=timedelta(seconds=1),
        starts_tasks=True,
    )
    errors = ERRORS
    writers = 2
    readers = 1
    longest_name = 64
    record_of = staticmethod(record_of)

    def __init__(self, tables: Tables, clock: Clock) -> None:
        super().__init__(tables, clock)
        self._sql = Sql(tables)
        self._looker = Looker(self._sql)
        self._made: MadeEngine | None = None
        self._server = Server(isolation="transaction_isolation", longest=1 << 20)

    # --- opening ------------------------------------------------------------------------------------

    @staticmethod
    def takes(character: str) -> bool:
        return (
            Dialect.takes(character) and character <= "\uffff"
        )  # a name is in utf8mb3, whatever the tables are in

    def make_engine(self, url: URL) -> AsyncEngine:
        self._made = MadeEngine(url, size=self.writers + self.readers)
        return self._made.engine

    async def prepare(self, engine: AsyncEngine) -> None:
        try:
            async with engine.connect() as connection:
                self._server = await look_at(connection, engine.url, self.tables.schema)
        except DBAPIError as error:
            if better := refused(error, engine.url):
                raise better from error
            raise
        if self._server.is_cluster and self._made:
            await self._made.join_cluster()

    @asynccontextmanager
    async def migrating(self, connection: AsyncConnection) -> AsyncIterator[None]:
        name = {"schema": self.tables.schema, "prefix": self.tables.prefix}

        async def lock(seconds: float) -> bool:
            asked = text(f"SELECT GET_LOCK({_LOCK_NAME}, :seconds)")
            return bool(await connection.scalar(asked, {**name, "seconds": seconds}))

        async def holder() -> object:
            return await connection.scalar(text(f"SELECT IS_USED_LOCK({_LOCK_NAME})"), name)

        # What is no DDL is one transaction. In a cluster, where a lock is one node's, two that make the same store write
        # the same row of Alembic's table: one of them fails at its commit, begins again, and finds the other's.
        connection = await connection.execution_options(isolation_level="READ COMMITTED")
        try:
            await take_turn(connection.engine.url, lock, holder)
            yield
            await connection.commit()
        finally:
            # The lock ends with the connection, whatever state that is in; and the pool gets none with this isolation.
            await connection.invalidate()

    async def checkout(self, engine: AsyncEngine, *, made: bool) -> Checkout:
        if made and self._made:
            return await self._made.take(self._server, self.doubted_at)
        return await GivenCheckout.take(engine, self._server, self.doubted_at)

    def trouble(self, error: Exception) -> Trouble | None:
        return trouble_of(error)

    def refuses_data(self, error: Exception) -> bool:
        return refuses_data(error)

    def forbids(self, error: Exception) -> bool:
        return code_of(error) in FORBIDDEN

    # --- operations ---------------------------------------------------------------------------------

    @property
    def _offset(self) -> int:
        return to_duration(self.clock.offset)

    async def add(self, connection: Session, tasks: Sequence[NewTask]) -> list[Added]:
        return await _adding.add(connection, self._sql, self._offset, tasks)

    async def claim(self, connection: Session, request: ClaimRequest) -> Claims:
        return await _claiming.claim(connection, self._sql, self._looker, self._offset, request)

    async def start(self, connection: Session, task: NewTask, request: ClaimRequest) -> Claims | None:
        return await _starting.start(connection, self._sql, self._offset, task, request)

    async def change(self, connection: Session, changes: Sequence[Change]) -> list[Changed]:
        return await _changing.change(connection, self._sql, self._offset, changes)

    async def renew(self, connection: Session, request: RenewRequest) -> list[Renewed]:
        return await _renewing.renew(connection, self._sql, self._offset, request)

    async def rows(self, connection: Session, query: TaskQuery) -> Sequence[Any]:
        return await _finding.rows(connection, self._sql, self._offset, query)

    async def delete(self, connection: Session, ids: Sequence[int]) -> int:
        return await _finding.delete(connection, self._sql, self._offset, ids)

    def listen(
        self, engine: AsyncEngine, wake: Callable[[WakeKind], None]
    ) -> AbstractAsyncContextManager[None]:
        raise NotImplementedError("MariaDB and MySQL push no wake-ups")
