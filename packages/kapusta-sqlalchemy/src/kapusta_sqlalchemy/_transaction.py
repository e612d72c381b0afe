"""What a caller may give as a transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, scoped_session

from kapusta.backend import TransactionError

Transaction: TypeAlias = AsyncSession | AsyncConnection | Session | Connection


def given(transaction: object) -> Transaction:
    """The session or connection that the caller means.

    Raises:
        TransactionError: it is none, or one that cannot be waited for here.
    """
    if isinstance(transaction, (scoped_session, async_scoped_session)):
        transaction = transaction()  # the session of this thread or task, as its other methods use it
    if not isinstance(transaction, (AsyncSession, AsyncConnection, Session, Connection)):
        raise TransactionError(
            transaction=repr(transaction),
            problem=f"it is of type {type(transaction).__name__}",
            remedy="Give an AsyncSession, an AsyncConnection, a Session or a Connection of SQLAlchemy.",
        )
    if isinstance(transaction, (Session, Connection)):
        bind = transaction.get_bind() if isinstance(transaction, Session) else transaction
        if bind.dialect.is_async:
            kind = "Session" if isinstance(transaction, Session) else "Connection"
            raise TransactionError(
                transaction=repr(transaction),
                problem=f"it is the {kind} inside of an Async{kind}, where no coroutine can wait for the database",
                remedy=f"Give the Async{kind} itself.",
            )
    return transaction


def refuse_no_transaction(connection: Connection, transaction: Transaction) -> None:
    """Raise `TransactionError` where each statement is committed by itself."""
    if not connection.in_transaction():
        connection.begin()  # as its next statement would
    if _commits_each(connection):
        raise TransactionError(
            transaction=repr(transaction),
            problem="its connection commits each statement by itself, so that there is no transaction",
            remedy="Give one of an engine that was made, and of a connection that was opened, without "
            "isolation_level='AUTOCOMMIT'.",
        )


@contextmanager
def explained(task_id: int) -> Iterator[None]:
    """Say with an error of the database's about an old snapshot how it came to that; it stays the error that it is."""
    try:
        yield
    except DBAPIError as error:
        if _is_about_a_snapshot(error):
            error.add_note(
                f"The row of task {task_id} has changed since this transaction took its snapshot, as it does with each "
                f"renewal of the lease. Begin the transaction in READ COMMITTED, or just before finish_within()."
            )
        raise


def _is_about_a_snapshot(error: DBAPIError) -> bool:
    said = getattr(error.orig, "args", ())
    return getattr(error.orig, "sqlstate", None) == "40001" or said[:1] == (1020,)


def _commits_each(connection: Connection) -> bool:
    # The driver is asked: it may have been told by SQLAlchemy, for an engine or a connection, or as it connected.
    pooled = connection.connection
    driver: Any = pooled.driver_connection
    if connection.dialect.name == "sqlite":
        # Those who begin by hand tell the driver not to; with a BEGIN of theirs there is a transaction all the same.
        begins = getattr(driver, "isolation_level", "") is not None
        return not (begins or driver.in_transaction)
    asked = getattr(driver, "get_autocommit", None)
    return bool(asked() if asked else getattr(pooled.dbapi_connection, "autocommit", False))
