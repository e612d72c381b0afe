"""What an error of SQLite means."""

from __future__ import annotations

import sqlite3
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from .. import Trouble

_PASSES: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_CANNOT: Final = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}
_DATA: Final = {sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG}
_PRIMARY: Final = 0xFF  # the low byte of an extended code is the code


class FileReplacedError(Exception):
    """The path leads to another file than the one that is open, or to none."""


ERRORS: Final = (sqlite3.Error, DBAPIError, PoolTimeoutError, ValueError, FileReplacedError)


def code_of(error: BaseException | None) -> int | None:
    """SQLite's primary result code, if it is an error of SQLite."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(cause, "sqlite_errorcode", None)
    return code & _PRIMARY if isinstance(code, int) else None


def is_locked(error: sqlite3.Error) -> bool:
    """Whether somebody else has the lock that was needed."""
    return code_of(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def trouble_of(error: Exception) -> Trouble | None:
    if isinstance(error, FileReplacedError):
        return Trouble(str(error))
    if isinstance(error, PoolTimeoutError):
        return Trouble("every connection of the pool is in use")
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, ValueError) and not isinstance(cause, UnicodeError):
        # aiosqlite's word for a connection that somebody else has closed; in its words, since it has no class
        return (
            Trouble(str(cause))
            if str(cause).lower() in {"no active connection", "connection closed"}
            else None
        )
    code = code_of(error)
    if code in _PASSES:
        return Trouble(f"{cause}, by another connection", passes=True, closes=False)
    if code in _CANNOT:
        return Trouble(str(cause))
    return None


def refuses_data(error: Exception) -> bool:
    code = code_of(error)
    if code is not None:
        return code in _DATA
    # Python or the driver has refused a value, and SQLite was not asked.
    cause = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(cause, ValueError | sqlite3.InterfaceError | sqlite3.ProgrammingError)
