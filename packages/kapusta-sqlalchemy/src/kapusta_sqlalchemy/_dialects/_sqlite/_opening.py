"""What is looked at, and made so, before a file is used."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from kapusta.backend import StoreUrlError

from ._file import shown
from ._trouble import code_of

OLDEST: Final = (3, 35)
"""The first version with ``RETURNING`` and ``MATERIALIZED``."""


async def prepare(engine: AsyncEngine, path: Path) -> None:
    """Check SQLite's version and that the file is a database, and have it keep a write-ahead log.

    Raises:
        StoreUrlError: this cannot be a store.
    """
    try:
        async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            version = str((await connection.exec_driver_sql("SELECT sqlite_version()")).scalar_one())
            if tuple(map(int, version.split(".")))[:2] < OLDEST:
                raise StoreUrlError(
                    url=shown(engine.url),
                    problem=f"is opened by SQLite {version}, which is too old",
                    remedy=f"Use a Python whose sqlite3.sqlite_version is at least {OLDEST[0]}.{OLDEST[1]}.",
                )
            # With a write-ahead log, reading and writing do not wait for each other. Some file systems refuse it,
            # and say so only by keeping the old mode: then all works, slower.
            if (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar_one() != "wal":
                await connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    except DBAPIError as error:
        if code_of(error) == sqlite3.SQLITE_NOTADB:
            raise StoreUrlError(
                url=shown(engine.url),
                problem=f"leads to {path}, which is not a SQLite database",
                remedy="Name another file; this one was not touched.",
            ) from error
        raise
