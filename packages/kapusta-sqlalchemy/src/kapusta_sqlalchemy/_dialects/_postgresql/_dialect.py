"""The dialect of PostgreSQL, put together."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from asyncpg import Connection
from sqlalchemy import URL, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.schema import CreateSchema

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
from ._checkouts import GivenCheckout, MadeCheckout, make_engine
from ._hints import Hints, of_added, of_changed
from ._listening import listening
from ._opening import no_such_place, no_such_schema, prepare
from ._sql import Sql
from ._trouble import ERRORS, INSUFFICIENT_PRIVILEGE, LOCK_NOT_AVAILABLE, code_of, refuses_data, trouble_of

_HOLDER: Final = text("""
SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND (classid::bigint << 32) | objid::bigint = :lock LIMIT 1
""")


class PostgreSQL(Dialect):
    """PostgreSQL by asyncpg.

    Every operation is one statement, or two that need not be one: no lock is held while the event loop does
    something else. Only a batch with several unique keys is a transaction, which the server ends if need be.
    """

    capabilities = Capabilities(
        shared_between_processes=True,
        survives_restart=True,
        joins_transactions=True,
        pushes_wakeups=True,
        starts_tasks=True,
    )
    errors = ERRORS
    writers = 3
    readers = 1
    longest_name = 63  # bytes; the server would cut what is longer

    def __init__(self, tables: Tables, clock: Clock) -> None:
        super().__init__(tables, clock)
        self._sql = Sql(tables)
        self._made = False
        self._hints: Hints | None = None

    # --- opening ------------------------------------------------------------------------------------

    @staticmethod
    def length_of(name: str) -> int:
        return len(name.encode(errors="replace"))

    def check_names(self, url: URL) -> None:
        super().check_names(url)
        if (schema := self.tables.schema) is not None:
            self.check_name(url, "schema", schema, schema)

    def make_engine(self, url: URL) -> AsyncEngine:
        self._made = True
        return make_engine(url, size=self.writers + self.readers + 1)  # one is for hints

    async def prepare(self, engine: AsyncEngine) -> None:
        try:
            checkout = await self.checkout(engine, made=self._made)
        except ERRORS as error:
            if better := no_such_place(error, engine.url):
                raise better from error
            raise
        try:
            await prepare(checkout.connection, engine.url)
        finally:
            await _give_back(checkout)
        self._hints = Hints(self._sql, lambda: self.checkout(engine, made=self._made), ERRORS)

    @asynccontextmanager
    async def migrating(self, connection: AsyncConnection) -> AsyncIterator[None]:
        # In a stricter one what has been made while we waited would not be seen; in autocommit there is no transaction.
        connection = await connection.execution_options(isolation_level="READ COMMITTED")
        async with connection.begin():
            await take_turn(
                connection.engine.url,
                lambda seconds: self._lock(connection, seconds),
                lambda: self._holder(connection),
            )
            await connection.execute(text("SET LOCAL lock_timeout = 0"))  # a migration may take its time
            if self.tables.schema is not None and not await self._has_schema(connection):
                await self._make_schema(connection, self.tables.schema)
            yield

    async def _make_schema(self, connection: AsyncConnection, schema: str) -> None:
        try:
            await connection.execute(CreateSchema(schema))
        except DBAPIError as error:
            if better := no_such_schema(error, connection.engine.url, schema):
                raise better from error
            raise

    async def _lock(self, connection: AsyncConnection, seconds: float) -> bool:
        """Take the lock of migrations within so many seconds, if nobody else has it."""
        try:
            async with connection.begin_nested():
                await connection.execute(text(f"SET LOCAL lock_timeout = '{seconds * 1000:.0f}ms'"))
                # Of the transaction's, not the session's: it ends with it, whatever becomes of the connection.
                await connection.execute(
                    text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": self._lock_number}
                )
        except DBAPIError as error:
            if code_of(error) != LOCK_NOT_AVAILABLE:
                raise
            return False
        return True

    async def _holder(self, connection: AsyncConnection) -> object:
        return await connection.scalar(_HOLDER, {"lock": self._lock_number})

    @property
    def _lock_number(self) -> int:
        """Another one for each set of tables, and hardly anybody else's."""
        return 0x6B61707573 << 24 | zlib.crc32(self._sql.fill("{store}").encode()) & 0xFFFFFF

    async def _has_schema(self, connection: AsyncConnection) -> bool:
        asked = text("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = :schema)")
        return bool(await connection.scalar(asked, {"schema": self.tables.schema}))

    async def checkout(self, engine: AsyncEngine, *, made: bool) -> Checkout:
        return await (MadeCheckout if made else GivenCheckout).take(engine, self.doubted_at)

    async def close(self) -> None:
        if self._hints is not None:
            await self._hints.close()

    def trouble(self, error: Exception) -> Trouble | None:
        return trouble_of(error)

    def refuses_data(self, error: Exception) -> bool:
        return refuses_data(error)

    def forbids(self, error: Exception) -> bool:
        return code_of(error) == INSUFFICIENT_PRIVILEGE

    # --- operations ---------------------------------------------------------------------------------

    @property
    def _offset(self) -> int:
        return to_duration(self.clock.offset)

    async def add(self, connection: Connection, tasks: Sequence[NewTask]) -> list[Added]:
        answers = await _adding.add(connection, self._sql, self._offset, tasks)
        self._tell(of_added(answers))
        return answers

    async def claim(self, connection: Connection, request: ClaimRequest) -> Claims:
        return await _claiming.claim(connection, self._sql, self._offset, request)

    async def start(self, connection: Connection, task: NewTask, request: ClaimRequest) -> Claims | None:
        return await _starting.start(connection, self._sql, self._offset, task, request)

    async def change(self, connection: Connection, changes: Sequence[Change]) -> list[Changed]:
        answers = await _changing.change(connection, self._sql, self._offset, changes)
        self._tell(of_changed(changes, answers))
        return answers

    async def renew(self, connection: Connection, request: RenewRequest) -> list[Renewed]:
        return await _renewing.renew(connection, self._sql, self._offset, request)

    async def rows(self, connection: Connection, query: TaskQuery) -> Sequence[Any]:
        return await _finding.rows(connection, self._sql, self._offset, query)

    async def delete(self, connection: Connection, ids: Sequence[int]) -> int:
        return await _finding.delete(connection, self._sql, self._offset, ids)

    def listen(
        self, engine: AsyncEngine, wake: Callable[[WakeKind], None]
    ) -> AbstractAsyncContextManager[None]:
        return listening(engine, self._sql, wake)

    def hint(self, kinds: set[WakeKind]) -> None:
        self._tell(kinds)

    def _tell(self, kinds: set[WakeKind]) -> None:
        if self._hints is not None:
            self._hints.tell(kinds)


async def _give_back(checkout: Checkout) -> None:
    ending = checkout.give_back()
    if ending is not None:
        await ending
