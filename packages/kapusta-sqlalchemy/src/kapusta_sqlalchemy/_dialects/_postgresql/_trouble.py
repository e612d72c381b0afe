"""What an error of PostgreSQL, of asyncpg or of the network means."""

from __future__ import annotations

from typing import Final

import asyncpg
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from .. import Trouble
from .._turns import MigratingError

INSUFFICIENT_PRIVILEGE: Final = "42501"
_SERIALIZATION_FAILURE: Final = "40001"
_DEADLOCK: Final = "40P01"
LOCK_NOT_AVAILABLE: Final = "55P03"
_PASSES: Final = {_SERIALIZATION_FAILURE, _DEADLOCK, LOCK_NOT_AVAILABLE}

# What the server cannot now, whatever it is asked: connections, resources, operators at work, the operating system,
# an idle transaction that was ended, and a server that has become a standby.
_CANNOT: Final = ("08", "53", "57", "58", "25P03", "25006")


# Data and integrity exceptions, a trigger that refuses a row, and a row that is larger than a limit of the program.
_DATA: Final = ("22", "23", "P0001", "54000")


class ConflictError(Exception):
    """Another launch was faster; asked again, the store knows what that one has done."""


ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    AsyncAdapt_asyncpg_dbapi.Error,  # what a pool raises that is asked for a connection
    DBAPIError,
    PoolTimeoutError,
    OSError,
    ConflictError,
    MigratingError,
)


def code_of(error: BaseException | None) -> str | None:
    """The SQLSTATE, if the error has one."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(cause, "sqlstate", None)
    return code if isinstance(code, str) else None


def trouble_of(error: Exception) -> Trouble | None:
    if isinstance(error, ConflictError):
        return Trouble("another launch wants the same", passes=True, closes=False)
    if isinstance(error, MigratingError):
        return Trouble(str(error), closes=False)
    if isinstance(error, PoolTimeoutError):
        return Trouble("every connection of the pool is in use")
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = code_of(error)
    if code in _PASSES:
        return Trouble(f"{cause}, by another transaction", passes=True, closes=False)
    if (code is not None and code.startswith(_CANNOT)) or _is_about_the_connection(error):
        return Trouble(str(cause) or type(cause).__name__)
    return None


def refuses_data(error: Exception) -> bool:
    code = code_of(error)
    if code is not None:
        return code.startswith(_DATA)
    # asyncpg refuses an argument before it sends it, in SQLAlchemy's wrapper or without.
    cause = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(cause, ValueError) or isinstance(getattr(cause, "__cause__", None), ValueError)


def _is_about_the_connection(error: Exception) -> bool:
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return True
        error = error.orig if isinstance(error.orig, Exception) else error
    if isinstance(error, AsyncAdapt_asyncpg_dbapi.Error) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    if isinstance(error, OSError | asyncpg.InternalClientError):
        return True
    # asyncpg says in the same way that a connection is closed and that an argument is wrong.
    return isinstance(error, asyncpg.InterfaceError) and not isinstance(error, ValueError)
