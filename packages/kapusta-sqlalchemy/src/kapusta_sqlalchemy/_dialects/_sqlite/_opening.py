"""What is looked at, and made so, before a file is used."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from aiosqlite import Connection
from sqlalchemy import URL
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from sqlalchemy.exc import DBAPIError

from kapusta.backend import StoreUrlError

from ._file import in_memory, path_of, shown
from ._trouble import code_of

OLDEST: Final = (3, 35)
"""The first version with ``RETURNING`` and ``MATERIALIZED``."""


async def prepare(connection: Connection, url: URL, schema: str | None) -> Path:
    """Check SQLite and the file, and have the file keep a write-ahead log; answer which file it is.

    Raises:
        StoreUrlError: this cannot be a store.
    """
    if connection.in_transaction:
        raise StoreUrlError(
            url=shown(url),
            problem="comes with an engine whose connections are never outside a transaction",
            remedy="Leave 'autocommit' out of its connect_args.",
        )
    [(version,)] = await connection.execute_fetchall("SELECT sqlite_version()")
    check_version(version, url)
    schema = schema or "main"
    path = await _path_of_schema(connection, url, schema)
    # With a write-ahead log, reading and writing do not wait for each other. Some file systems refuse it, and
    # say so only by keeping the old mode: then all works, slower.
    journal_mode = f"PRAGMA {sqlite_dialect().identifier_preparer.quote_identifier(schema)}.journal_mode"
    [(mode,)] = await connection.execute_fetchall(journal_mode)
    if mode != "wal":
        await connection.execute_fetchall(f"{journal_mode} = WAL")
    return path


async def _path_of_schema(connection: Connection, url: URL, schema: str) -> Path:
    """Where SQLite has found the file; a schema is a file that a listener of the user's has attached."""
    rows = list(await connection.execute_fetchall("SELECT name, file FROM pragma_database_list"))
    files = {name: file for name, file in rows}  # noqa: C416 - dict() does not know that a row is a pair
    if schema not in files:
        raise StoreUrlError(
            url=shown(url),
            problem=f"has no attached database '{schema}'",
            remedy="Attach it in a listener of your engine, or leave schema= out.",
        )
    if not files[schema]:
        raise in_memory(url)
    return Path(files[schema])


def check_version(version: str, url: URL) -> None:
    """Refuse a SQLite that lacks what the statements need."""
    if tuple(map(int, version.split(".")))[:2] < OLDEST:
        raise StoreUrlError(
            url=shown(url),
            problem=f"is opened by SQLite {version}, which is too old",
            remedy=f"Use a Python whose sqlite3.sqlite_version is at least {OLDEST[0]}.{OLDEST[1]}.",
        )


def not_a_database(error: sqlite3.Error | DBAPIError, url: URL) -> StoreUrlError | None:
    """What to raise instead of *error*, if it says that the file is no database."""
    if code_of(error) != sqlite3.SQLITE_NOTADB:
        return None
    return StoreUrlError(
        url=shown(url),
        problem=f"leads to {path_of(url)}, which is not a SQLite database",
        remedy="Name another file; this one was not changed.",
    )
