"""Writes that join a caller's transaction, through SQLAlchemy and whatever driver the caller has."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from sqlalchemy import (
    Connection,
    CursorResult,
    Executable,
    bindparam,
    event,
    func,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session

from kapusta.backend import (
    Added,
    AddOutcome,
    Change,
    ChangeAnswer,
    Changed,
    JoinedStore,
    NewTask,
    StoredTask,
    TaskStatus,
    TransactionError,
    WakeKind,
    rules,
)

from ._rows import to_columns, to_instant, to_record
from ._tables import Tables
from ._transaction import Transaction, explained, given, refuse_no_transaction

T = TypeVar("T")

_NOW_AND_HERE: Final = {
    "sqlite": "SELECT CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000 AS instant, NULL AS here",
    "postgresql": "SELECT CAST(extract(epoch FROM statement_timestamp()) * 1000000 AS bigint) AS instant, "
    "array_to_string(current_schemas(TRUE), '/') AS here",
    "mysql": "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) AS instant, DATABASE() AS here",
}
"""What time it is, and where a table is looked for whose name is all that is said of it."""
_AT_ONCE: Final = 1000
"""So many tasks are looked for, and inserted, by one statement; what it takes at most differs from one database to another."""
_POLL: Final = 0.001
"""Seconds between two looks whether a commit that has begun is through."""


class Joined(JoinedStore):
    """One transaction of a caller's; used as its caller uses it: by one task at a time.

    What is written, is written by plain SQLAlchemy statements on the caller's connection, so that any driver
    will do, also one that blocks.
    """

    def __init__(
        self,
        transaction: object,
        tables: Tables,
        offset: Callable[[], timedelta],
        store_id: Callable[[], Awaitable[str]],
        committed: Callable[[set[WakeKind]], object],
    ) -> None:
        self._transaction, self._tables, self._offset = given(transaction), tables, offset
        self._store_id, self._committed = store_id, committed
        self._listens = False
        self._news: set[WakeKind] = set()

    async def add_tasks(self, tasks: Sequence[NewTask]) -> Sequence[Added]:
        self._news.add("work")
        return await self._do(lambda connection, now: self._add(connection, tasks, now))

    async def change_tasks(self, changes: Sequence[Change]) -> Sequence[Changed]:
        self._news |= {"work" if change.status is TaskStatus.pending else "settled" for change in changes}
        return await self._do(lambda connection, now: self._change(connection, changes, now))

    # --- reaching the caller's connection -----------------------------------------------------------

    async def _do(self, work: Callable[[Connection, datetime], T]) -> T:
        store_id = await self._store_id()

        def checked(connection: Connection) -> T:
            return work(connection, self._check(connection, store_id))

        transaction: Transaction = self._transaction
        if isinstance(transaction, AsyncSession):
            transaction = await transaction.connection()
        elif isinstance(transaction, Session):
            transaction = transaction.connection()
        if isinstance(transaction, AsyncConnection):
            answer = await transaction.run_sync(checked)
            self._listen(transaction.sync_connection)
        else:
            answer = checked(transaction)
            self._listen(transaction)
        return answer

    def _check(self, connection: Connection, store_id: str) -> datetime:
        """The store's now; raises unless there is a transaction, in the very store whose tasks are meant."""
        refuse_no_transaction(connection, self._transaction)
        kind = "mysql" if connection.dialect.name == "mariadb" else connection.dialect.name
        said = _execute(connection, text(_NOW_AND_HERE[kind])).one()
        # Asked once of each connection of the caller's pool, and again where it looks for the tables elsewhere by now.
        known = connection.info.setdefault("kapusta_stores", {})
        table = self._tables.store
        place = (table.schema or said.here, table.name)
        if place not in known:
            found = inspect(connection).has_table(table.name, schema=table.schema)
            asking = select(table.c.id)
            if kind == "mysql":
                # One that locks takes no snapshot; from one on, a renewal would be in the way of the write.
                asking = asking.with_for_update(read=True)
            known[place] = _execute(connection, asking).scalar_one_or_none() if found else None
        if known[place] != store_id:
            raise TransactionError(
                transaction=repr(self._transaction),
                problem=(
                    f"there is no store of tasks in {connection.engine.url.render_as_string(hide_password=True)}"
                    if known[place] is None
                    else f"{connection.engine.url.render_as_string(hide_password=True)} holds another store"
                ),
                remedy="Give a transaction of the database that this Kapusta keeps its tasks in.",
            )
        return to_instant(said.instant) + self._offset()

    def _listen(self, connection: Connection | None) -> None:
        """Have the caller told after the commit, and what of. SQLAlchemy tells of it before: so look until it is through."""
        if self._listens or connection is None:
            return
        self._listens = True
        loop, transaction = asyncio.get_running_loop(), connection.get_transaction()

        def look() -> None:
            if transaction is not None and transaction.is_active:
                loop.call_later(_POLL, look)
            else:
                self._committed(self._news)

        def on_commit(*_: object) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(look)

        for name in ("commit", "commit_twophase"):
            event.listen(connection, name, on_commit, once=True)

    # --- what is written ------------------------------------------------------------------------------

    def _add(self, connection: Connection, tasks: Sequence[NewTask], now: datetime) -> list[Added]:
        for task in tasks:
            if task.unique is not None:
                raise TransactionError(
                    transaction=repr(self._transaction),
                    problem=f"task '{task.name}' has a unique key, which cannot be taken in a transaction yet",
                    remedy="Launch it after the commit, or without its key.",
                )
        return [
            added
            for start in range(0, len(tasks), _AT_ONCE)
            for added in self._add_some(connection, tasks[start : start + _AT_ONCE], now)
        ]

    def _add_some(self, connection: Connection, tasks: Sequence[NewTask], now: datetime) -> list[Added]:
        table = self._tables.task
        wanted = select(table.c.id, table.c.token).where(table.c.id.in_([task.id for task in tasks]))
        there = {found.id: _text(found.token) for found in _execute(connection, wanted)}
        rows = [to_columns(rules.stored(task, now)) for task in tasks if task.id not in there]
        if rows:
            binary = self._binary(connection)
            # A parameter may not bear the name of a column whose value is more than that parameter.
            given = [row | {f"hex_{name}": _hex(row[name]) for name in binary} for row in rows]
            calls = {name: func.unhex(bindparam(f"hex_{name}")) for name in binary}
            _execute(connection, table.insert().values(calls) if calls else table.insert(), given)
        return [Added(id=task.id, outcome=_outcome(task, there)) for task in tasks]

    def _change(self, connection: Connection, changes: Sequence[Change], now: datetime) -> list[Changed]:
        answers: dict[int, ChangeAnswer] = {}
        for change in sorted(changes, key=lambda each: each.id):
            with explained(change.id):
                task = self._locked(connection, change.id)
            answers[change.id] = rules.answer(change, task, now)
            if task is not None and answers[change.id] is ChangeAnswer.accepted:
                before, after = to_columns(task), to_columns(rules.changed(task, change, now))
                differs = {name: value for name, value in after.items() if value != before[name]}
                table = self._tables.task
                # Where no row can be locked, somebody may have come in between the look and this.
                as_seen = (
                    table.c.id == task.id,
                    table.c.run == task.run,
                    table.c.status == task.status.value,
                )
                writing = update(table).where(*as_seen).values(self._bound(connection, differs))
                if _execute(connection, writing).rowcount != 1:
                    answers[change.id] = ChangeAnswer.refused
        return [Changed(id=change.id, answer=answers[change.id]) for change in changes]

    def _locked(self, connection: Connection, id: int) -> StoredTask | None:
        # SQLite knows no lock on a row, and its drivers may begin a transaction with the first write only.
        table = self._tables.task
        found = _execute(connection, select(table).where(table.c.id == id).with_for_update())
        row = found.mappings().one_or_none()
        return None if row is None else to_record(_texts(row))

    def _bound(self, connection: Connection, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values as the columns of this database take them."""
        binary = self._binary(connection)
        return {name: func.unhex(_hex(value)) if name in binary else value for name, value in values.items()}

    def _binary(self, connection: Connection) -> set[str]:
        """The columns that take no text or bytes as they are."""
        # Not every driver for MySQL takes bytes.
        if connection.dialect.name not in {"mysql", "mariadb"}:
            return set()
        return {
            column.name
            for column in self._tables.task.c
            if column.type.dialect_impl(connection.dialect).python_type is bytes
        }


def _execute(
    connection: Connection, statement: Executable, rows: Sequence[Mapping[str, Any]] | None = None
) -> CursorResult[Any]:
    """Have the caller's connection execute a statement of ours, whatever it makes of the caller's own tables."""
    return connection.execute(statement, rows, execution_options={"schema_translate_map": None})


_SHORT_TEXTS: Final = frozenset({"token", "name", "codec", "queue", "worker"})
"""The columns whose text is bytes on MySQL."""


def _hex(value: str | bytes | None) -> str | None:
    data = value.encode() if isinstance(value, str) else value
    return None if data is None else data.hex()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _texts(row: Mapping[Any, Any]) -> list[Any]:
    return [
        _text(value) if name in _SHORT_TEXTS and value is not None else value for name, value in row.items()
    ]


def _outcome(task: NewTask, there: Mapping[int, str]) -> AddOutcome:
    if task.id not in there:
        return AddOutcome.new
    return AddOutcome.again if there[task.id] == task.token else AddOutcome.id_in_use
