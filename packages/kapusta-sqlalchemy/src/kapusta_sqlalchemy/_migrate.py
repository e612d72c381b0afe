"""The schema of a store: is it there, is it ours, and how it becomes ours."""

from __future__ import annotations

import secrets
import shlex
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, inspect, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from kapusta.backend import StoreNotMigratedError, StoreTooNewError

from ._dialects import Dialect
from ._patience import answered_within
from ._tables import PREFIX, Tables

if TYPE_CHECKING:
    from alembic.config import Config

SCHEMA_VERSION: Final = 1
"""The schema that this code makes; `HEAD` makes it."""
HEAD: Final = "0001"
"""The last Alembic revision."""
MIGRATIONS: Final = Path(__file__).parent / "migrations"
"""Where the revisions are."""
READER: Final = 1
"""What this code can read: any schema whose ``minimum_reader`` is not greater."""

STARTUP_SECONDS: Final = 10.0
"""How long the server may take to answer the questions of a startup; a migration may take longer."""
CREATION_SECONDS: Final = 60.0
"""How long a store may take to be made where there was none, others' turns included; what it takes to migrate one that is
full of tasks nobody knows."""


@dataclass(frozen=True)
class Identity:
    """The row of the store's own identity.

    Attributes:
        schema_version: which schema it has.
        minimum_reader: the oldest code that may use it.
    """

    schema_version: int
    minimum_reader: int


class Verdict(Enum):
    """What a found schema means for this code."""

    usable = auto()
    missing = auto()
    older = auto()
    too_new = auto()


def judge(found: Identity | None) -> Verdict:
    """Whether this code can use what was found."""
    if found is None:
        return Verdict.missing
    if found.minimum_reader > READER:
        return Verdict.too_new
    return Verdict.older if found.schema_version < SCHEMA_VERSION else Verdict.usable


async def ensure_schema(engine: AsyncEngine, dialect: Dialect, *, migrate: bool) -> None:
    """Create or migrate the tables if need be.

    A store that is current costs two small questions, and Alembic is not imported.

    Raises:
        StoreTooNewError: a newer version has migrated it, so far that this code must not use it.
        StoreNotMigratedError: it must be migrated, and *migrate* is false, or this user may not.
    """
    shown = engine.url.render_as_string(hide_password=True)
    async with answered_within(STARTUP_SECONDS, "startup"), engine.connect() as connection:
        found = await read_identity(connection, dialect.tables)
    if not _is_to_migrate(found, shown):
        return
    refusal = StoreNotMigratedError(
        store=shown,
        found=None if found is None else str(found.schema_version),
        needs=str(SCHEMA_VERSION),
        command=_command(shown, dialect.tables),
    )
    if not migrate:
        raise refusal
    limit = CREATION_SECONDS if found is None else None
    try:
        async with (
            answered_within(limit, "startup"),
            engine.connect() as connection,
            dialect.migrating(connection),
        ):
            # Somebody else may have been faster while we waited for the lock.
            found = await read_identity(connection, dialect.tables)
            if _is_to_migrate(found, shown):
                await connection.run_sync(_create if found is None else _upgrade, dialect.tables)
    except dialect.errors as error:
        if dialect.forbids(error):
            raise refusal from error
        raise


def _command(shown: str, tables: Tables) -> str:
    """What to type to migrate the store."""
    words = ["python", "-m", "kapusta_sqlalchemy", "upgrade", shown]
    if tables.prefix != PREFIX:
        words += ["--table-prefix", tables.prefix]
    if tables.schema is not None:
        words += ["--schema", tables.schema]
    return shlex.join(words)


def _is_to_migrate(found: Identity | None, shown: str) -> bool:
    verdict = judge(found)
    if verdict is Verdict.too_new and found is not None:
        raise StoreTooNewError(
            store=shown, found=str(found.schema_version), needs=found.minimum_reader, reads=READER
        )
    return verdict is not Verdict.usable


async def read_identity(connection: AsyncConnection, tables: Tables) -> Identity | None:
    """What the store says of itself; ``None``: there is no store."""
    store = tables.store
    # Looked for first: on PostgreSQL a SELECT that fails takes the transaction with it.
    if not await connection.run_sync(lambda sync: inspect(sync).has_table(store.name, schema=store.schema)):
        return None
    row = (await connection.execute(select(store.c.schema_version, store.c.minimum_reader))).one_or_none()
    return None if row is None else Identity(*row)


def _create(connection: Connection, tables: Tables) -> None:
    """Make in one go what the revisions make one after the other; a test holds the two equal."""
    # Where DDL commits by itself an earlier attempt may have ended in between; the store's row comes last.
    inspector = inspect(connection)
    found = [
        table
        for table in tables.metadata.tables.values()
        if inspector.has_table(table.name, schema=table.schema)
    ]
    tables.metadata.create_all(connection)
    for table in found:
        for index in table.indexes:
            index.create(connection, checkfirst=True)
    # Somebody whose lock is not seen here, on another node of a cluster, may do the same. Both write the same row of
    # Alembic's: who comes second fails, or waits, and finds the store; so that is looked for after it.
    connection.execute(tables.version.delete())
    connection.execute(tables.version.insert(), {"version_num": HEAD})
    if connection.execute(select(tables.store.c.id)).first() is None:
        connection.execute(tables.store.insert(), new_identity())


def new_identity() -> dict[str, object]:
    """The row of a store made by this code."""
    return {"id": secrets.token_hex(16), "schema_version": SCHEMA_VERSION, "minimum_reader": READER}


def _upgrade(connection: Connection, tables: Tables) -> None:
    """Carry out the Alembic revisions that are missing, in the caller's transaction."""
    from alembic import command

    command.upgrade(alembic_config(tables, connection=connection), "head")


def alembic_config(tables: Tables, **attributes: object) -> Config:
    """What Alembic is to know: where the revisions are, and what ``migrations/env.py`` looks at."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes.update(tables=tables, **attributes)
    return config
